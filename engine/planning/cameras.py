"""Match a source's cameras to the output's."""

import re
from collections.abc import Collection, Mapping, Sequence

from millrace.embodiments import CompiledMap, Remedy, Robot, Setting, unknown_name
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.planning.recipe import SourceSpec
from millrace.engine.sources import SourceDataset, camera_name

# A camera's name becomes a folder of the output.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def bind_cameras(
    source: SourceDataset,
    spec: SourceSpec,
    compiled: CompiledMap,
    wanted: Sequence[str] | None,
    *,
    skipped: Collection[str] = (),
    as_listed: bool = False,
) -> dict[str, str]:
    """Map target cameras to source cameras; a source of the target's own robot keeps its cameras.

    Args:
        source: The opened dataset.
        spec: What the recipe says of it.
        compiled: Its map.
        wanted: The output's cameras, None: whichever there are.
        skipped: Cameras to skip, by the output's name or the source's.
        as_listed: Whether a source of the target's own robot keeps only the cameras that the robot's file lists.

    Raises:
        UnknownName: the recipe names a camera that the target robot lacks.
        DatasetError: the source lacks a camera, or a name cannot be a folder's.
    """
    named = {target: _own_name(source, compiled.source, camera) for target, camera in compiled.cameras.items()}
    if spec.map is None and not as_listed:
        named = {camera: camera for camera in source.cameras}
    renamed = _renamed(spec, compiled)
    if spec.map is None:  # a renamed camera is not kept under its old name as well
        named = {target: camera for target, camera in named.items() if camera not in renamed.values()}
    cameras = {**{target: camera for target, camera in named.items() if target not in spec.black_cameras}, **renamed}
    cameras = {
        target: camera
        for target, camera in cameras.items()
        if (wanted is None or target in wanted) and not {target, camera} & set(skipped)
    }
    listed = Remedy(f"Robot file '{compiled.target.name}' lists it under `cameras:`; delete it there to do without")
    _check_bound(source, cameras, advice=listed if as_listed else None)
    return cameras


def _renamed(spec: SourceSpec, compiled: CompiledMap) -> dict[str, str]:
    """Target camera -> source camera, as the recipe says; through a map, the robot's own cameras only."""
    for camera in spec.cameras:
        if spec.map is not None and camera not in compiled.target.cameras:
            raise unknown_name(camera, f"camera of robot '{compiled.target.name}'", compiled.target.cameras)
    return {target: camera_name(camera) for target, camera in spec.cameras.items()}


def _check_bound(source: SourceDataset, cameras: Mapping[str, str], *, advice: Remedy | None) -> None:
    """Check that each target camera can name a folder, and that the source has its source camera."""
    for target, camera in cameras.items():
        if not SAFE_NAME.fullmatch(target):
            message = f"{source.address}: {target!r} cannot name a camera: it becomes a folder"
            raise DatasetError(message, camera=target, got=target)
        try:
            _check_exists(source, camera, target)
        except DatasetError as error:
            raise DatasetError(error, *([". ", advice] if advice else [])) from error


def _own_name(source: SourceDataset, robot: Robot, camera: str) -> str:
    """The source's name for a robot's camera, by the aliases in the robot's file."""
    features = [key for key, feature in source.features.items() if feature.is_camera]
    return camera_name(robot.find_camera(camera, [*source.cameras, *features]) or camera)


def check_named_cameras(source: SourceDataset, spec: SourceSpec) -> None:
    """Check that a source has the cameras that the recipe names, whatever its map is.

    Raises:
        DatasetError: it lacks one.
    """
    for target, camera in spec.cameras.items():
        _check_exists(source, camera_name(camera), target)


def _check_exists(source: SourceDataset, camera: str, target: str) -> None:
    if camera not in source.camera_features:
        problem = unknown_name(camera, f"camera of {source.address}", source.cameras)
        named, skipped = Setting("cameras", {target: "NAME"}), Setting("without_cameras", [target])
        advice = Remedy(f"Say which one becomes '{target}': ", named, ", or leave it out: ", skipped)
        raise DatasetError(problem, ". ", advice, camera=camera)
    if reason := source.why_ambiguous(camera):
        raise DatasetError(f"{source.address}: ", reason, camera=camera)


def check_skipped_cameras(skipped: Collection[str], sources: Sequence[tuple[SourceDataset, CompiledMap]]) -> None:
    """Check that every camera to skip is a camera of a source or of the output's robot.

    Raises:
        UnknownName: one is not.
    """
    known = dict.fromkeys(
        name
        for source, compiled in sources
        for name in (*source.cameras, *source.depth_videos, *compiled.target.cameras)
    )
    for name in skipped:
        if name not in known:
            raise unknown_name(name, "camera that could be left out", known)


def output_cameras(wanted: Sequence[str] | None, given: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The output's cameras: those that the recipe wants, or all that any source gives.

    Raises:
        RecipeError: the recipe wants one that no source gives.
    """
    known = dict.fromkeys(name for cameras in given for name in cameras)
    for name in wanted or ():
        if name not in known:
            advice = Remedy(f"name it under `cameras:` of one, {name}: CAMERA")
            message = f"no source gives the camera {name!r}; "
            raise RecipeError(message, advice, camera=name, got=name, known=tuple(known))
    return tuple(known if wanted is None else wanted)


def check_cameras(spec: SourceSpec, given: Mapping[str, str], cameras: Sequence[str]) -> None:
    """Check that a source has every camera of the output, or that the recipe lists it as black.

    Raises:
        UnknownName: a black camera is none of the output's.
        RecipeError: it gives a camera that is to be black, or lacks one.
    """
    for camera in spec.black_cameras:
        if camera not in cameras:
            raise unknown_name(camera, "camera of the output", cameras)
        if camera in given:
            message = f"{spec.path}: {camera!r} is to be black, and to come from {given[camera]!r}: which?"
            raise RecipeError(message, camera=camera)
    missing = [camera for camera in cameras if camera not in given and camera not in spec.black_cameras]
    if missing:
        raise RecipeError(
            f"{spec.path} gives no camera {', '.join(map(repr, missing))}, as other sources do. ",
            Remedy(
                "Name one of its own under `cameras:`, or fill it with black frames, "
                f"`black_cameras: [{', '.join(missing)}]`, or skip it by listing the others under `cameras:` of the "
                "recipe"
            ),
            camera=missing[0],
            got=tuple(given),
            expected=tuple(cameras),
        )
