"""Finish a dataset from the ledger's records: card, manifest and meta/, which appears last, by a rename."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.embodiments import Remedy, modality_config, modality_config_source, modality_json
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints
from millrace.engine.dataset.groot_stats import RelativeGroup, compute_statistics, tails_bytes
from millrace.engine.dataset.metadata import SUBTASKS
from millrace.engine.dataset.writing import sync_folder
from millrace.engine.errors import FaultCode, OutputFailed, RowsError
from millrace.engine.layout import (
    ACTION,
    CARD,
    CODEBASE_VERSION,
    DATA_PATH,
    MANIFEST,
    META,
    MODALITY_CONFIG,
    PREVIEW,
    STATE,
    VIDEO_PATH,
    EpisodePaths,
    camera_key,
)
from millrace.engine.output.card import dataset_card
from millrace.engine.output.card_facts import CardFacts
from millrace.engine.output.episode_lines import read_lineage_lines, write_episode_lines
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.make_manifest import make_manifest, manifest_head
from millrace.engine.output.preview import make_preview, shown_episodes
from millrace.engine.output.warning_sums import public_warnings, sum_warnings
from millrace.engine.planning import ConversionPlan
from millrace.engine.sources import name_file_in_errors

FLOAT_FEATURES = (STATE, ACTION, "timestamp")
# Five seconds of work; a process takes one to start, twice.
EPISODES_A_PROCESS = 5000


def commit(plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path, *, num_processes: int = 1) -> None:
    """Write everything but data/ and videos/; a dataset without meta/ is visibly unfinished.

    Args:
        plan: What was to be made; all of its episodes are in the ledger.
        ledger: The records of the episodes.
        out: The dataset's folder.
        scratch: A folder on its file system, where meta/ is prepared.
        num_processes: Processes of this machine that read episodes, at most; small datasets take fewer.
    """
    num_processes = min(num_processes, 1 + len(plan.episodes) // EPISODES_A_PROCESS)
    missing = [episode.index for episode in plan.episodes if episode not in ledger]
    assert not missing, f"commit without episodes {missing}"
    meta = scratch / META
    meta.mkdir()
    with ledger.files.at_hand(record.files[0] for record in ledger.records()):
        found = _meta_files(plan, ledger, out, scratch, num_processes)
    for name, lines in found.items():
        _write(meta / name, lines)
    write_episode_lines(ledger, plan, scratch, num_processes=num_processes)
    config = modality_config(plan.map, plan.cameras, plan.horizon)
    warnings = tuple(public_warnings(sum_warnings(ledger.entries(), plan), plan))
    head, preview = manifest_head(plan, ledger, warnings), _make_preview(plan, ledger)
    card = dataset_card(plan, warnings, _card_facts(head, ledger, has_preview=preview is not None))
    beside = {CARD: card.encode(), MODALITY_CONFIG: modality_config_source(config).encode()}
    beside |= {} if preview is None else {PREVIEW: preview}
    for name, content in beside.items():
        _write_bytes(scratch / name, [content])
    written = {name: scratch / name for name in beside}
    written |= {f"{META}/{path.name}": path for path in sorted(meta.iterdir())}
    _write(scratch / MANIFEST, make_manifest(head, read_lineage_lines(scratch), written))
    for name in (*beside, MANIFEST):
        (scratch / name).replace(out / name)
    ledger.sync()
    for folder in (*out.glob("data/chunk-*"), *out.glob("videos/chunk-*/*"), meta, out):
        sync_folder(folder)
    # GR00T and LeRobot read meta/ first, so it appears last.
    meta.rename(out / META)
    sync_folder(out)
    ledger.files.publish((file for record in ledger.records() for file in record.files), (*beside, MANIFEST))


def _make_preview(plan: ConversionPlan, ledger: Ledger) -> bytes | None:
    shown = [ledger.record(number) for number in shown_episodes(plan)]
    with ledger.files.at_hand(clip for record in shown for clip in record.files[1:]):
        return make_preview(plan, ledger.out)


def statistics_bytes(plan: ConversionPlan) -> int:
    """Bytes that `commit` needs in its scratch folder while it runs."""
    num_columns = plan.target.layout("state").width + plan.target.layout("action").width + 1
    num_columns += sum(column.num_values for column in plan.job.carried if column.is_float)
    num_columns += plan.horizon * sum(group.num_joints for group in _relative_groups(plan).values())
    return tails_bytes(len(plan.episodes), plan.num_frames, num_columns)


def _meta_files(
    plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path, num_processes: int
) -> dict[str, Iterable[str]]:
    info = _info(plan)
    stats, relative_stats = _statistics(plan, ledger, out, scratch, num_processes)
    tasks = ({"task_index": index, "task": task} for index, task in enumerate(plan.tasks))
    return {
        "info.json": [_pretty(info)],
        "modality.json": [_pretty(modality_json(plan.target, plan.cameras))],
        "stats.json": [_pretty({**stats, FINGERPRINTS: feature_fingerprints(info["features"])})],
        "relative_stats.json": [json.dumps(relative_stats, indent=4)],  # as GR00T writes it again in every run
        "tasks.jsonl": _lines(tasks),
        **_subtasks(plan),
    }


def _subtasks(plan: ConversionPlan) -> dict[str, Iterable[str]]:
    """The list of subtasks, where there is one; GR00T and LeRobot read none in this layout."""
    lines = [{"subtask_index": index, "subtask": text} for index, text in enumerate(plan.job.subtasks)]
    return {Path(SUBTASKS).name: _lines(lines)} if lines else {}


def _statistics(
    plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path, num_processes: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    with _translate_read_errors():
        found, relative_found = compute_statistics(
            _RowFiles(out, plan.job.chunks_size, len(plan.episodes)),
            (*FLOAT_FEATURES, *(column.name for column in plan.job.carried if column.is_float)),
            _relative_groups(plan),
            horizon=plan.horizon,
            digests=[entry.row_digest for entry in ledger.entries()],
            scratch=scratch,
            num_processes=num_processes,
        )
    return (
        {name: statistics.to_json() for name, statistics in found.items()},
        {name: statistics.to_json() for name, statistics in relative_found.items()},
    )


def _relative_groups(plan: ConversionPlan) -> dict[str, RelativeGroup]:
    config = modality_config(plan.map, plan.cameras, plan.horizon)
    state, action = plan.target.layout("state").slices, plan.target.layout("action").slices
    return {
        key: RelativeGroup(state[key], action[key])
        for key, rep in zip(config.action_keys, config.action_reps, strict=True)
        if rep == "relative"
    }


@dataclass(frozen=True)
class _RowFiles(Sequence[Path]):
    """The paths of all episodes' rows, made as they are asked for."""

    out: Path
    chunks_size: int
    num_episodes: int

    def __len__(self) -> int:
        return self.num_episodes

    def __getitem__(self, index: Any) -> Any:
        """One of them; only by number."""
        if not 0 <= index < self.num_episodes:
            raise IndexError(index)
        return self.out / EpisodePaths(index, self.chunks_size).data


@contextmanager
def _translate_read_errors() -> Iterator[None]:
    """Rows of the output that the system cannot read are no fault of an episode's data.

    Raises:
        OutputFailed: in place of such a RowsError.
    """
    try:
        yield
    except RowsError as error:
        if error.code is not FaultCode.UNREADABLE:
            raise
        raise OutputFailed(
            error, "; ", Remedy("once it can, the same command goes on where this one stopped")
        ) from error


def _info(plan: ConversionPlan) -> dict[str, Any]:
    num_episodes = len(plan.episodes)
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": plan.target.name,
        "total_episodes": num_episodes,
        "total_frames": plan.num_frames,
        "total_tasks": len(plan.tasks),
        "total_videos": num_episodes * len(plan.cameras),
        "total_chunks": -(-num_episodes // plan.job.chunks_size),
        "chunks_size": plan.job.chunks_size,
        "fps": _number(plan.job.video.fps),
        "splits": {"train": f"0:{num_episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if plan.cameras else None,
        "features": _features(plan),
        **({"tools": [json.loads(tool) for tool in plan.job.tools]} if plan.job.tools else {}),
    }


def _features(plan: ConversionPlan) -> dict[str, Any]:
    vectors = {STATE: plan.target.layout("state").joints, ACTION: plan.target.layout("action").joints}
    scalars = {
        "timestamp": "float32",
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64"),
    }
    return {
        **{camera_key(camera): _camera_feature(plan, camera) for camera in plan.cameras},
        **{
            name: {"dtype": "float32", "shape": [len(joints)], "names": list(joints)}
            for name, joints in vectors.items()
        },
        **{name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in scalars.items()},
        **{column.name: column.feature for column in plan.job.carried},
    }


def _camera_feature(plan: ConversionPlan, camera: str) -> dict[str, Any]:
    size = plan.job.sizes[camera]
    return {
        "dtype": "video",
        "shape": [size.height, size.width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": size.height,
            "video.width": size.width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": _number(plan.job.video.fps),
            "video.channels": 3,
            "has_audio": False,
        },
    }


def _card_facts(head: Mapping[str, Any], ledger: Ledger, *, has_preview: bool) -> CardFacts:
    return CardFacts(
        head,
        num_row_bytes=sum(entry.num_row_bytes for entry in ledger.entries()),
        num_video_bytes=sum(entry.num_video_bytes for entry in ledger.entries()),
        has_preview=has_preview,
    )


def _number(fps: Any) -> int | float:
    return int(fps) if fps.denominator == 1 else float(fps)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _lines(values: Iterable[object]) -> Iterator[str]:
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)


def _write(path: Path, parts: Iterable[str]) -> None:
    _write_bytes(path, (part.encode() for part in parts))


def _write_bytes(path: Path, parts: Iterable[bytes]) -> None:
    with name_file_in_errors(path), path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
