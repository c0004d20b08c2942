"""Notes for the user on a plan, from metadata; and the crop of a recipe."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from millrace.embodiments import CompiledMap, Message, MillraceError, Setting
from millrace.engine.dataset.data_checks import TOLERANCE_SECONDS, find_uneven_step
from millrace.engine.dataset.releases import RELEASES
from millrace.engine.fps import format_fps
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.plan import EpisodePlan
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import SourceDataset, camera_name
from millrace.engine.sources.places import place_notes
from millrace.engine.text import join_names
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.framing import Framing, manifest_framings
from millrace.engine.video.reframe import Crop, crop_box
from millrace.engine.video.stream_facts import read_stream_facts
from millrace.engine.video.thumbnails import info_image_size

DEFAULT_CROP: Crop = "pad"


def choose_crop(recipe: Recipe, maps: Sequence[CompiledMap]) -> Crop:
    """The crop of the recipe; or of the maps, if all say the same; or padding, as GR00T does."""
    if recipe.crop is not None:
        return recipe.crop
    wanted = {compiled.crop for compiled in maps}
    agreed = wanted.pop() if len(wanted) == 1 else None
    return agreed or DEFAULT_CROP


def source_framings(source: SourceDataset, binding: Binding, *, crop: Crop, image_size: int) -> Iterator[Framing]:
    """How a source's frames become square; for a dataset by Millrace, how its sources' frames became square."""
    if binding.cameras and (published := manifest_framings(source.root)):
        yield from (framing.model_copy(update={"image_size": image_size}) for framing in published)
        return
    for width, height in _frame_sizes(source, binding).values():
        yield Framing(crop=crop, width=width, height=height, image_size=image_size)


def binding_notes(source: SourceDataset, binding: Binding) -> Iterator[str]:
    """Notes for the user: what was matched, and what is not used."""
    robot = binding.map.source.name
    for vector in (binding.state, binding.action):
        for column, how in zip(vector.columns, vector.by, strict=True):
            if how == "position":
                order = f"in the order of robot '{robot}'"
                yield f"{source.address}: '{column}' names no joints; they were taken by position, {order}"
    for key, feature in source.features.items():
        if feature.content is not None:
            yield f"{source.address}: camera '{camera_name(key)}' holds {feature.content}, and is left out"
    yield from place_notes(source)
    if binding.map.unused:
        yield f"{source.address}: the map leaves {', '.join(binding.map.unused)} unused"


def crop_notes(source: SourceDataset, binding: Binding, *, crop: Crop, image_size: int) -> Iterator[str]:
    """Note what a centre crop removes of a source's frames."""
    if crop != "center":
        return
    for camera, (width, height) in _frame_sizes(source, binding).items():
        if width == height:
            continue
        box = crop_box(width, height, crop=crop, image_size=image_size)
        sides = f"{box.left} px left and right" if width > height else f"{box.top} px at top and bottom"
        yield Message(
            f"{source.address}, camera '{camera}': center crop drops {sides} of {width}x{height}; GR00T pads live "
            "frames, so crop a robot's likewise, or pass ",
            Setting("crop", "pad"),
        )


def _frame_sizes(source: SourceDataset, binding: Binding) -> dict[str, tuple[int, int]]:
    """Width and height of the frames of each camera in use, by its first video or else by info.json."""
    cameras = dict.fromkeys(binding.cameras.values())
    sizes = {camera: _displayed_size(source, camera) or info_frame_size(source, camera) for camera in cameras}
    return {camera: size for camera, size in sizes.items() if size is not None}


def info_frame_size(source: SourceDataset, camera: str) -> tuple[int, int] | None:
    """Width and height of a camera's frames in info.json; None if it does not say."""
    feature = source.features[source.camera_features[camera][0]]
    size = info_image_size(feature.shape, feature.names)
    return None if size is None or min(size) <= 0 else (size[1], size[0])


def _displayed_size(source: SourceDataset, camera: str) -> tuple[int, int] | None:
    """As a player shows a camera's first video; None where it is not on this machine, or cannot be read."""
    clip = next((episode.clips[camera] for episode in source.episodes if camera in episode.clips), None)
    video = None if clip is None else clip.video
    if source.hub_id is not None or video is None:
        return None
    try:
        width, height = read_stream_facts(video).size
        is_turned = read_boxes(video.path).is_on_its_side
    except (MillraceError, OSError):
        return None
    return (height, width) if is_turned else (width, height)


def no_camera_notes(source: SourceDataset, binding: Binding) -> Iterator[str]:
    """Note that none of a source's cameras is converted: GR00T does not train on such an output."""
    if source.cameras and not binding.cameras:
        names = ", ".join(f"'{camera}'" for camera in source.cameras)
        yield (
            f"{source.address}: none of its cameras ({names}) is converted, and GR00T does not train without video; "
            "list those to convert under `cameras:` of the robot file"
        )


def uneven_rate_notes(source: SourceDataset, binding: Binding, target_fps: Fraction) -> Iterator[str]:
    """Note that frames are unevenly spaced in time if the rate does not divide the source's."""
    step = binding.fps / target_fps
    if step.denominator == 1:
        return
    short, long = (1000 * whole / float(binding.fps) for whole in (int(step), int(step) + 1))
    divisors = (binding.fps / whole for whole in (int(step) + 1, int(step)))
    even = " or ".join(map(str, dict.fromkeys(divisors)))  # exact, to be passed as they are
    yield (
        f"{source.address}: {format_fps(binding.fps)} to {format_fps(target_fps)} Hz is uneven, steps of {long:.0f} "
        f"and {short:.0f} ms; {even} Hz would be even"
    )


def width_notes(compiled: CompiledMap) -> Iterator[str]:
    """A warning for each of state and action of which more is trained than GR00T takes."""
    robot = compiled.target
    for vector, groups in (("state", compiled.trained_state), ("action", compiled.trained_action)):
        num_values = sum(len(robot.groups[name].joints) for name in groups)
        limits = {release.name: release.limits.max_dims[vector] for release in RELEASES}
        if exceeded := [f"{name} takes {limit}" for name, limit in limits.items() if num_values > limit]:
            yield (
                f"warning: '{robot.name}' has {num_values} {vector} values and GR00T {', '.join(exceeded)}. "
                "Delete the groups that it does not need from its robot file; in a column without names, "
                "`column_slices:` tells where the others lie (docs/robots.md)"
            )


def long_episode_notes(episodes: Sequence[EpisodePlan], fps: Fraction) -> Iterator[str]:
    """A note on episodes so long that LeRobot cannot load the output; GR00T does not read timestamps."""
    longest = max((episode.num_frames for episode in episodes), default=0)
    limit = num_exact_frames(longest, fps)
    long = [episode for episode in episodes if episode.num_frames > limit]
    if long:
        listed = join_names(
            [f"{episode.episode.index} ({episode.num_frames / float(fps):.0f} s)" for episode in long], 4
        )
        yield Message(
            f"{len(long)} episodes are longer than {limit / float(fps):.0f} s (of the source: {listed}); LeRobot 0.3.3 "
            f"refuses their timestamps, as float32 rounds them by more than {TOLERANCE_SECONDS:g} s; GR00T "
            "ignores them. For LeRobot load the output with tolerance_s=1e-3, or leave them out by ",
            Setting("episodes"),
        )


def num_exact_frames(num_frames: int, fps: Fraction) -> int:
    """How many frames from the start have float32 timestamps whose steps are 1 / fps within LeRobot's tolerance."""
    seconds = (np.arange(num_frames) / float(fps)).astype(np.float32)
    row = find_uneven_step(seconds, fps)
    return num_frames if row is None else row + 1
