"""Make a LeRobot v3.0 dataset of a finished v2.1 one that Millrace made; meta/ appears last."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from millrace.engine.dataset.camera_levels import CameraLevelsWriter
from millrace.engine.dataset.manifest import manifest_text, read_head_text, read_lineages
from millrace.engine.dataset.metadata import INFO, Metadata
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.dataset.record import FileRecord
from millrace.engine.dataset.writing import explain_write_errors, sync_file, sync_folder, sync_tree
from millrace.engine.errors import DatasetError
from millrace.engine.layout import CAMERA_LEVELS, CARD, MANIFEST, META, PREVIEW, camera_key
from millrace.engine.output.card_facts import CardFacts
from millrace.engine.packing.claim import PACKED_FROM, PackOrigin, check_parts, claim_folder
from millrace.engine.packing.depth_clips import DepthClips, claim_depth, depth_path, remove_depth
from millrace.engine.packing.episode_files import FileTable, read_episode_files
from millrace.engine.packing.episode_places import add_statistics, place_episodes
from millrace.engine.packing.joins import Join, join_files
from millrace.engine.packing.pack_statistics import (
    DatasetTotals,
    EpisodeStatistics,
    described_features,
    read_statistics,
)
from millrace.engine.packing.packed_card import packed_card
from millrace.engine.packing.shared_files import DATA_PATH, VIDEO_PATH, FileSizes, Load, SharedFile, share_files
from millrace.engine.packing.v3_metadata import write_episodes, write_info, write_stats, write_tasks
from millrace.engine.sources.task_list import read_subtasks
from millrace.engine.video.join import StreamKind, read_stream_kind

ORIGIN = Path(PACKED_FROM).name
# Clips whose headers a process reads at a time.
CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class PackSummary:
    """What a dataset was packed into. was_finished: by an earlier run, from the same files."""

    folder: str
    num_episodes: int
    num_files: int
    num_bytes: int
    was_finished: bool = False


def pack_dataset(
    root: Path,
    out: Path,
    *,
    sizes: FileSizes = FileSizes(),
    depth: DepthClips | None = None,
    num_processes: int = 1,
    overwrite: bool = False,
) -> PackSummary:
    """Join the files of a dataset into those of LeRobot v3.0; a run that was stopped is continued.

    Args:
        root: A finished dataset that Millrace made, in LeRobot v2.1.
        out: The new dataset's folder.
        sizes: Of the files. No mp4 is longer than 1024 s either, as LeRobot compares times in float32.
        depth: Depth cameras to add from the sources; None: none.
        num_processes: Processes that read and join at the same time.
        overwrite: Replace what an earlier run made there.

    Raises:
        DatasetError: `root` is not such a dataset, or a depth clip is missing.
        OutputExists: `out` holds something else, or the episodes of `root` are deleted, which it was made of.
    """
    metadata, problems = read_metadata(root)
    if metadata is None or problems or not (root / MANIFEST).is_file():
        why = f": {problems[0]}" if problems else ", or Millrace did not make it"
        raise DatasetError(f"{root} is no finished LeRobot v2.1 dataset{why}", dataset=str(root))
    origin = PackOrigin.of(root, sizes, depth.digest if depth is not None and depth.cameras else None)
    if not overwrite and PackOrigin.read(out) == origin and (out / META).is_dir():
        remove_depth(out)  # a run may end after meta/ has appeared and before they are deleted
        return _summarize(metadata, out, was_finished=True)
    check_parts(root, out, origin)
    if depth is not None:
        depth.check()
    with explain_write_errors(out), claim_folder(out, origin, overwrite=overwrite) as scratch:
        _Packing(metadata, depth, out, scratch, sizes, num_processes).run(origin)
    return _summarize(metadata, out)


def _summarize(metadata: Metadata, out: Path, *, was_finished: bool = False) -> PackSummary:
    files = [path for name in ("data", "videos") for path in (out / name).rglob("*") if path.is_file()]
    num_bytes = sum(path.stat().st_size for path in files)
    return PackSummary(str(out), metadata.num_episodes, len(files), num_bytes, was_finished)


class _Packing:
    """One dataset on its way into shared files."""

    def __init__(
        self,
        metadata: Metadata,
        depth: DepthClips | None,
        out: Path,
        scratch: Path,
        sizes: FileSizes,
        num_processes: int,
    ) -> None:
        self.metadata, self.out, self.scratch, self.num_processes = metadata, out, scratch, num_processes
        self.sizes, self.depth = sizes, depth
        self.depth_cameras = {} if depth is None else {camera_key(camera.name): camera for camera in depth.cameras}
        self.rows, self.clips = read_episode_files(metadata)

    def run(self, origin: PackOrigin) -> None:
        """Join, then write meta/; origin: what the files come from."""
        self._write_depth(origin)
        data = share_files((Load(int(size)) for size in self.rows.num_bytes), max_bytes=self.sizes.data)
        videos = {camera: self._share_clips(camera) for camera in self.clips}
        root, fps, joins = self.metadata.root, self.metadata.info.fps, partial(self._joins, data, videos)
        made = join_files(joins, self.out, self.scratch, fps, num_processes=self.num_processes)
        records = list(made)
        self._remove_strays(records)
        (self.scratch / META).mkdir()
        self._write_metadata(data, videos)
        head = json.loads(read_head_text(root))
        beside = self._write_beside(head, records)
        self._write_manifest(head, records, beside)
        (self.scratch / ORIGIN).write_text(origin.model_dump_json(), encoding="utf-8")
        self._publish(records, beside)
        remove_depth(self.out)

    def _write_beside(self, head: Mapping[str, Any], records: Sequence[FileRecord]) -> tuple[str, ...]:
        """Write the card, with a copy of the preview if there is one; returns the names of both."""
        num_bytes = Counter[str]()
        for record in records:
            num_bytes[record.path.parts[0]] += record.num_bytes
        preview = self.metadata.root / PREVIEW
        if has_preview := preview.is_file():
            shutil.copyfile(preview, self.scratch / PREVIEW)
        facts = CardFacts(head, num_bytes["data"], num_bytes["videos"], has_preview)
        card = packed_card(self.metadata, facts, tuple(self.depth_cameras.values()))
        (self.scratch / CARD).write_text(card, encoding="utf-8")
        return (CARD, PREVIEW) if has_preview else (CARD,)

    def _publish(self, records: Sequence[FileRecord], beside: Sequence[str]) -> None:
        """Move what was written to its place, meta/ last and once all else is on the disk: the parts may be deleted."""
        for name, place in {**{name: name for name in beside}, MANIFEST: MANIFEST, ORIGIN: PACKED_FROM}.items():
            sync_file(self.scratch / name)
            (self.scratch / name).replace(self.out / place)
        folders = {folder for record in records for folder in record.path.parents}
        for folder in sorted({*folders, Path(PACKED_FROM).parent, Path()}):
            sync_folder(self.out / folder)
        sync_tree(self.scratch / META)
        (self.scratch / META).rename(self.out / META)
        sync_folder(self.out)

    def _write_depth(self, origin: PackOrigin) -> None:
        """Write the depth clips that an earlier run of the same origin has not; they are joined as others are."""
        if self.depth is not None and self.depth_cameras:
            claim_depth(self.out, origin.depth or "")
            for key, camera in self.depth_cameras.items():
                written = self.depth.write(camera, self.out, self.scratch, num_processes=self.num_processes)
                self.clips[key] = FileTable(self.metadata.num_episodes)
                for number, record in enumerate(written):
                    self.clips[key].set(number, record)

    def _clip_path(self, number: int, camera: str) -> Path:
        """Where an episode's clip lies."""
        if camera in self.depth_cameras:
            return depth_path(self.out, number, self.depth_cameras[camera].name)
        return self.metadata.root / self.metadata.video_path(number, camera)

    def _share_clips(self, camera: str) -> list[SharedFile]:
        metadata = self.metadata
        paths = (self._clip_path(number, camera) for number in range(metadata.num_episodes))
        batches = map_in_processes(_read_kinds, chunks(paths, CLIPS_AT_ONCE), num_processes=self.num_processes)
        kinds = (kind for batch in batches for kind in batch)
        loads = (
            Load(int(num_bytes), int(length) / metadata.info.fps, kind)
            for num_bytes, length, kind in zip(self.clips[camera].num_bytes, metadata.lengths, kinds, strict=True)
        )
        return share_files(loads, max_bytes=self.sizes.video)

    def _joins(self, data: Sequence[SharedFile], videos: Mapping[str, Sequence[SharedFile]]) -> Iterator[Join]:
        metadata = self.metadata
        for file in data:
            rows = tuple(metadata.root / metadata.data_path(number) for number in file.episodes)
            yield Join(file.path(DATA_PATH), rows, _digest(self.rows, file.episodes))
        for camera, files in videos.items():
            for file in files:
                clips = tuple(self._clip_path(number, camera) for number in file.episodes)
                lengths = tuple(metadata.lengths[file.episodes.start : file.episodes.stop].tolist())
                digest = _digest(self.clips[camera], file.episodes)
                yield Join(file.path(VIDEO_PATH, video_key=camera), clips, digest, lengths)

    def _remove_strays(self, records: Sequence[FileRecord]) -> None:
        """Files of an earlier run with other sizes."""
        known = {self.out / record.path for record in records}
        for pattern in ("data/chunk-*/file-*.parquet", "videos/*/chunk-*/file-*.mp4"):
            for path in set(self.out.glob(pattern)) - known:
                path.unlink()

    def _write_metadata(self, data: Sequence[SharedFile], videos: Mapping[str, Sequence[SharedFile]]) -> None:
        metadata, meta = self.metadata, self.scratch / META
        info = json.loads((metadata.root / INFO).read_bytes())
        totals = DatasetTotals.open(metadata, self.scratch)
        places = place_episodes(metadata, data, videos)
        found = self._add_depth(read_statistics(metadata, num_processes=self._processes_a_kind))
        cameras, features = list(self.clips), [*described_features(metadata), *self.depth_cameras]
        with CameraLevelsWriter(self.scratch / CAMERA_LEVELS, metadata.cameras) as levels:
            kept = (_keep(totals, levels, read) for read in found)
            rows = (add_statistics(place, read) for place, read in zip(places, kept, strict=True))
            write_episodes(self.scratch, rows, cameras, features)
        info["features"] |= {} if self.depth is None else self.depth.features()
        write_info(meta / "info.json", info, self.sizes)
        write_tasks(meta / "tasks.parquet", dict(metadata.tasks or {}))
        if subtasks := read_subtasks(metadata.root, metadata.root):
            write_tasks(meta / "subtasks.parquet", subtasks, "subtask")
        write_stats(meta / "stats.json", totals.summaries())

    @property
    def _processes_a_kind(self) -> int:
        """Processes for the rows and clips of v2.1, and as many for each depth camera, which run side by side."""
        return max(self.num_processes // (1 + len(self.depth_cameras)), 1)

    def _add_depth(self, found: Iterator[EpisodeStatistics]) -> Iterator[EpisodeStatistics]:
        """Statistics of episodes with those of their depth."""
        if self.depth is None or not self.depth_cameras:
            yield from found
            return
        lengths, share = self.metadata.lengths.tolist(), self._processes_a_kind
        counts = [
            self.depth.count(camera, self.out, lengths, num_processes=share) for camera in self.depth_cameras.values()
        ]
        for episode, *codes in zip(found, *counts, strict=True):
            yield episode.with_depth(dict(zip(self.depth_cameras, codes, strict=True)))

    def _write_manifest(self, head: Mapping[str, Any], records: Sequence[FileRecord], names: Sequence[str]) -> None:
        """The head of the source's manifest with these files, and each episode's lineage."""
        meta = [path for path in sorted((self.scratch / META).rglob("*")) if path.is_file()]
        beside = [FileRecord.of(self.scratch / name, Path(name)) for name in names]
        written = [*beside, *(FileRecord.of(path, path.relative_to(self.scratch)) for path in meta), *records]
        files = [record.model_dump(mode="json") for record in written]
        lineages = (lineage.model_copy(update={"files": ()}) for lineage in read_lineages(self.metadata.root))
        with (self.scratch / MANIFEST).open("w", encoding="utf-8") as file:
            file.writelines(manifest_text({**head, "files": files}, lineages))


def _digest(files: FileTable, episodes: range) -> str:
    return hashlib.sha256(files.hex_digests(episodes).encode()).hexdigest()


def _read_kinds(paths: Sequence[Path]) -> list[StreamKind]:
    return [read_stream_kind(path) for path in paths]


def _keep(totals: DatasetTotals, levels: CameraLevelsWriter, episode: EpisodeStatistics) -> EpisodeStatistics:
    totals.add(episode)
    levels.add({camera: counted.counts for camera, counted in episode.levels.items()})
    return episode
