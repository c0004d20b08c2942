"""What a dataset that Millrace made says of its own clips, so that a copied one need not be decoded again."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel

from millrace.embodiments.frozen_model import FrozenModel
from millrace.engine.dataset.record import FileRecord, Origin
from millrace.engine.dataset.stats import ColumnSummary
from millrace.engine.errors import DatasetError, system_errno
from millrace.engine.layout import MANIFEST, META, camera_key
from millrace.engine.sources.containment import why_foreign

EPISODES_STATS = f"{META}/episodes_stats.jsonl"
EPISODES_BEGIN = b'"episodes": ['
EPISODE_LINE = re.compile(rb'\s*\{"episode_index": (\d+),')
BLOCK_BYTES = 1 << 20
# Far above what Millrace writes: the file may be anything that bears its name.
MAX_LINE_BYTES = 64 << 20

Model = TypeVar("Model", bound=BaseModel)


class _Head(FrozenModel):
    """The manifest before its episodes."""

    files: tuple[FileRecord, ...]


class _Lineage(FrozenModel):
    """The manifest's line of one episode."""

    episode_index: int
    files: tuple[FileRecord, ...]


class _OriginLine(FrozenModel):
    """The same line, of which only this matters."""

    origin: Origin | None = None


class _StatsLine(FrozenModel):
    """An episode's line of episodes_stats.jsonl."""

    episode_index: int
    stats: dict[str, ColumnSummary]


@dataclass(frozen=True)
class PublishedClips:
    """Where each episode's line lies in the manifest and in its statistics; both files are as they were written."""

    root: Path
    lineage: dict[int, int]
    stats: dict[int, int]

    def picture_statistics(self, episode: int, camera: str, path: Path) -> ColumnSummary | None:
        """LeRobot's statistics of a clip; None where it is not the file, byte by byte, that they were taken of."""
        if why_foreign(path, self.root):
            return None
        lineage = _line(self.root / MANIFEST, self.lineage.get(episode), _Lineage)
        stats = _line(self.root / EPISODES_STATS, self.stats.get(episode), _StatsLine)
        if lineage is None or stats is None:
            return None
        records = [file for file in lineage.files if self.root / file.path == path]
        is_known = len(records) == 1 and _is_as_written(path, records[0])
        return stats.stats.get(camera_key(camera)) if is_known else None


def published_clips(root: Path) -> PublishedClips | None:
    """What a dataset says of its clips; None where Millrace did not make it, or its meta/ was changed since."""
    manifest = root / MANIFEST
    try:
        is_there = all(why_foreign(root / name, root) is None for name in (MANIFEST, EPISODES_STATS))
        return _read(root, manifest.stat().st_mtime_ns) if is_there and manifest.is_file() else None
    except (OSError, ValueError):  # whatever is wrong, its clips are decoded as those of others are
        return None


def manifest_head(root: Path) -> bytes | None:
    """The manifest of a dataset before its episodes, as JSON; None where there is none, or it is not ours.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not as Millrace writes it.
    """
    manifest = root / MANIFEST
    if why_foreign(manifest, root) or not manifest.is_file():
        return None
    with manifest.open("rb") as file:
        return _head(file)


def published_origins(root: Path) -> dict[int, Origin]:
    """Where a dataset of ours says that its episodes come from; nothing of others, or if it cannot be understood."""
    try:
        return dict(_origins(root))
    except OSError as error:
        if system_errno(error) is None:
            return {}
        raise DatasetError(
            f"{root / MANIFEST} cannot be read ({error.strerror}); once it can, run this again"
        ) from error
    except ValueError:
        return {}


def _origins(root: Path) -> Iterator[tuple[int, Origin]]:
    manifest = root / MANIFEST
    if why_foreign(manifest, root) or not manifest.is_file():
        return
    with manifest.open("rb") as file:
        for line in _lines(file):
            begin = EPISODE_LINE.match(line)
            origin = _OriginLine.model_validate_json(line.strip().removesuffix(b",")).origin if begin else None
            if begin and origin:
                yield int(begin[1]), origin


@lru_cache(maxsize=4)
def _read(root: Path, mtime: int) -> PublishedClips | None:
    """mtime: of the manifest, so that what is remembered is not of another one."""
    with (root / MANIFEST).open("rb") as file:
        if (text := _head(file)) is None:
            return None
        written = {str(record.path): record for record in _Head.model_validate_json(text).files}
        lineage = dict(_places(file))
    if not _is_as_written(root / EPISODES_STATS, written.get(EPISODES_STATS)):
        return None
    with (root / EPISODES_STATS).open("rb") as file:
        return PublishedClips(root, lineage, dict(_places(file)))


def _head(file: IO[bytes]) -> bytes | None:
    """The manifest before its episodes, as JSON; None where that is longer than Millrace writes it."""
    head = b""
    for line in _lines(file):
        if line.strip() == EPISODES_BEGIN:
            break
        head += line
        if len(head) > MAX_LINE_BYTES:
            return None
    return head.rstrip().removesuffix(b",") + b"}"


def _is_as_written(path: Path, record: FileRecord | None) -> bool:
    """Whether a file is what the manifest describes; one of another size is not read."""
    return record is not None and path.stat().st_size == record.num_bytes and sha256(path) == record.sha256


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Raises ValueError at a line that Millrace did not write: what follows may have no end."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise ValueError(f"a line of {MAX_LINE_BYTES} bytes or more")
        yield line


def _places(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Where each episode's line begins, in a file as engine/output/commit.py writes it."""
    place = file.tell()
    for line in _lines(file):
        if found := EPISODE_LINE.match(line):
            yield int(found[1]), place
        place = file.tell()


def _line(path: Path, place: int | None, model: type[Model]) -> Model | None:
    """An episode's line; None where there is none that can be understood."""
    if place is None:
        return None
    with path.open("rb") as file:
        file.seek(place)
        line = file.readline(MAX_LINE_BYTES).strip().removesuffix(b",")
    try:
        return model.model_validate_json(line)
    except ValueError:  # whatever it says, the clip is decoded as those of others are
        return None


def sha256(path: Path) -> str:
    """A file's digest."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
