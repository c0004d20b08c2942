"""Depth cameras: v2.1 leaves them out, as GR00T takes none; v3.0 keeps those that all sources have alike."""

from collections.abc import Iterator, Sequence

from millrace.engine.planning.cameras import SAFE_NAME
from millrace.engine.planning.depth_camera import DepthCamera
from millrace.engine.planning.prepare import PreparedSource
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import Feature, camera_name
from millrace.engine.video.thumbnails import info_image_size


def choose_depth(recipe: Recipe, sources: Sequence[PreparedSource], cameras: Sequence[str]) -> tuple[DepthCamera, ...]:
    """The depth cameras that v3.0 keeps: those of all sources, of one size and scale, that the recipe does not skip.

    Args:
        recipe: Which cameras it skips; one that lists its cameras keeps these alone.
        sources: In the order of the recipe.
        cameras: The output's other cameras, whose names are taken.
    """
    found = [{one.name: one for one in _depth_cameras(source)} for source in sources]
    skipped = {camera_name(camera) for camera in recipe.without_cameras} | set(cameras)
    return tuple(
        camera
        for name, camera in found[0].items()
        if all(others.get(name) == camera for others in found) and name not in skipped and recipe.cameras is None
    )


def _depth_cameras(source: PreparedSource) -> Iterator[DepthCamera]:
    for name, feature in source.dataset.depth_videos.items():
        size = _size(feature)
        if feature.depth is not None and size is not None and SAFE_NAME.fullmatch(name):
            yield DepthCamera(name, size[1], size[0], feature.depth)


def _size(feature: Feature) -> tuple[int, int] | None:
    """Height and width of its frames, as info.json says."""
    shape = (*feature.shape, 1) if len(feature.shape) == 2 else feature.shape
    size = info_image_size(shape, feature.names)
    return None if size is None or min(size) <= 0 else size


def depth_notes(sources: Sequence[PreparedSource], kept: Sequence[DepthCamera]) -> Iterator[str]:
    """Note each camera of depth or masks, and what becomes of it."""
    names = {camera.name for camera in kept}
    for source in sources:
        for key, feature in source.dataset.features.items():
            if feature.content is None:
                continue
            camera = camera_name(key)
            is_kept = camera in names and feature.depth is not None
            fate = "which v2.1 leaves out and v3.0 keeps" if is_kept else "and is left out"
            yield f"{source.dataset.address}: camera '{camera}' holds {feature.content}, {fate}"
