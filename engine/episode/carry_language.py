"""What is said in an output episode, from the language columns of the source's rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset.language_rows import EVENTS, Said, read_said, write_said
from millrace.engine.dataset.rows import to_arrow
from millrace.engine.layout import camera_key
from millrace.engine.sources import camera_name

Seconds = NDArray[np.float64]


def carry_language(
    name: str, array: pa.Array, frames: NDArray[np.int64], *, shown: Seconds, due: Seconds, cameras: Mapping[str, str]
) -> tuple[pa.Array, int]:
    """A language column at the kept frames as JSON texts, (T',), and how much of it is about cameras that are no more.

    An event counts for the kept frame that stands for its own: itself and all before the next kept one; the first for
    all before it, too.

    Args:
        name: Of the column.
        array: The source's rows, T of them.
        frames: Kept rows, (T',).
        shown: Times of the kept rows in the source, (T',).
        due: Their times in the output, (T',).
        cameras: The output's name of each camera of the source that it has.

    Raises:
        ValueError: a row holds something else.
    """
    change_time = _time_change(shown, due)
    num_lost = 0

    def change(said: list[Said]) -> list[Said]:
        nonlocal num_lost
        kept = _change_cameras(said, cameras)
        num_lost += len(said) - len(kept)
        return _change_times(kept, change_time)

    if name == EVENTS:
        texts = list(write_said(map(change, _join_spans(read_said(array), frames))))
    else:
        rows = array.take(to_arrow(frames))
        starts = _run_starts(rows)
        written = write_said(change(next(read_said(rows.slice(start, 1)))) for start in starts)
        lengths = np.diff([*starts, len(rows)]).tolist()
        texts = [text for text, length in zip(written, lengths, strict=True) for _ in range(length)]
    return pa.array(texts, pa.string()), num_lost


def _join_spans(rows: Iterator[list[Said]], frames: NDArray[np.int64]) -> Iterator[list[Said]]:
    """What is said in the rows that each kept frame stands for: the first for all before it, too."""
    spans: list[int | None] = [*np.diff([0, *frames[1:]]).tolist(), None]
    return ([one for said in islice(rows, length) for one in said] for length in spans)


def _run_starts(rows: pa.Array) -> list[int]:
    """The first of each run of equal rows: most often all rows of an episode are equal."""
    starts: list[int] = []
    for place in range(len(rows)):
        if not starts or not rows.slice(place, 1).equals(rows.slice(starts[-1], 1)):
            starts.append(place)
    return starts


def _change_cameras(said: Sequence[Said], cameras: Mapping[str, str]) -> list[Said]:
    """What is said with the output's names of cameras, without what is said of cameras that it lacks."""
    found = []
    for one in said:
        camera = one.get("camera")
        if camera is None:
            found.append(one)
        elif (target := cameras.get(camera_name(camera))) is not None:
            found.append({**one, "camera": camera_key(target)})
    return found


def _change_times(said: list[Said], change: Callable[[float], float] | None) -> list[Said]:
    if change is None:
        return said
    return [one if one.get("timestamp") is None else {**one, "timestamp": change(one["timestamp"])} for one in said]


def _time_change(shown: Seconds, due: Seconds) -> Callable[[float], float] | None:
    """How times in the source become those in the output; None where both clocks run alike up to half a step."""
    step = np.diff(shown).min(initial=np.inf)
    if np.abs(due - shown).max() <= step / 2:
        return None
    last = due[-1] - shown[-1]
    return lambda seconds: float(np.interp(seconds, shown, due) if seconds <= shown[-1] else seconds + last)
