"""Write the files of meta/ that have a line for each episode, from the ledger's records, in processes."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from millrace.engine.dataset.camera_levels import (
    EPISODES_AT_ONCE,
    CameraLevelsWriter,
    Levels,
    levels_block,
    unpack_levels,
)
from millrace.engine.dataset.metadata import EPISODES, EPISODES_STATS
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.record import Origin
from millrace.engine.dataset.writing import sync_file
from millrace.engine.layout import CAMERA_LEVELS, camera_key
from millrace.engine.output.ledger import Ledger, read_ledger_lines
from millrace.engine.planning import ConversionPlan
from millrace.engine.sources import name_file_in_errors, public_name

# Of the manifest, kept until its head can be written.
LINEAGES = "lineages.jsonl"

# An `EpisodeRecord` as JSON; those of earlier versions may lack what has a default.
Record = Mapping[str, Any]
# Where a record lies in the ledger, and the origin of its episode.
Place = tuple[int, Origin]


def write_episode_lines(ledger: Ledger, plan: ConversionPlan, root: Path, *, num_processes: int = 1) -> None:
    """Write meta/episodes.jsonl and episodes_stats.jsonl, and camera_levels.parquet where there are cameras.

    The episodes' lines of the manifest go to root/LINEAGES.

    Args:
        ledger: The records of all episodes of the plan.
        plan: Says where they were recorded.
        root: The folder that holds meta/.
        num_processes: Processes that make the lines.
    """
    sources = [(public_name(binding.source.path, binding.revision), binding.revision) for binding in plan.job.bindings]
    make = partial(_make_block, ledger.path, sources, plan.cameras)
    with ExitStack() as stack:
        episodes, stats = (stack.enter_context(_open(root / name)) for name in (EPISODES, EPISODES_STATS))
        lineages = stack.enter_context((root / LINEAGES).open("wb"))
        levels = stack.enter_context(CameraLevelsWriter(root / CAMERA_LEVELS, [*map(camera_key, plan.cameras)]))
        for block in map_in_processes(
            make, chunks(_places(ledger, plan), EPISODES_AT_ONCE), num_processes=num_processes
        ):
            for file, lines in ((episodes, block.episodes), (stats, block.stats), (lineages, block.lineages)):
                with name_file_in_errors(Path(file.name)):
                    file.write(lines)
            if block.levels is not None:
                levels.add_block(block.levels)
    if plan.cameras:
        sync_file(root / CAMERA_LEVELS)


def read_lineage_lines(root: Path) -> Iterator[str]:
    """The episodes' lines of the manifest."""
    with (root / LINEAGES).open(encoding="utf-8", newline="\n") as file:
        yield from (line.rstrip("\n") for line in file)


def _places(ledger: Ledger, plan: ConversionPlan) -> Iterator[Place]:
    for entry, episode in zip(ledger.entries(), plan.episodes, strict=True):
        yield entry.place, episode.origin


@dataclass(frozen=True, eq=False)
class _Block:
    """Lines of some episodes, and the counts of their cameras' levels."""

    episodes: bytes
    stats: bytes
    lineages: bytes
    levels: pa.Table | None


def _make_block(
    ledger: Path, sources: Sequence[tuple[str, str | None]], cameras: Sequence[str], places: Sequence[Place]
) -> _Block:
    """The records are taken as the JSON that they are: models of a million of them would take minutes."""
    records = list(read_ledger_lines(ledger, [place for place, _ in places]))
    lineages = [_lineage(record, sources, origin) for record, (_, origin) in zip(records, places, strict=True)]
    levels = [dict(_levels(record)) for record in records]
    keys = [*map(camera_key, cameras)]
    return _Block(
        episodes=_to_bytes(map(_episode, records), ensure_ascii=False),
        stats=_to_bytes(map(_stats, records), ensure_ascii=False),
        lineages=_to_bytes(lineages, ensure_ascii=True),
        levels=levels_block(records[0]["index"], levels, keys) if cameras else None,
    )


def _episode(record: Record) -> Record:
    return {
        "episode_index": record["index"],
        "tasks": [text for _, text in record["tasks"]],
        "length": record["num_frames"],
    }


def _stats(record: Record) -> Record:
    return {"episode_index": record["index"], "stats": record["stats"]}


def _lineage(record: Record, sources: Sequence[tuple[str, str | None]], origin: Origin) -> Record:
    """See `Lineage`."""
    source, revision = sources[record["binding"]]
    cuts = record.get("cuts")
    return {
        "episode_index": record["index"],
        "source": source,
        "revision": revision,
        "source_episode": record["source_episode"],
        "origin": {"source": origin.source, "digest": origin.digest, "episode": origin.episode},
        **({"cuts": cuts} if cuts else {}),
        "copied": record.get("copied", []),
        "files": record["files"],
    }


def _levels(record: Record) -> Iterator[tuple[str, Levels]]:
    for camera, text in record.get("levels", {}).items():
        if (levels := unpack_levels(text)) is not None:
            yield camera_key(camera), levels


def _to_bytes(values: Iterable[Record], *, ensure_ascii: bool) -> bytes:
    texts = (json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False) for value in values)
    return "".join(f"{text}\n" for text in texts).encode()


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which is flushed to disk."""
    with path.open("wb") as file:
        yield file
        with name_file_in_errors(path):
            file.flush()
            os.fsync(file.fileno())
