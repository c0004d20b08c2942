"""One recording of xr_teleoperate, as the head and the end of its file tell."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.errors import DatasetError, FaultCode, RowsError
from millrace.engine.fps import parse_fps
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS, is_unicode
from millrace.engine.sources.listing import check_length
from millrace.engine.sources.xr_images import COLORS
from millrace.engine.sources.xr_json import ROWS, CutShort, read_last_row, read_pieces
from millrace.engine.sources.xr_rows import RecordedVectors, read_index, read_vectors_of

DEPTHS = "depths"
# What is used of a file beside its rows.
HEAD = {"info", "text"}


@dataclass(frozen=True)
class XrRecording:
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


def read_recording(path: Path, bounds: Path, usual_fps: Fraction | None) -> XrRecording:
    """Read the head and the end of an episode's file; all of it only where the end is missing.

    Args:
        path: Of the file.
        bounds: The folder that it must lie in.
        usual_fps: Its rate, Hz, where it does not say it.

    Raises:
        RowsError: the file cannot be read, or has no whole row.
        DatasetError: it does not say its rate, or has no positions.
    """
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
    return XrRecording(
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
    """HEAD's values, the first row, the number of whole rows, and whether the file was cut off."""
    values: dict[str, object] = {}
    first: object = None
    num_rows = 0
    try:
        with closing(read_pieces(path)) as pieces:
            for key, value in pieces:
                if key != ROWS:
                    if key in HEAD:
                        values[key] = value
                    continue
                num_rows += 1
                first = value if num_rows == 1 else first
                if num_rows == 1 and values.keys() >= HEAD and (length := _count_by_ends(path, first)):
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
