"""Judge a LeRobot v3.0 dataset: meta/, then where rows lie, rows and clips by file, then statistics of all rows."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from millrace.engine.dataset.column_store import ColumnStore, column_store_bytes
from millrace.engine.dataset.problems import Problem, Report
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.v3_checks import V3_CHECKS
from millrace.engine.sources import why_foreign
from millrace.engine.sources.parquet import is_hidden
from millrace.engine.validate.listed_files import manifest_problems
from millrace.engine.validate.scratch_space import cannot_keep, check_scratch_space
from millrace.engine.validate.v3.dataset_statistics import (
    Entries,
    counter_problems,
    read_dataset_statistics,
    statistics_value_problems,
)
from millrace.engine.validate.v3.episode_statistics_v3 import StoredStatistics
from millrace.engine.validate.v3.info_checks import v3_info_problems
from millrace.engine.validate.v3.row_contents import (
    EpisodeRun,
    RowJob,
    RowRules,
    RowsFound,
    judge_rows,
    summarized_features,
)
from millrace.engine.validate.v3.row_place_checks import row_place_problems
from millrace.engine.validate.v3.row_places import (
    FileRuns,
    RowPlaces,
    find_rows,
    list_data_files,
    read_file_runs,
)
from millrace.engine.validate.v3.shared_clips import VideoJob, judge_videos
from millrace.engine.validate.v3.v3_dataset import V3Metadata, make_v3_problem
from millrace.engine.validate.v3.v3_reading import read_v3_metadata, to_v3_problem

# Of rows that a process judges, and hands back, at a time.
ROWS_AT_ONCE, EPISODES_AT_ONCE = 1 << 16, 256
FILES_AT_ONCE, VIDEOS_AT_ONCE = 8, 1
# Work for which starting a process pays.
EPISODES_A_PROCESS = 1000

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class V3Job:
    """How to validate a dataset; see `validate`."""

    deep: bool
    scratch: Path
    num_processes: int
    on_progress: Progress


def judge_v3(root: Path, job: V3Job) -> Report:
    """Everything that is wrong with a dataset.

    Raises:
        NoScratchSpace: the scratch folder has no room for a copy of the rows.
        WorkersFailed: one of several processes ended.
    """
    num_checks = sum(check.needs is None or job.deep for check in V3_CHECKS.values())
    metadata, problems = read_v3_metadata(root)
    num_episodes = 0 if metadata is None else metadata.table.num_episodes
    job = V3Job(job.deep, job.scratch, min(job.num_processes, 1 + num_episodes // EPISODES_A_PROCESS), job.on_progress)
    listed = manifest_problems(
        root, lambda num_done: job.on_progress("files", num_done, None), num_processes=job.num_processes
    )
    problems += map(to_v3_problem, listed)
    if metadata is None:
        return Report(tuple(problems), 0, 0, num_checks, "v3.0")
    problems += v3_info_problems(metadata)
    problems += _Judging(metadata, job).run()
    return Report(tuple(problems), num_episodes, metadata.table.num_frames, num_checks, "v3.0")


@dataclass
class _Judging:
    """One dataset being judged. counters: min, max, sum and number of the columns that count."""

    metadata: V3Metadata
    job: V3Job
    counters: dict[str, tuple[float, float, float, int]] = field(default_factory=dict)

    def run(self) -> Iterator[Problem]:
        """All problems but those of meta/ itself."""
        yield from self._orphan_videos()
        files, problems, is_complete = self._read_runs()
        yield from problems
        places = find_rows(self.metadata, files, is_complete=is_complete)
        yield from row_place_problems(self.metadata, places, is_complete=is_complete)
        entries, problems = read_dataset_statistics(self.metadata)
        yield from problems
        yield from self._judge_rows(places, entries)
        yield from self._judge_videos()

    def _read_runs(self) -> tuple[list[FileRuns], list[Problem], bool]:
        """The runs of the files that can be read, and whether these are all."""
        root, info = self.metadata.root, self.metadata.info
        read = partial(read_file_runs, root, info)
        paths = chunks(list_data_files(root), FILES_AT_ONCE)
        found = [one for part in map_in_processes(read, paths, num_processes=self.job.num_processes) for one in part]
        problems = [problem for _, problems in found for problem in problems]
        files = [runs for runs, _ in found if runs is not None]
        return files, problems, len(files) == len(found)

    def _judge_rows(self, places: RowPlaces, entries: Entries) -> Iterator[Problem]:
        metadata, table = self.metadata, self.metadata.table
        stored = StoredStatistics(metadata.root, metadata.info, table.files)
        yield from stored.missing_problems()
        features = [name for name in summarized_features(metadata.info) if name in entries]
        num_values = sum(metadata.info.features[name].width for name in features)
        num_rows = sum(file.num_rows for file in places.files)
        check_scratch_space(self.job.scratch, column_store_bytes(num_rows, num_values), num_rows)
        judge = partial(judge_rows, RowRules(metadata.root, metadata.info, metadata.tasks, tuple(features)))
        is_sound, num_judged, num_done = places.has_all, 0, 0
        with tempfile.TemporaryFile(dir=self.job.scratch) as file:
            store = ColumnStore(file)
            jobs = _row_jobs(metadata, places, stored)
            for found in map_in_processes(judge, jobs, num_processes=self.job.num_processes):
                yield from found.problems
                num_done += found.num_episodes
                self.job.on_progress("episodes", num_done, table.num_episodes)
                is_sound &= bool(found.counters)
                if is_sound:
                    num_judged += self._add(found, store, features)
            yield from stored.problems
            stored.close()
            if is_sound and num_judged == num_rows and num_rows:
                self._keep(store.flush)
                self.job.on_progress("statistics", 0, None)
                yield from statistics_value_problems(
                    metadata, entries, store, stored, num_processes=self.job.num_processes
                )
                yield from counter_problems(entries, self.counters)

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise cannot_keep(self.job.scratch, error) from error

    def _add(self, found: RowsFound, store: ColumnStore, features: Sequence[str]) -> int:
        """Take in what a job found; returns its number of rows."""
        if features:
            self._keep(partial(store.append, found.floats))
        num_rows = 0
        for name, (low, high, total, num_rows) in found.counters.items():
            before = self.counters.get(name, (low, high, 0.0, 0))
            self.counters[name] = min(low, before[0]), max(high, before[1]), total + before[2], num_rows + before[3]
        return num_rows

    def _judge_videos(self) -> Iterator[Problem]:
        metadata, num_done = self.metadata, 0
        judge = partial(judge_videos, metadata.root, metadata.info, self.job.deep)
        jobs = chunks(_video_jobs(metadata), VIDEOS_AT_ONCE)
        num_clips = metadata.table.num_episodes * len(metadata.info.video_keys)
        num_processes = min(self.job.num_processes, 1 + num_clips // EPISODES_A_PROCESS)
        for found in map_in_processes(judge, jobs, num_processes=num_processes):
            for num_episodes, problems in found:
                yield from problems
                num_done += num_episodes
                self.job.on_progress("videos", num_done, num_clips)

    def _orphan_videos(self) -> Iterator[Problem]:
        """Mp4s that no episode names."""
        metadata, folder = self.metadata, self.metadata.root / "videos"
        if why_foreign(folder, metadata.root):
            return
        named = {path for camera in metadata.info.video_keys for path, _ in _files_of(metadata, camera)}
        for path in sorted(folder.rglob("*.mp4")):
            relative = path.relative_to(metadata.root)
            if relative not in named and not is_hidden(relative):
                yield make_v3_problem("video-orphan", relative, "is named by no episode; nothing reads it")


def _row_jobs(metadata: V3Metadata, places: RowPlaces, stored: StoredStatistics) -> Iterator[RowJob]:
    """Episodes whose rows lie together, some of one file at a time."""
    table, runs = metadata.table, np.flatnonzero(places.is_whole)
    starts = np.cumsum([0, *(file.num_rows for file in places.files)])
    begin = 0
    while begin < len(runs):
        number = int(places.file[runs[begin]])
        sizes = np.cumsum((places.last - places.first)[runs[begin : begin + EPISODES_AT_ONCE]])
        is_same = places.file[runs[begin : begin + EPISODES_AT_ONCE]] == number
        end = begin + max(1, int((is_same & (sizes <= ROWS_AT_ONCE)).sum()))
        part = runs[begin:end]
        begin = end
        file = places.files[number]
        if not file.is_sound:
            continue
        rows, offset = places.episode[part], int(starts[number])
        episodes = tuple(
            EpisodeRun(
                number=int(table.numbers[row]),
                start=first - offset,
                stop=last - offset,
                length=int(table.lengths[row]),
                first_index=first if places.has_all else int(table.first_row[row]),
                tasks=table.tasks[row],
            )
            for row, first, last in zip(
                rows.tolist(), places.first[part].tolist(), places.last[part].tolist(), strict=True
            )
        )
        yield RowJob(file.path, episodes, stored.read(rows, table.numbers[rows]))


def _files_of(metadata: V3Metadata, camera: str) -> Iterator[tuple[Path, np.ndarray]]:
    """A camera's mp4s, and the rows of meta/episodes that name each."""
    places = metadata.table.clips[camera].places
    named, inverse = np.unique(np.stack([places.chunk, places.file]), axis=1, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    counts = np.bincount(inverse.reshape(-1), minlength=named.shape[1])
    for pair, rows in zip(named.T.tolist(), np.split(order, counts.cumsum()[:-1]), strict=True):
        yield metadata.video_path(camera, *pair), rows


def _video_jobs(metadata: V3Metadata) -> Iterator[VideoJob]:
    table = metadata.table
    for camera in metadata.info.video_keys:
        clips = table.clips[camera]
        for path, rows in _files_of(metadata, camera):
            numbers, lengths = table.numbers[rows], table.lengths[rows]
            yield VideoJob(camera, path, numbers, lengths, clips.start[rows], clips.stop[rows])
