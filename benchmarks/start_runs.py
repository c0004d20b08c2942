"""What a start of training costs, each part in a process of its own: index, loader processes, preflight."""

import contextlib
import gc
import json
import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing import forkserver
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

from benchmarks.groot_processors import make_processor
from benchmarks.input_runs import LoaderName, quietly
from benchmarks.measure import cpu_seconds, process_cpu_seconds
from millrace.engine.validate import validate
from millrace.train.preflight import keep_full_checks, preflight
from millrace.train.preflight.data import fingerprint_data
from millrace.train.preflight.full_check import FullCheck
from millrace.train.preflight.trained_robot import read_trained_config
from millrace.train.settings import FinetuneSettings

NUM_LOADERS = 2  # N1.6's default
# What GR00T's datasets and processor, as a loader process receives them, import.
LOADER_IMPORTS = (
    "gr00t.data.dataset.sharded_mixture_dataset",
    "gr00t.model.gr00t_n1d6.processing_gr00t_n1d6",
    "millrace.train.groot.n1d6.collator",
    "millrace.train.groot.loader",
    "millrace.train.groot.n1d6.processor",
)
LOADER = """
import importlib, json, time
begun = time.perf_counter()
for name in {names}:
    importlib.import_module(name)
lines = open("/proc/self/smaps_rollup").read().splitlines()
private = sum(int(line.split()[1]) for line in lines if line.startswith("Private"))
json.dump([time.perf_counter() - begun, private / 1024], open({path!r}, "w"))
"""


@dataclass(frozen=True)
class IndexCost:
    """CPU seconds and resident MB of the datasets and their mixture in a rank, and of one loader process's copy.

    handed_mb: what is sent to each loader process; hand_cpu: to make it.
    """

    rank_cpu: float
    rank_mb: float
    hand_cpu: float
    handed_mb: float
    loader_cpu: float
    loader_mb: float

    @property
    def cpu(self) -> float:
        """Rank and one loader process."""
        return self.rank_cpu + self.hand_cpu + self.loader_cpu

    @property
    def mb(self) -> float:
        """Rank and one loader process."""
        return self.rank_mb + self.loader_mb


@dataclass(frozen=True)
class LoadersCost:
    """Of a rank's loader processes before they get any data: CPU s of all, wall s and private MB of the last."""

    cpu: float
    wall: float
    private_mb: float


@dataclass(frozen=True)
class CheckCost:
    """CPU seconds of all processes, and seconds on the wall."""

    cpu: float
    wall: float


def settings_of(dataset: Path, base: Path) -> FinetuneSettings:
    """A run on that dataset."""
    return FinetuneSettings(datasets=(dataset,), base_model_path=str(base), output_dir=dataset.parent / "run")


def build_index(loader: LoaderName, dataset: Path, base: Path, handed: Path) -> tuple[float, float, float]:
    """CPU s and MB of a rank's index, and CPU s to make what is sent to a loader process, which is left in a file."""
    with quietly():
        make = _prepare(loader, settings_of(dataset, base))
        before = _rss_mb()
        begun = process_time()
        mixture = make()
        built = process_time() - begun
        gc.collect()
        rank_mb = _rss_mb() - before
        begun = process_time()
        content = ForkingPickler.dumps(mixture)
        hand_cpu = process_time() - begun
    handed.write_bytes(content)
    return built, rank_mb, hand_cpu


def _prepare(loader: LoaderName, settings: FinetuneSettings) -> Any:
    """Import everything and make a processor; returns a function that makes the mixture."""
    from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
    from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
    from gr00t.data.embodiment_tags import EmbodimentTag

    from millrace.train.groot.loader import SparseShardedDataset
    from millrace.train.groot.modality_configs import register_run_config

    config = dict(register_run_config(settings))
    kind = SparseShardedDataset if loader == "millrace" else ShardedSingleStepDataset
    processor = make_processor({settings.tag: config})
    gc.collect()

    def make() -> Any:
        shards = kind(settings.datasets[0], EmbodimentTag(settings.tag), config)
        epoch = settings.num_shards_per_epoch
        return ShardedMixtureDataset([shards], [1.0], processor, num_shards_per_epoch=epoch)

    return make


def receive_index(handed: Path) -> tuple[float, float]:
    """CPU s and MB of what a loader process makes of what it is sent."""
    from transformers.dynamic_module_utils import init_hf_modules

    with quietly():
        init_hf_modules()  # where a processor's own code lies, which multiprocessing tells its processes with sys.path
        for name in LOADER_IMPORTS:
            __import__(name)
        content = handed.read_bytes()
        gc.collect()
        before, begun = _rss_mb(), process_time()
        mixture = pickle.loads(content)
        cpu = process_time() - begun
        gc.collect()
        grown = _rss_mb() - before
    assert mixture.datasets
    return cpu, grown


def start_loaders(start: Literal["gr00t", "millrace"], folder: Path) -> LoadersCost:
    """Loader processes by forkserver, one after another as torch starts them, with and without imports beforehand."""
    if start == "millrace":
        from millrace.train.groot.loader_processes import IMPORTS

        multiprocessing.set_forkserver_preload([IMPORTS])
    context = multiprocessing.get_context("forkserver")
    with _stdout_to_stderr():
        for number in range(NUM_LOADERS):
            code = LOADER.format(names=LOADER_IMPORTS, path=str(folder / f"{number}.json"))
            process = context.Process(target=exec, args=(code,))
            process.start()
            process.join()
    wall, private_mb = json.loads((folder / f"{NUM_LOADERS - 1}.json").read_text())
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    return LoadersCost(process_cpu_seconds(server._forkserver_pid), wall, private_mb)


def check_all(dataset: Path, num_processes: int) -> CheckCost:
    """The full check, for each episode."""
    cpu, wall = cpu_seconds(), perf_counter()
    report = validate(dataset, num_processes=num_processes)
    wall = perf_counter() - wall
    assert report.is_valid, report.problems
    return CheckCost((cpu_seconds() - cpu) / report.num_episodes, wall / report.num_episodes)


def keep_check(dataset: Path, base: Path) -> None:
    """Keep a full check of the dataset as it is, which was not made: it would find that the files are simulated."""
    settings = settings_of(dataset, base)
    config, _ = read_trained_config(settings)
    found = fingerprint_data(dataset, config, video_backend=None, on_progress=lambda stage, num_done, num_all: None)
    now = datetime.now(timezone.utc)
    check = FullCheck(fingerprint=found.digest, when=now, num_files=found.num_files, problems=())
    keep_full_checks(settings.run_folder, {str(dataset): check})


def check_unchanged(dataset: Path, base: Path) -> CheckCost:
    """All of preflight, where the run has a full check of the dataset as it is."""
    cpu, wall = cpu_seconds(), perf_counter()
    checked = preflight(settings_of(dataset, base))
    wall = perf_counter() - wall
    assert "data-unchanged" in {problem.code for problem in checked.problems}, checked.problems
    return CheckCost(cpu_seconds() - cpu, wall)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Of child processes too; stdout is for the tables."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def _rss_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
