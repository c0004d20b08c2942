"""Clips that a dataset's manifest lists, so that a copied one need not be decoded again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from millrace.embodiments import FrozenModel, Remedy
from millrace.engine.dataset.json_files import MAX_LINE, Unreadable, number_lines, report_unreadable
from millrace.engine.dataset.manifest import (
    Lineage,
    RecordedEpisode,
    parse_episode,
    read_manifest_episodes,
    read_manifest_head,
)
from millrace.engine.dataset.record import FileRecord, Origin, hash_file
from millrace.engine.dataset.stats import ColumnSummary
from millrace.engine.errors import DatasetError, system_errno
from millrace.engine.layout import MANIFEST, META, camera_key
from millrace.engine.sources import why_foreign

EPISODES_STATS = f"{META}/episodes_stats.jsonl"
# How lines begin in the manifest and in episodes_stats.jsonl: no other part of them is parsed to find an episode.
EPISODE_BEGIN = b'{"episode_index": '

Model = TypeVar("Model", bound=BaseModel)


class _StatsLine(FrozenModel):
    """An episode's line of episodes_stats.jsonl."""

    episode_index: int
    stats: dict[str, ColumnSummary]


@dataclass(frozen=True)
class ManifestClips:
    """Where each episode's line lies in the manifest and in its statistics; both files are as they were written."""

    root: Path
    lineage: dict[int, int]
    stats: dict[int, int]

    def image_statistics(self, episode: int, camera: str, path: Path) -> ColumnSummary | None:
        """LeRobot's statistics of a clip; None where the file has other bytes than when they were taken."""
        if why_foreign(path, self.root):
            return None
        lineage = _line(self.root / MANIFEST, self.lineage.get(episode), Lineage)
        stats = _line(self.root / EPISODES_STATS, self.stats.get(episode), _StatsLine)
        if lineage is None or stats is None:
            return None
        records = [file for file in lineage.files if self.root / file.path == path]
        is_known = len(records) == 1 and _is_as_written(path, records[0])
        return stats.stats.get(camera_key(camera)) if is_known else None


def read_manifest_clips(root: Path) -> ManifestClips | None:
    """The clips of a dataset's manifest; None where Millrace did not make it, or its meta/ was changed since."""
    try:
        return _read(root, (root / MANIFEST).stat().st_mtime_ns)
    except (OSError, ValueError, Unreadable):  # whatever is wrong, its clips are decoded as those of others are
        return None


def read_manifest_origins(root: Path) -> dict[int, Origin]:
    """Origin by episode from a dataset's manifest; empty where there is none, or it is damaged."""
    try:
        episodes = (parse_episode(text, RecordedEpisode) for text in read_manifest_episodes(root))
        return {episode.episode_index: episode.origin for episode in episodes if episode.origin}
    except Unreadable as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or system_errno(cause) is None:
            return {}
        raise DatasetError(
            f"{root / MANIFEST} cannot be read ({cause.strerror}); ",
            Remedy("once it can, run this again"),
            file=root / MANIFEST,
        ) from cause


@lru_cache(maxsize=4)
def _read(root: Path, mtime: int) -> ManifestClips | None:
    """mtime: of the manifest, so that what is remembered is not of another one."""
    written = {str(record.path): record for record in read_manifest_head(root).files}
    lineage = dict(_places(read_manifest_episodes(root)))
    with report_unreadable(root, EPISODES_STATS), (root / EPISODES_STATS).open("rb") as file:
        if not _is_as_written(root / EPISODES_STATS, written.get(EPISODES_STATS)):
            return None
        return ManifestClips(root, lineage, dict(_places(number_lines(file, EPISODES_STATS))))


def _is_as_written(path: Path, record: FileRecord | None) -> bool:
    """Whether a file is what the manifest describes; one of another size is not read."""
    return record is not None and path.stat().st_size == record.num_bytes and hash_file(path) == record.sha256


def _places(lines: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[int, int]]:
    """Where each episode's line begins, of lines as engine/output/commit.py writes them."""
    for _, offset, line in lines:
        number, comma, _ = line.removeprefix(EPISODE_BEGIN).partition(b",")
        if line.startswith(EPISODE_BEGIN) and comma and number.isdigit():
            yield int(number), offset


def _line(path: Path, place: int | None, model: type[Model]) -> Model | None:
    """An episode's line; None where there is none that can be understood."""
    if place is None:
        return None
    with path.open("rb") as file:
        file.seek(place)
        line = file.readline(MAX_LINE).strip().removesuffix(b",")
    try:
        return model.model_validate_json(line)
    except ValueError:  # whatever it says, the clip is decoded as those of others are
        return None
