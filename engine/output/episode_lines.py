"""The files of meta/ that tell of each episode, from the ledger's records in one pass: one in memory at a time."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from millrace.engine.dataset.camera_levels import CameraLevelsWriter, Levels, unpack_levels
from millrace.engine.dataset.metadata import EPISODES, EPISODES_STATS
from millrace.engine.dataset.record import EpisodeRecord
from millrace.engine.dataset.writing import sync_file
from millrace.engine.layout import CAMERA_LEVELS, camera_key
from millrace.engine.sources import name_file_in_errors


def write_episode_lines(records: Iterable[EpisodeRecord], cameras: tuple[str, ...], root: Path) -> None:
    """Write meta/episodes.jsonl and episodes_stats.jsonl, and camera_levels.parquet where there are cameras.

    Args:
        records: Of all episodes, in order.
        cameras: Names of the dataset's cameras.
        root: The folder that holds meta/.
    """
    with ExitStack() as stack:
        episodes, stats = (stack.enter_context(_open(root / name)) for name in (EPISODES, EPISODES_STATS))
        levels = stack.enter_context(CameraLevelsWriter(root / CAMERA_LEVELS, [*map(camera_key, cameras)]))
        for record in records:
            episodes.write(_episode_line(record))
            stats.write(_stats_line(record))
            levels.add(dict(_levels(record)))
    if cameras:
        sync_file(root / CAMERA_LEVELS)


def _episode_line(record: EpisodeRecord) -> str:
    tasks = [text for _, text in record.tasks]
    return _line({"episode_index": record.index, "tasks": tasks, "length": record.num_frames})


def _stats_line(record: EpisodeRecord) -> str:
    stats = {name: vars(summary) for name, summary in record.stats.items()}
    return _line({"episode_index": record.index, "stats": stats})


def _levels(record: EpisodeRecord) -> Iterator[tuple[str, Levels]]:
    for camera, text in record.levels.items():
        if (levels := unpack_levels(text)) is not None:
            yield camera_key(camera), levels


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    """A text file to write, which is flushed to disk."""
    with name_file_in_errors(path), path.open("w", encoding="utf-8", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
