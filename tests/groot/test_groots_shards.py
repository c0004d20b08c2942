"""Our sharded dataset has GR00T's shards, entry for entry, and what a loader process receives of it is small."""

import json
import multiprocessing
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ModalityConfig

from millrace.train.groot.adapter import installed_adapter
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.groot.loader_processes import IMPORTS, prepare_loader_processes
from support.training_setups import settings_of

pytest_plugins = ["support.training_fixtures"]
HORIZON = 16
# Run by a loader process: what it has imported, itself, and all processes that its server has started.
REPORT = """
import json, os, sys
server = os.getppid()
children = open(f"/proc/{{server}}/task/{{server}}/children").read().split()
json.dump([sorted(sys.modules), os.getpid(), children], open({!r}, "w"))
"""


def write_episodes(whole: Path, folder: Path, lengths: list[int]) -> Path:
    """The metadata of a dataset with episodes of these lengths, and no rows."""
    shutil.copytree(whole / "meta", folder / "meta", dirs_exist_ok=True)
    (task,) = [json.loads(line)["task"] for line in (whole / "meta/tasks.jsonl").read_text().splitlines()]
    lines = [{"episode_index": index, "length": length, "tasks": [task]} for index, length in enumerate(lengths)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def both(folder: Path, **sharding: Any) -> tuple[Any, Any]:
    """GR00T's sharded dataset and ours."""
    config = {"action": ModalityConfig(delta_indices=list(range(HORIZON)), modality_keys=["left_arm"])}
    kinds = (ShardedSingleStepDataset, SparseShardedDataset)
    stock, ours = (kind(folder, EmbodimentTag.NEW_EMBODIMENT, config, **sharding) for kind in kinds)
    return stock, ours


@given(
    lengths=st.lists(st.integers(HORIZON - 2, 200), min_size=1, max_size=20),
    size=st.integers(1, 300),
    rate=st.sampled_from((0.03, 0.1, 0.3, 0.5, 1.0)),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shards_parts_and_steps_are_groots(
    lengths: list[int], size: int, rate: float, seed: int, whole: Path, tmp_path: Path
) -> None:
    folder = write_episodes(whole, tmp_path, lengths)
    try:
        stock, ours = both(folder, shard_size=size, episode_sampling_rate=rate, seed=seed)
    except (AssertionError, ValueError):  # GR00T's, where shards stay empty
        return
    assert (len(stock), stock.shard_lengths.tolist()) == (len(ours), ours.shard_lengths.tolist())
    assert [stock.get_shard_length(number) for number in range(len(stock))] == ours.shard_lengths.tolist()
    for expected, found in zip(stock.sharded_episodes, ours.sharded_episodes, strict=True):
        assert [(episode, steps.tolist()) for episode, steps in expected] == [
            (episode, steps.tolist()) for episode, steps in found
        ]
    assert stock.rng.bit_generator.state == ours.rng.bit_generator.state
    assert stock.episode_loader.episodes_metadata == list(ours.episode_loader.episodes_metadata)
    assert stock.episode_loader.episode_lengths == ours.episode_loader.episode_lengths.tolist()


def test_a_loader_process_receives_a_tenth_of_what_groots_costs(whole: Path, tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(100, 400, 2000).tolist()
    stock, ours = both(write_episodes(whole, tmp_path, lengths))
    assert len(pickle.dumps(ours)) * 10 < len(pickle.dumps(stock))
    copied = pickle.loads(pickle.dumps(ours))
    for expected, found in zip(stock.sharded_episodes, copied.sharded_episodes, strict=True):
        assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(expected, found, strict=True))


def test_loader_processes_begin_with_what_their_server_has_imported(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the current folder that is named like a library is not imported in its place."""
    (tmp_path / "tokenizers.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "colorsys.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    multiprocessing.forkserver._forkserver._stop()  # another test's server has imported nothing
    prepare_loader_processes(settings_of(whole, tmp_path, dataloader_num_workers=1))
    try:
        child = multiprocessing.get_context("forkserver").Process(
            target=exec, args=(REPORT.format(str(tmp_path / "report.json")),)
        )
        child.start()
        child.join(120)
    finally:
        multiprocessing.forkserver._forkserver._stop()
    imported, process, children = json.loads((tmp_path / "report.json").read_text())
    ours = {IMPORTS, "millrace.train.groot.loader", *installed_adapter().loader_modules}
    assert {"torch", "transformers", "gr00t.data.dataset.sharded_mixture_dataset", *ours} <= set(imported)
    assert children == [str(process)], "the server has started no compilers"
