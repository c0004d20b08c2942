"""Recordings of Unitree's xr_teleoperate: episode_0000/data.json and JPEG files in episode_0000/colors/.

Episodes may lie in any folders below, such as success/ and fail/.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.errors import DatasetError, FaultCode, RowsError, VideoError
from millrace.engine.fps import format_fps
from millrace.engine.layout import ACTION, CAMERA_PREFIX, STATE
from millrace.engine.sources.dataset import Feature, SourceDataset
from millrace.engine.sources.episode import BadEpisode, RowRange, SourceEpisode, SourceFault, View
from millrace.engine.sources.files import SourceFiles
from millrace.engine.sources.read_options import ReadOptions
from millrace.engine.sources.xr_folders import RECORDING, find_recordings, has_recording, number_recordings
from millrace.engine.sources.xr_images import RecordedImages, locate_image, read_image_size, usual_name
from millrace.engine.sources.xr_recording import XrRecording, read_recording
from millrace.engine.sources.xr_rows import RecordedVectors
from millrace.engine.text import printable

# Images wider than so many times their height hold two views: xr_teleoperate, teleop/teleop_hand_and_arm.py.
WIDE = 2
# What the recorder writes where nobody says what the robot does: xr_teleoperate, teleop/utils/episode_writer.py.
DEFAULT_GOALS = ("Pick up the red cup on the table.",)


def fits(root: Path) -> bool:
    """Whether an episode's folder lies there."""
    return has_recording(root)


def open_xr_teleoperate(root: Path, files: SourceFiles, options: ReadOptions) -> SourceDataset:
    """Read the head and the end of each episode's JSON; all of it only where the end is missing.

    options: its rate counts for recordings that do not say theirs.

    Raises:
        DatasetError: no episode can be read.
    """
    if options.format is not None:
        raise DatasetError(f"{root} holds no HDF5 files: ", Remedy("leave out ", Setting("format", options.format)))
    bounds = files.bounds(root)
    folders = number_recordings(root, find_recordings(root, bounds))
    found: dict[int, XrRecording] = {}
    bad: list[BadEpisode] = []
    for index, folder in folders.items():
        try:
            found[index] = read_recording(folder / RECORDING, bounds, options.fps)
        except (RowsError, DatasetError) as error:
            code = error.code if isinstance(error, RowsError) else FaultCode.METADATA
            bad.append(BadEpisode(index, SourceFault(code, error.message, facts=error.facts)))
    if not found:
        raise DatasetError(f"{root}: none of its {len(bad)} recordings can be read; ", bad[0].fault.reason, file=root)
    usual = Counter(one.kind for one in found.values()).most_common(1)[0][0]
    alike = {index: one for index, one in found.items() if one.kind == usual}
    bad += [BadEpisode(index, _describe_other(one, usual)) for index, one in found.items() if index not in alike]
    vectors = _common_vectors(list(alike.values()))
    cameras = _find_cameras(list(alike.values()), bounds)
    return SourceDataset(
        root=root,
        layout="xr_teleoperate",
        fps=usual[0],
        robot_type=None,
        features=_features((name for views in cameras.values() for name in views), vectors),
        tasks=dict(enumerate(dict.fromkeys(one.goal for one in alike.values() if one.goal))),
        episodes=[_episode(index, one, vectors, cameras, bounds) for index, one in alike.items()],
        files=files,
        bad=tuple(sorted(bad, key=lambda one: one.index)),
        default_tasks=DEFAULT_GOALS,
        notes=tuple(_notes(root, alike, vectors, cameras)),
    )


def keep_whole_rows(dataset: SourceDataset) -> SourceDataset:
    """The dataset with the whole rows of recordings that were cut off as episodes without a fault."""
    return replace(dataset, episodes=[_keep_whole_rows(episode) for episode in dataset.episodes])


def _keep_whole_rows(episode: SourceEpisode) -> SourceEpisode:
    kept = tuple(fault for fault in episode.faults if fault.code is not FaultCode.TRUNCATED)
    if len(kept) == len(episode.faults):
        return episode
    trimmed = f"the recording was cut off after {episode.num_frames} whole rows, which were kept"
    return replace(episode, faults=kept, trimmed=trimmed)


def _describe_other(one: XrRecording, usual: tuple[Fraction, RecordedVectors]) -> SourceFault:
    """Why an episode is left out that has another rate or other joints than most."""
    fps, vectors = usual
    advice = Remedy("convert such recordings from a folder of their own")
    if one.fps != fps:
        rates = f"{format_fps(one.fps)} Hz, most others at {format_fps(fps)} Hz"
        return SourceFault(FaultCode.RATE, Message(f"{one.path} was recorded at {rates}; ", advice))
    widths, others = (_describe_widths(kind) for kind in (one.kind[1], vectors))
    reason = Message(f"{one.path} has {widths}, most others have {others}; ", advice)
    return SourceFault(FaultCode.WIDTH, reason)


def _describe_widths(vectors: RecordedVectors) -> str:
    """Widths of the parts, of the actions where these differ."""

    def widths(vector: str) -> str:
        return ", ".join(f"{part.part} {part.width}" for part in vectors.parts[vector])

    states, actions = widths(STATE), widths(ACTION)
    return states if states == actions else f"states {states} and actions {actions}"


def _common_vectors(recordings: Sequence[XrRecording]) -> RecordedVectors:
    """State and action of all episodes; the body's joints where all have them."""
    found = {one.vectors for one in recordings}
    return found.pop() if len(found) == 1 else recordings[0].vectors.drop_body()


def _features(cameras: Iterable[str], vectors: RecordedVectors) -> dict[str, Feature]:
    features = {
        vector: Feature("float64", (len(vectors.names(vector)),), vectors.names(vector)) for vector in (STATE, ACTION)
    }
    return features | {f"{CAMERA_PREFIX}{camera}": Feature("image", (), None) for camera in cameras}


def _find_cameras(recordings: Sequence[XrRecording], bounds: Path) -> dict[str, dict[str, View]]:
    """The views of each camera's images by name: all of an image, and its halves where the first image is wide."""
    found: dict[str, dict[str, View]] = {}
    for camera in sorted({camera for one in recordings for camera in one.cameras}):
        first = next(one for one in recordings if camera in one.cameras)
        halves: dict[str, View] = {f"{camera}.left": "left", f"{camera}.right": "right"}
        found[camera] = {camera: "all", **(halves if _is_wide(first, camera, bounds) else {})}
    return found


def _is_wide(one: XrRecording, camera: str, bounds: Path) -> bool:
    try:
        size = read_image_size(locate_image(one.path, camera, one.cameras[camera], 0), bounds)
    except VideoError:
        return False  # whoever reads the episode says so
    return size is not None and size[0] > WIDE * size[1]


def _episode(
    index: int, one: XrRecording, vectors: RecordedVectors, cameras: Mapping[str, Mapping[str, View]], bounds: Path
) -> SourceEpisode:
    clips = {
        view: RecordedImages(
            path=one.path,
            camera=camera,
            num_frames=one.num_rows,
            first_index=one.first_index if name == usual_name(camera, one.first_index) else None,
            view=part,
            root=bounds,
        )
        for camera, name in one.cameras.items()
        for view, part in cameras[camera].items()
    }
    rows = (RowRange(one.path, root=bounds, open=vectors),)
    faults = (_describe_cut(one),) if one.is_cut else ()
    return SourceEpisode(index, one.num_rows, rows, clips, (one.goal,) if one.goal else (), faults=faults)


def _describe_cut(one: XrRecording) -> SourceFault:
    reason = Message(
        f"{one.path} ends within its rows: the recording was cut off. {one.num_rows} rows are whole; ",
        Remedy("to convert those, pass ", Setting("cut_off", "keep")),
    )
    return SourceFault(FaultCode.TRUNCATED, reason)


def _notes(
    root: Path,
    found: Mapping[int, XrRecording],
    vectors: RecordedVectors,
    cameras: Mapping[str, Mapping[str, View]],
) -> Iterator[str]:
    """What of the recordings is not used, or is to be known."""
    for camera in (camera for camera, views in cameras.items() if len(views) > 1):
        yield (
            f"{root}: images of '{camera}' are more than twice as wide as high: where they show two views, take the "
            f"cameras '{camera}.left' and '{camera}.right'"
        )
    depths = sorted({printable(depth) for one in found.values() for depth in one.depths})
    if depths:
        yield f"{root}: {', '.join(depths)} hold depth as JPEG, which keeps no distances; they are left out"
    without = [index for index, one in found.items() if one.vectors != vectors]
    if without:
        yield (
            f"{root}: the body's joints are left out, as not all episodes have the same: "
            f"{len(without)} have some, such as episode {without[0]}"
        )
