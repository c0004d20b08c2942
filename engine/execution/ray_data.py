"""Convert episodes through Ray Data: a row is a batch of episodes for one worker, a worker is an actor on one core.

A row costs the driver a millisecond and some kilobytes: with one row for each of 100,000 episodes the first of them
would start after two minutes. So a row holds many episodes at first; their results still arrive one by one.
"""

import importlib
import logging
import pickle
import time
import zlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from pydantic import ValidationError
from ray.exceptions import RayActorError

from millrace.engine.dataset import EpisodeResult
from millrace.engine.dataset.record import RESULT
from millrace.engine.errors import NodesDiffer
from millrace.engine.execution.cluster import INSTALL_SECONDS, NODE_SECONDS, check_nodes
from millrace.engine.execution.episode_worker import EpisodeWorker, schedule_key, worker_memory_bytes
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.node import Shared
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.execution.shipping import Ship
from millrace.engine.planning import EpisodePlan, Job

# Batched at once: 100,000 take the driver 8 s, and what a slow worker was given is soon done.
MAX_BATCH_EPISODES = 32
# Until Ray notices that a node has left, and places no worker there any more.
LEAVING_SECONDS = (5.0, 10.0, 20.0)
# Before an error in a result's place; JSON begins otherwise.
DIFFERS = b"NodesDiffer "
# Of ray.data, while it runs for us.
SETTINGS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "target_max_block_size": 1,  # bytes: each result is handed on by itself
    "_max_num_blocks_in_streaming_gen_buffer": MAX_BATCH_EPISODES,  # else copying waits for the driver
    "memory_usage_poll_interval_s": None,  # 5 to 10 ms each time, for a figure that nobody reads
}


@dataclass(frozen=True)
class RayDataExecutor:
    """Converts on an embedded Ray or a cluster.

    num_workers: actors, a core each; None: one for each core, also of nodes that join later. address: of a running Ray
    cluster, whose nodes see the output folder at the same path; None: an embedded Ray. ship: what nodes are sent.
    """

    num_workers: int | None = None
    address: str | None = None
    ship: Ship | None = None

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
        """Yield each result as it comes.

        Raises:
            ClusterFailed: Ray does not start, or stops.
            NodesDiffer: nodes of the cluster lack the source, the output folder or our libraries.
        """
        with ray_data_session(self.num_workers, self.address, self.ship) as data:
            shared = None
            if self.address is not None:
                seconds = INSTALL_SECONDS if self.ship == "libraries" else NODE_SECONDS
                shared = check_nodes(plans, folders.scratch, timeout_seconds=seconds)
            left = {plan.index: plan for plan in plans}
            for wait in (*LEAVING_SECONDS, None):
                try:
                    for result in self._stream(data, list(left.values()), job, folders, shared):
                        del left[result.index]
                        yield result
                    return
                except RayActorError:  # Ray Data gives up for an actor whose node left before it began
                    if not left:
                        return
                    if wait is None:
                        raise
                    time.sleep(wait)

    def _stream(
        self, data: ModuleType, plans: Sequence[EpisodePlan], job: Job, folders: Folders, shared: Shared | None
    ) -> Iterator[EpisodeResult]:
        num_workers = min(len(plans), self.num_workers or int(ray.cluster_resources().get("CPU", 1)))
        rows = batch_rows(data, plans, num_workers)
        may_grow = self.address is not None and self.num_workers is None
        results = rows.flat_map(
            BatchWorker,
            fn_constructor_args=(job, folders, shared),
            compute=data.ActorPoolStrategy(
                min_size=num_workers,
                max_size=len(plans) if may_grow else num_workers,
                max_tasks_in_flight_per_actor=2,
            ),
            num_cpus=1,
            memory=worker_memory_bytes(job),
        )
        yield from map(read_result, iter_results(results))

    def __str__(self) -> str:
        where = "Ray Data" if self.address is None else f"Ray Data at {self.address}"
        return where if self.num_workers is None else f"{where}, {self.num_workers} workers"


class BatchWorker:
    """A Ray actor that converts batches of episodes on one core."""

    def __init__(self, job: Job, folders: Folders, shared: Shared | None = None) -> None:
        self.scratch = folders.scratch
        self.worker = EpisodeWorker(job, folders.out, folders.scratch, shared)

    def __call__(self, row: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
        """{"plans": packed EpisodePlans} -> {"result": EpisodeResult as JSON} of each, as soon as it is done.

        When a worker crashes, Ray runs the row again: episodes of it that are done are not converted again.
        """
        try:
            self.worker.check_node()
        except NodesDiffer as error:  # Ray Data would drop what it says
            yield {"result": DIFFERS + pickle.dumps(error)}
            return
        plans: list[EpisodePlan] = pickle.loads(zlib.decompress(row["plans"]))
        kept = self.scratch / f"{plans[0].index}.results"
        done = _read_results(kept)
        for plan in plans:
            result = done.get((plan.index, plan.digest))
            if result is None:
                result = RESULT.dump_json(self.worker.convert(plan))
                with suppress(OSError), kept.open("ab") as file:  # the result reports a full disk
                    file.write(b"\n" + result + b"\n")  # what was cut off stays on a line of its own
            yield {"result": result}
        kept.unlink(missing_ok=True)  # another may have ended it, where this worker was given up for lost


def read_result(row: bytes) -> EpisodeResult:
    """What `BatchWorker` yields.

    Raises:
        NodesDiffer: its node joined during the run, and is no place for this run's episodes.
    """
    if row.startswith(DIFFERS):
        error: NodesDiffer = pickle.loads(row.removeprefix(DIFFERS))
        raise error
    return RESULT.validate_json(row)


def _read_results(path: Path) -> dict[tuple[int, str], bytes]:
    """Results as JSON by their episode's number and plan; a line that was cut off is none."""
    found = {}
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with suppress(ValidationError):
            result = RESULT.validate_json(line)
            found[result.index, result.plan] = line
    return found


def batch_rows(data: ModuleType, plans: Sequence[EpisodePlan], num_workers: int) -> Any:
    """A ray.data dataset with the column "plans", the longest episodes first; each row is a block of its own."""
    rows = [
        {"plans": zlib.compress(pickle.dumps(batch), level=1)}
        for batch in batch_plans(sorted(plans, key=schedule_key), num_workers)
    ]
    return data.from_items(rows, override_num_blocks=len(rows))


def pack_plans(plans: Sequence[EpisodePlan]) -> bytes:
    """Plans as bytes; they are much alike, and those of a million episodes lie in memory together."""
    return zlib.compress(pickle.dumps(plans), level=1)


def batch_plans(plans: Sequence[EpisodePlan], num_workers: int) -> list[list[EpisodePlan]]:
    """Cut plans into batches that grow smaller, so that workers end together (guided self-scheduling)."""
    batches: list[list[EpisodePlan]] = []
    left, room = sum(plan.episode.num_frames for plan in plans), 0.0
    for plan in plans:
        num_frames = plan.episode.num_frames
        if not batches or num_frames > room or len(batches[-1]) == MAX_BATCH_EPISODES:
            batches.append([])
            room = left / (4 * num_workers)
        batches[-1].append(plan)
        room -= num_frames
        left -= num_frames
    return batches


def iter_results(dataset: Any) -> Iterator[bytes]:
    """The column "result", each row as soon as it is there; iter_rows() keeps one back until the next has come."""
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from table["result"].to_pylist()


@contextmanager
def ray_data_session(num_workers: int | None, address: str | None, ship: Ship | None = None) -> Iterator[ModuleType]:
    """ray.data, configured for `batch_rows` and `iter_results`, in a `ray_session`."""
    with ExitStack() as stack:
        # Ray's processes take seconds to start, and ray.data as long to import: do both at once.
        with ThreadPoolExecutor(1) as pool:
            importing = pool.submit(importlib.import_module, "ray.data")
            stack.enter_context(ray_session(num_workers, address, ship=ship))
        data: ModuleType = importing.result()
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised, or recorded
        stack.enter_context(_configured(data))
        yield data


@contextmanager
def _configured(data: ModuleType) -> Iterator[None]:
    """Set ray.data's configuration, and restore it afterwards."""
    context = data.DataContext.get_current()
    before = {name: getattr(context, name, None) for name in SETTINGS}
    try:
        for name, value in SETTINGS.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
