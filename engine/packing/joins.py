"""Join episodes' files into shared ones, in processes; what an earlier run joined from the same files is kept."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
from pydantic import ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.language_rows import to_structures
from millrace.engine.dataset.processes import map_in_processes
from millrace.engine.dataset.record import FileRecord
from millrace.engine.dataset.writing import finish_file
from millrace.engine.layout import WORK
from millrace.engine.sources import name_file_in_errors
from millrace.engine.video.join import join_clips

JOINED = f"{WORK}/joined.jsonl"


@dataclass(frozen=True)
class Join:
    """A file to make of others.

    digest: of the parts; equal parts make an equal file. num_frames: of each clip; empty for rows.
    """

    path: Path
    parts: tuple[Path, ...]
    digest: str
    num_frames: tuple[int, ...] = ()


class JoinedFile(FrozenModel):
    """A line of OUT/.millrace/joined.jsonl: a file that is done. parts: digest of what it was made of."""

    file: FileRecord
    parts: str


def join_files(
    joins: Callable[[], Iterator[Join]], out: Path, scratch: Path, fps: Fraction, *, num_processes: int
) -> Iterator[FileRecord]:
    """Make each file in `out` unless it is there already; yields their records, in order.

    Args:
        joins: The files to make, each time in the same order; their paths are relative to `out`, those of parts whole.
        out: The dataset's folder.
        scratch: A folder on its file system, for files that are not finished.
        fps: Of all clips.
        num_processes: Processes that join at the same time.
    """
    done = _read_done(out)

    def find(join: Join) -> FileRecord | None:
        known = done.get(join.path)
        return known.file if known is not None and known.parts == join.digest else None

    due = (join for join in joins() if find(join) is None)
    made = map_in_processes(partial(_join, out, scratch, fps), due, num_processes=num_processes)
    with (out / JOINED).open("a", encoding="utf-8") as file:
        for join in joins():
            record = find(join)
            if record is None:
                record = next(made)
                file.write(JoinedFile(file=record, parts=join.digest).model_dump_json() + "\n")
                file.flush()
            yield record


def _read_done(out: Path) -> dict[Path, JoinedFile]:
    """Files that an earlier run joined and that have their size still; a line that was cut off does not count."""
    if not (out / JOINED).is_file():
        return {}
    lines = (out / JOINED).read_text(encoding="utf-8").splitlines()
    found = (one for line in lines if (one := _parse(line)) is not None)
    return {one.file.path: one for one in found if _is_as_written(out / one.file.path, one.file)}


def _parse(line: str) -> JoinedFile | None:
    try:
        return JoinedFile.model_validate_json(line)
    except ValidationError:
        return None


def _is_as_written(path: Path, record: FileRecord) -> bool:
    return path.is_file() and path.stat().st_size == record.num_bytes


def _join(out: Path, scratch: Path, fps: Fraction, join: Join) -> FileRecord:
    unfinished = scratch / f"{uuid4().hex}{join.path.suffix}"
    if join.num_frames:
        join_clips(join.parts, join.num_frames, unfinished, fps)
    else:
        join_rows(join.parts, unfinished)
    return finish_file(unfinished, out, join.path)


def join_rows(paths: Iterable[Path], path: Path) -> None:
    """Write parquet files of one schema one after another to `path`, each as a row group; language as in v3.0."""
    writer: pq.ParquetWriter | None = None
    with name_file_in_errors(path):
        try:
            for part in paths:
                table = to_structures(pq.read_table(part))
                writer = writer or pq.ParquetWriter(path, table.schema)
                writer.write_table(table, row_group_size=max(len(table), 1))
        finally:
            if writer is not None:
                writer.close()
