"""Clips that a dataset's manifest lists, so that a copied one need not be decoded again.

A clip is proven by the digest of its file in the manifest, its statistics by that of the file which holds them: a
manifest is believed about the bytes that it describes, and about nothing that was changed since.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel

from millrace.embodiments import FrozenModel, Remedy
from millrace.engine.dataset.camera_levels import CameraLevels, Levels
from millrace.engine.dataset.file_digests import FileDigests
from millrace.engine.dataset.json_files import MAX_LINE, Unreadable, number_lines, report_unreadable
from millrace.engine.dataset.manifest import (
    Lineage,
    RecordedEpisode,
    parse_episode,
    read_manifest_episodes,
    read_manifest_head,
)
from millrace.engine.dataset.record import FileRecord, Origin
from millrace.engine.dataset.rows import read_table
from millrace.engine.dataset.stats import ColumnSummary
from millrace.engine.errors import DatasetError, RowsError, system_errno
from millrace.engine.layout import CAMERA_LEVELS, EPISODES_FOLDER, MANIFEST, META, camera_key
from millrace.engine.sources import Clip, why_foreign

EPISODES_STATS = f"{META}/episodes_stats.jsonl"
# How lines begin in the manifest and in episodes_stats.jsonl: no other part of them is parsed to find an episode.
EPISODE_BEGIN = b'{"episode_index": '

# Of statistics in memory: one for each camera of a file of meta/episodes/, of 1 to 2 MB.
MAX_TABLES = 32

Model = TypeVar("Model", bound=BaseModel)


class _StatsLine(FrozenModel):
    """An episode's line of episodes_stats.jsonl."""

    episode_index: int
    stats: dict[str, ColumnSummary]


@dataclass(frozen=True, eq=False)
class ClipStatistics:
    """What is known of a clip's images: LeRobot's statistics, and counts of levels where there are any."""

    summary: ColumnSummary
    levels: Levels | None


class ManifestClips(Protocol):
    """The clips of a dataset that Millrace made."""

    def find(self, episode: int, camera: str, clip: Clip, digest: str | None) -> ClipStatistics | None:
        """What is known of a clip; None where its file has other bytes than when they were counted.

        digest: of the clip's whole file, where that is known already.
        """
        ...


@dataclass(frozen=True)
class ClipFiles:
    """Clips in files of their own: where each episode's line lies in the manifest and in its statistics.

    Both files are as they were written, and so are the counts, which are None else.
    """

    root: Path
    digests: FileDigests
    lineage: dict[int, int]
    stats: dict[int, int]
    levels: CameraLevels | None

    def find(self, episode: int, camera: str, clip: Clip, digest: str | None) -> ClipStatistics | None:
        """See `ManifestClips`."""
        if clip.start_seconds is not None or why_foreign(clip.path, self.root):
            return None
        lineage = _line(self.root / MANIFEST, self.lineage.get(episode), Lineage)
        stats = _line(self.root / EPISODES_STATS, self.stats.get(episode), _StatsLine)
        if lineage is None or stats is None:
            return None
        records = [file for file in lineage.files if self.root / file.path == clip.path]
        if len(records) != 1 or not self._is_as_written(clip.path, records[0], digest):
            return None
        return _with_levels(stats.stats.get(camera_key(camera)), self.levels, episode, camera)

    def _is_as_written(self, path: Path, record: FileRecord, digest: str | None) -> bool:
        return _is_as_written(path, record, self.digests) if digest is None else digest == record.sha256


@dataclass(frozen=True)
class JoinedClips:
    """Clips in files that they share, of LeRobot v3.0.

    files: of the manifest, by path. episodes: the file of meta/episodes/ that describes each. levels: see `ClipFiles`.
    """

    root: Path
    digests: FileDigests
    files: Mapping[Path, FileRecord]
    episodes: Mapping[int, Path]
    levels: CameraLevels | None

    def find(self, episode: int, camera: str, clip: Clip, digest: str | None) -> ClipStatistics | None:
        """See `ManifestClips`; a file is digested once for all of its clips."""
        path, record = self.episodes.get(episode), self.files.get(clip.path)
        if path is None or record is None or why_foreign(clip.path, self.root):
            return None
        if not _is_as_written(clip.path, record, self.digests):
            return None
        try:
            found = _find_statistics(_read_statistics(path, camera_key(camera), _mtime(path)), episode, clip)
        except (RowsError, ValueError):  # whatever it says, the clip is decoded as those of others are
            return None
        return _with_levels(found, self.levels, episode, camera)


def read_manifest_clips(root: Path, digests: FileDigests) -> ManifestClips | None:
    """The clips of a dataset's manifest; None where Millrace did not make it, or its meta/ was changed since."""
    try:
        return _read(root, digests, _mtime(root / MANIFEST))
    except (OSError, ValueError, Unreadable, RowsError):  # then its clips are decoded as those of others are
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
def _read(root: Path, digests: FileDigests, mtime: int) -> ManifestClips | None:
    """mtime: of the manifest, so that what is remembered is not of another one."""
    written = {root / record.path: record for record in read_manifest_head(root).files}
    episodes = [path for path in written if path.is_relative_to(root / EPISODES_FOLDER)]
    levels = _read_levels(root, written, digests)
    if episodes:
        return JoinedClips(root, digests, written, _list_episodes(episodes, written, digests), levels)
    if not _is_as_written(root / EPISODES_STATS, written.get(root / EPISODES_STATS), digests):
        return None
    lineage = dict(_places(read_manifest_episodes(root)))
    with report_unreadable(root, EPISODES_STATS), (root / EPISODES_STATS).open("rb") as file:
        return ClipFiles(root, digests, lineage, dict(_places(number_lines(file, EPISODES_STATS))), levels)


def _read_levels(root: Path, written: Mapping[Path, FileRecord], digests: FileDigests) -> CameraLevels | None:
    """Counts of the dataset's clips; None where it has none that are as they were written."""
    path = root / CAMERA_LEVELS
    if path not in written or not path.is_file() or why_foreign(path, root):
        return None
    return CameraLevels(root) if _is_as_written(path, written[path], digests) else None


def _with_levels(
    summary: ColumnSummary | None, levels: CameraLevels | None, episode: int, camera: str
) -> ClipStatistics | None:
    if summary is None:
        return None
    return ClipStatistics(summary, None if levels is None else levels.find(episode).get(camera_key(camera)))


def _list_episodes(paths: Iterable[Path], written: Mapping[Path, FileRecord], digests: FileDigests) -> dict[int, Path]:
    """The file that describes each episode, of files that are as they were written."""
    sound = (path for path in paths if _is_as_written(path, written[path], digests))
    return {number: path for path in sound for number in read_table(path, ["episode_index"])[0].to_pylist()}


@lru_cache(maxsize=MAX_TABLES)
def _read_statistics(path: Path, feature: str, mtime: int) -> pa.Table:
    """A camera's columns of a file of meta/episodes/; mtime: as of `_read`."""
    stats = [f"stats/{feature}/{name}" for name in ColumnSummary.__dataclass_fields__]
    return read_table(path, ["episode_index", f"videos/{feature}/from_timestamp", *stats])


def _find_statistics(table: pa.Table, episode: int, clip: Clip) -> ColumnSummary | None:
    """Those of an episode, if its clip is where the table says."""
    row: dict[str, Any] = table.slice(table["episode_index"].to_pylist().index(episode), 1).to_pylist()[0]
    values = {name.rpartition("/")[2]: value for name, value in row.items()}
    if values.pop("from_timestamp") != clip.start_seconds:
        return None
    return ColumnSummary(**{name: values[name] for name in ColumnSummary.__dataclass_fields__})


def _is_as_written(path: Path, record: FileRecord | None, digests: FileDigests) -> bool:
    """Whether a file is what the manifest describes; one of another size is not read."""
    if record is None or (num_bytes := path.stat().st_size) != record.num_bytes:
        return False
    return digests.find(path, num_bytes, _mtime(path)) == record.sha256


def _mtime(path: Path) -> int:
    return path.stat().st_mtime_ns


def _places(lines: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[int, int]]:
    """Where each episode's line begins, of lines as Millrace writes them."""
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
