"""Notes for the user on a plan, from metadata; the crop of a recipe, and how it frames images."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from millrace.embodiments import CompiledMap, Message, Setting
from millrace.embodiments.robot import ActionKind
from millrace.engine.dataset.data_checks import TOLERANCE_SECONDS, find_uneven_step
from millrace.engine.dataset.releases import RELEASES
from millrace.engine.fps import format_fps
from millrace.engine.planning.action_rule import ActionRule
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.camera_sizes import read_frame_size
from millrace.engine.planning.image_size import OWN_SIZE
from millrace.engine.planning.plan import EpisodePlan, Job
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import SourceDataset
from millrace.engine.sources.places import place_notes
from millrace.engine.text import join_names
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.framing import Framing, manifest_framings
from millrace.engine.video.reframe import Crop, crop_box

DEFAULT_CROP: Crop = "pad"
HELD: dict[ActionRule, str] = {"mid_interval": "in the middle", "end_of_interval": "at the end"}
STEPS: dict[ActionKind, str] = {"delta": "sums of steps", "velocity": "means of velocities"}


def choose_crop(recipe: Recipe, maps: Sequence[CompiledMap]) -> Crop:
    """The crop of the recipe; none where cameras keep their size; else of the maps, if all say the same, or "pad"."""
    if recipe.crop is not None:
        return recipe.crop
    if recipe.image_size == OWN_SIZE:
        return "none"
    wanted = {compiled.crop for compiled in maps}
    agreed = wanted.pop() if len(wanted) == 1 else None
    return agreed or DEFAULT_CROP


def source_framings(source: SourceDataset, binding: Binding, job: Job) -> Iterator[Framing]:
    """How a source's frames became the output's; for a dataset by Millrace, from how they were before that."""
    published = manifest_framings(source.root) if binding.cameras else ()
    for target, camera in binding.cameras.items():
        if (own := read_frame_size(source, camera)) is None or target not in job.sizes:
            continue
        framing = Framing.of(own, job.sizes[target], job.crop)
        before = [earlier for earlier in published if earlier.size == own]
        yield from (earlier.follow(framing) for earlier in before) if before else (framing,)


def binding_notes(source: SourceDataset, binding: Binding) -> Iterator[str]:
    """Notes for the user: what was matched, and what is not used."""
    robot = binding.map.source.name
    for vector in (binding.state, binding.action):
        for column, how in zip(vector.columns, vector.by, strict=True):
            if how == "position":
                order = f"in the order of robot '{robot}'"
                yield f"{source.address}: '{column}' names no joints; they were taken by position, {order}"
    yield from source.notes
    yield from place_notes(source)
    if binding.map.unused:
        yield f"{source.address}: the map leaves {', '.join(binding.map.unused)} unused"


def frame_notes(source: SourceDataset, binding: Binding, job: Job) -> Iterator[str]:
    """Note what a centre crop removes of a source's frames, and whole frames whose aspect changes by a rounding."""
    if job.crop == "pad":
        return
    for target, camera in binding.cameras.items():
        if (own := read_frame_size(source, camera)) is None or target not in job.sizes:
            continue
        where, size = f"{source.address}, camera '{camera}'", job.sizes[target]
        if job.crop == "center":
            yield from _crop_notes(where, own, size)
        elif own.width * size.height != own.height * size.width:
            yield f"{where}: frames of {own} become {size}, the nearest even size of their aspect"


def _crop_notes(where: str, own: FrameSize, size: FrameSize) -> Iterator[str]:
    box = crop_box(*own, crop="center", size=size)
    if (box.width, box.height) == own:
        return
    sides = f"{box.left} px left and right" if box.width < own.width else f"{box.top} px at top and bottom"
    yield Message(
        f"{where}: center crop drops {sides} of {own}; GR00T pads live frames, so crop a robot's likewise, or pass ",
        Setting("crop", "pad"),
    )


def uneven_aspect_notes(sizes: Mapping[str, FrameSize]) -> Iterator[str]:
    """A warning where cameras differ in aspect."""
    if len({Fraction(*size) for size in sizes.values()}) > 1:
        listed = join_names([f"{camera} {size}" for camera, size in sizes.items()], 8)
        yield Message(
            f"warning: the cameras' frames differ in aspect ({listed}): GR00T {RELEASES[-1].name} cannot train on them "
            "where it keeps the aspect of images. For that pass ",
            Setting("crop", "pad"),
            " with one ",
            Setting("image_size"),
        )


def camera_notes(source: SourceDataset, binding: Binding, recipe: Recipe) -> Iterator[str]:
    """Note which of a source's cameras are left out, unless the recipe says so itself."""
    if source.cameras and not binding.cameras:
        names = ", ".join(map(repr, source.cameras))
        yield (
            f"{source.address}: none of its cameras ({names}) is converted, and GR00T does not train without video; "
            "list those to convert under `cameras:` of the robot file"
        )
    target, skipped = binding.map.target, {*recipe.without_cameras, *binding.source.black_cameras}
    left = [camera for camera in source.cameras if camera not in {*binding.cameras.values(), *skipped}]
    if not left or not binding.cameras or recipe.cameras is not None or skipped & {*target.cameras}:
        return
    used = [repr(camera) if camera == name else f"{camera!r} as {name!r}" for name, camera in binding.cameras.items()]
    free = [camera for camera in target.cameras if camera not in binding.cameras]
    kept = {camera: camera for camera in left if camera in free} or dict(zip(free, left, strict=False))
    no_other = f"; '{target.name}' has no other camera"
    advice = ("; to keep more, pass ", Setting("cameras", kept)) if kept else (no_other,)
    yield Message(
        f"{source.address}: of its cameras {', '.join(used)} {'is' if len(used) == 1 else 'are'} converted, ",
        f"{', '.join(map(repr, left))} left out",
        *advice,
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


def action_rule_notes(source: SourceDataset, binding: Binding, rule: ActionRule, fps: Fraction) -> Iterator[str]:
    """What the user should know where another rule than the default was asked for; fps: of the output."""
    kinds = set(binding.map.source.layout("action").action_kinds)
    if rule == "at_frame":
        return
    if binding.fps == fps:
        yield f"{source.address}: every frame is kept with its own action, whichever is asked for"
    elif "target" in kinds:
        yield f"{source.address}: each action is the one in force {HELD[rule]} of its interval, not that of its frame"
    else:
        steps = " and ".join(STEPS[kind] for kind in STEPS if kind in kinds)
        yield f"{source.address}: its actions are {steps} of whole intervals, whichever is asked for"


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
