"""Recordings of Unitree's xr_teleoperate: episode_0000/data.json and JPEG files in episode_0000/colors/.

Episodes may lie in any folders below, such as success/ and fail/.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.errors import DatasetError, FaultCode, RowsError
from millrace.engine.fps import format_fps, parse_fps
from millrace.engine.layout import ACTION, CAMERA_PREFIX, STATE
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.dataset import Feature, SourceDataset
from millrace.engine.sources.episode import BadEpisode, RowRange, SourceEpisode, SourceFault
from millrace.engine.sources.files import SourceFiles
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS, is_unicode
from millrace.engine.sources.listing import check_length
from millrace.engine.sources.read_options import ReadOptions
from millrace.engine.sources.xr_folders import RECORDING, find_recordings, has_recording, number_recordings
from millrace.engine.sources.xr_images import COLORS, RecordedImages, usual_name
from millrace.engine.sources.xr_json import ROWS, CutShort, read_last_row, read_pieces
from millrace.engine.sources.xr_rows import RecordedVectors, read_index, read_vectors_of

# What the recorder writes where nobody says what the robot does: xr_teleoperate, teleop/utils/episode_writer.py.
DEFAULT_GOALS = ("Pick up the red cup on the table.",)
DEPTHS = "depths"


@dataclass(frozen=True)
class _Recording:
    """One episode's file, as its head and its end tell.

    is_cut: whether the file ends before its rows do; num_rows counts the whole ones.
    """

    path: Path
    fps: Fraction
    goal: str
    first_index: int
    num_rows: int
    is_cut: bool
    vectors: RecordedVectors
    cameras: Mapping[str, object]
    depths: tuple[str, ...]

    @property
    def kind(self) -> tuple[Fraction, RecordedVectors]:
        """What all episodes of one dataset have in common."""
        return self.fps, self.vectors.drop_body()


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
    found: dict[int, _Recording] = {}
    bad: list[BadEpisode] = []
    for index, folder in folders.items():
        try:
            found[index] = _read_recording(folder / RECORDING, bounds, options.fps)
        except (RowsError, DatasetError) as error:
            code = error.code if isinstance(error, RowsError) else FaultCode.METADATA
            bad.append(BadEpisode(index, SourceFault(code, error.message, facts=error.facts)))
    if not found:
        raise DatasetError(f"{root}: none of its {len(bad)} recordings can be read; ", bad[0].fault.reason, file=root)
    usual = Counter(one.kind for one in found.values()).most_common(1)[0][0]
    alike = {index: one for index, one in found.items() if one.kind == usual}
    bad += [BadEpisode(index, _describe_other(one, usual)) for index, one in found.items() if index not in alike]
    vectors = _common_vectors(list(alike.values()))
    return SourceDataset(
        root=root,
        layout="xr_teleoperate",
        fps=usual[0],
        robot_type=None,
        features=_features(alike.values(), vectors),
        tasks=dict(enumerate(dict.fromkeys(one.goal for one in alike.values() if one.goal))),
        episodes=[_episode(index, one, vectors, bounds) for index, one in alike.items()],
        files=files,
        bad=tuple(sorted(bad, key=lambda one: one.index)),
        default_tasks=DEFAULT_GOALS,
        notes=tuple(_notes(root, alike, vectors)),
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


def _read_recording(path: Path, bounds: Path, usual_fps: Fraction | None) -> _Recording:
    if refusal := why_refused(path, bounds):
        raise RowsError(f"{path} ", refusal.reason, code=refusal.code, file=path)
    if not path.is_file():
        message = f"{path} is missing: the recorder ended before it saved the episode"
        raise RowsError(message, code=FaultCode.MISSING, file=path)
    try:
        values, first, num_rows, is_cut = _read_head(path)
    except (ValueError, OSError) as error:
        code, what = diagnose_file(path, error)
        raise RowsError(f"{path} ", what, code=code, file=path) from error
    if not isinstance(first, dict):
        cut = ": the recording was cut off" if is_cut else ""
        code = FaultCode.TRUNCATED if is_cut else FaultCode.ROW_COUNT
        raise RowsError(f"{path} has no whole row{cut}", code=code, file=path, got=0)
    check_length(num_rows, where=path)
    vectors = read_vectors_of(first)
    if not (vectors.state and vectors.action):
        raise DatasetError(f"{path}: the first row has no positions under states and actions", file=path)
    colors, depths = first.get(COLORS), first.get(DEPTHS)
    return _Recording(
        path=path,
        fps=_read_rate(values, path, usual_fps),
        goal=_read_goal(values),
        first_index=read_index(first) or 0,
        num_rows=num_rows,
        is_cut=is_cut,
        vectors=vectors,
        cameras=_check_cameras(colors if isinstance(colors, dict) else {}, path),
        depths=tuple(depths) if isinstance(depths, dict) else (),
    )


def _read_head(path: Path) -> tuple[dict[str, object], object, int, bool]:
    """What stands beside the rows, the first row, the number of whole rows, and whether the file was cut off."""
    values: dict[str, object] = {}
    first: object = None
    num_rows = 0
    try:
        with closing(read_pieces(path)) as pieces:
            for key, value in pieces:
                if key != ROWS:
                    values[key] = value
                    continue
                num_rows += 1
                first = value if num_rows == 1 else first
                if num_rows == 1 and {"info", "text"} <= values.keys() and (length := _count_by_ends(path, first)):
                    return values, first, length, False
    except CutShort:
        return values, first, num_rows, True
    return values, first, num_rows, False


def _count_by_ends(path: Path, first: object) -> int | None:
    """The number of rows by their numbers, which the rows are held against when they are read."""
    start, last = read_index(first), read_index(read_last_row(path))
    return None if start is None or last is None or last < start else last - start + 1


def _read_rate(values: Mapping[str, object], path: Path, usual_fps: Fraction | None) -> Fraction:
    info = values.get("info")
    image = info.get("image") if isinstance(info, dict) else None
    rate = image.get("fps") if isinstance(image, dict) else None
    if rate is None and usual_fps is not None:
        return usual_fps
    try:
        return parse_fps(rate)
    except (ValueError, MillraceError) as error:
        problem = f"{path}: info.image.fps, the rate of the rows, is {rate!r} ({error}); "
        advice = Remedy("write it there, or where it is missing give it with ", Setting("source_fps"))
        raise DatasetError(problem, advice, file=path, got=rate) from error


def _read_goal(values: Mapping[str, object]) -> str:
    text = values.get("text")
    goal = text.get("goal") if isinstance(text, dict) else None
    return goal.strip() if isinstance(goal, str) and is_unicode(goal) else ""


def _check_cameras(colors: Mapping[str, object], path: Path) -> Mapping[str, object]:
    if len(colors) > MAX_CAMERAS or not all(map(is_unicode, colors)):
        message = f"{path}: the first row names {len(colors)} cameras, expected at most {MAX_CAMERAS} with names"
        raise DatasetError(message, file=path, got=len(colors), expected=MAX_CAMERAS)
    return {camera: name for camera, name in colors.items() if name}


def _describe_other(one: _Recording, usual: tuple[Fraction, RecordedVectors]) -> SourceFault:
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


def _common_vectors(recordings: Sequence[_Recording]) -> RecordedVectors:
    """State and action of all episodes; the body's joints where all have them."""
    found = {one.vectors for one in recordings}
    return found.pop() if len(found) == 1 else recordings[0].vectors.drop_body()


def _features(recordings: Iterable[_Recording], vectors: RecordedVectors) -> dict[str, Feature]:
    features = {
        vector: Feature("float64", (len(vectors.names(vector)),), vectors.names(vector)) for vector in (STATE, ACTION)
    }
    cameras = sorted({camera for one in recordings for camera in one.cameras})
    return features | {f"{CAMERA_PREFIX}{camera}": Feature("image", (), None) for camera in cameras}


def _episode(index: int, one: _Recording, vectors: RecordedVectors, bounds: Path) -> SourceEpisode:
    clips = {
        camera: RecordedImages(
            path=one.path,
            camera=camera,
            num_frames=one.num_rows,
            first_index=one.first_index if name == usual_name(camera, one.first_index) else None,
            root=bounds,
        )
        for camera, name in one.cameras.items()
    }
    rows = (RowRange(one.path, root=bounds, open=vectors),)
    faults = (_describe_cut(one),) if one.is_cut else ()
    return SourceEpisode(index, one.num_rows, rows, clips, (one.goal,) if one.goal else (), faults=faults)


def _describe_cut(one: _Recording) -> SourceFault:
    reason = Message(
        f"{one.path} ends within its rows: the recording was cut off. {one.num_rows} rows are whole; ",
        Remedy("to convert those, pass ", Setting("cut_off", "keep")),
    )
    return SourceFault(FaultCode.TRUNCATED, reason)


def _notes(root: Path, found: Mapping[int, _Recording], vectors: RecordedVectors) -> Iterator[str]:
    """What of the recordings is not used."""
    depths = sorted({depth for one in found.values() for depth in one.depths})
    if depths:
        yield f"{root}: {', '.join(depths)} hold depth as JPEG, which keeps no distances; they are left out"
    if any(part.names == ("left_gripper",) for part in vectors.state):
        yield (
            f"warning: {root}: this recorder's grippers go from 0 closed to 5.4 open, while maps from 'g1_dex1' take 0 "
            "for open: look at a few images, and where that is so give both hands' rules the other polarity "
            "(docs/recordings.md)"
        )
    without = [index for index, one in found.items() if one.vectors != vectors]
    if without:
        yield (
            f"{root}: the body's joints are left out, as not all episodes have the same: "
            f"{len(without)} have some, such as episode {without[0]}"
        )
