"""Plans to results through Ray Data: one row is what a worker is given at once, one actor is one core.

A row costs the driver a millisecond and some kilobytes: with one row for each of 100,000 episodes the first of them
would start after two minutes. So a row holds many episodes at first; their results still arrive one by one.
"""

import importlib
import logging
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from pydantic import ValidationError
from ray.exceptions import RayActorError

from millrace.engine.dataset.record import RESULT, EpisodeFailure, EpisodeResult
from millrace.engine.dataset.writing import writing_to
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import FaultCode, OutputFailed
from millrace.engine.execution.cluster import check_nodes
from millrace.engine.execution.crashes import MAX_DEATHS, attempt
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.planning.plan import EpisodePlan, Job
from millrace.engine.sources.row_reader import RowReader

# A worker streams frames: its peak does not grow with the episode (benchmarks/ measures it).
WORKER_MEMORY_BYTES = 400 << 20
# With torch and its batches.
AREA_MEMORY_BYTES = WORKER_MEMORY_BYTES + (600 << 20)
# Handed out at once: 100,000 take the driver 8 s, and what a slow worker was given is soon done.
MAX_PART_EPISODES = 32
# Of what a process holds already, or of its hold on a card: a new one may fare better.
OF_PROCESS = (FaultCode.MEMORY, FaultCode.GPU)
# Until Ray notices that a node has left, and places no worker there any more.
LEAVING_SECONDS = (5.0, 10.0, 20.0)
# Of ray.data, while it runs for us.
SETTINGS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "target_max_block_size": 1,  # bytes: each result is handed on by itself
    "_max_num_blocks_in_streaming_gen_buffer": MAX_PART_EPISODES,  # else copying waits for the driver
    "memory_usage_poll_interval_s": None,  # 5 to 10 ms each time, for a figure that nobody reads
}


class EpisodeWorker:
    """A Ray actor that converts one episode after the other, on one core."""

    def __init__(self, job: Job, out: Path, scratch: Path) -> None:
        self.job, self.out, self.scratch = job, out, scratch
        self.reader = RowReader()

    def __call__(self, row: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
        """{"plans": pickled EpisodePlans} -> {"result": EpisodeResult as JSON} of each, as soon as it is done.

        When a worker crashes, Ray runs the row again: episodes of it that are done are not converted again.
        """
        plans: list[EpisodePlan] = pickle.loads(row["plans"])
        kept = self.scratch / f"{plans[0].index}.results"
        done = _kept_results(kept)
        for plan in plans:
            result = done.get((plan.index, plan.digest))
            if result is None:
                result = RESULT.dump_json(self.convert(plan))
                with suppress(OSError), kept.open("ab") as file:  # the result reports a full disk
                    file.write(b"\n" + result + b"\n")  # what was cut off stays on a line of its own
            yield {"result": result}
        kept.unlink(missing_ok=True)  # another may have ended it, where this worker was given up for lost

    def convert(self, plan: EpisodePlan) -> EpisodeResult:
        """Ray has a new worker try again as often as one dies of an episode; here that ends."""
        try:
            with writing_to(self.out), attempt(plan.index, self.scratch) as num_deaths:
                return self._attempt(plan, num_deaths)
        except OutputFailed as error:
            return _failure(plan, FaultCode.OUTPUT, str(error))

    def _attempt(self, plan: EpisodePlan, num_deaths: int) -> EpisodeResult:
        if num_deaths == MAX_DEATHS:
            reason = f"{MAX_DEATHS} workers died over it: a codec crashed, or memory ran out"
            return _failure(plan, FaultCode.WORKER_DIED, reason)
        result = convert_episode(plan, self.job, self.out, self.scratch, reader=self.reader)
        is_of_process = isinstance(result, EpisodeFailure) and result.code in OF_PROCESS
        if is_of_process and num_deaths + 1 < MAX_DEATHS:
            os._exit(1)
        return result


def _kept_results(path: Path) -> dict[tuple[int, str], bytes]:
    """Results as JSON by their episode's number and plan; a line that was cut off is none."""
    found = {}
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with suppress(ValidationError):
            result = RESULT.validate_json(line)
            found[result.index, result.plan] = line
    return found


def _failure(plan: EpisodePlan, code: FaultCode, reason: str) -> EpisodeFailure:
    """The failure of an episode that no worker could finish."""
    return EpisodeFailure(
        index=plan.index,
        plan=plan.digest,
        binding=plan.binding,
        source_episode=plan.episode.index,
        camera=None,
        code=code,
        reason=reason,
    )


def convert_in_parallel(
    plans: Sequence[EpisodePlan],
    job: Job,
    out: Path,
    scratch: Path,
    *,
    num_workers: int | None,
    address: str | None,
) -> Iterator[EpisodeResult]:
    """Yield each episode's result as it is done, in any order.

    Args:
        plans: The episodes to convert.
        job: What they share.
        out: The dataset's folder, which every node sees at this path.
        scratch: For unfinished files, on the file system of `out`.
        num_workers: Actors, a core each; None: one for each core of the machine or cluster.
        address: A running Ray cluster; None: an embedded Ray.
    """
    with connected(num_workers, address) as data:
        if address is not None:
            check_nodes(plans, scratch)
        left = {plan.index: plan for plan in plans}
        for wait in (*LEAVING_SECONDS, None):
            try:
                for result in _streamed(data, list(left.values()), job, (out, scratch), num_workers):
                    del left[result.index]
                    yield result
                return
            except RayActorError:  # Ray Data gives up for an actor whose node left before it began
                if not left:
                    return
                if wait is None:
                    raise
                time.sleep(wait)


def _streamed(
    data: ModuleType, plans: Sequence[EpisodePlan], job: Job, folders: tuple[Path, Path], num_workers: int | None
) -> Iterator[EpisodeResult]:
    num_workers = min(len(plans), num_workers or int(ray.cluster_resources().get("CPU", 1)))
    results = rows(data, plans, num_workers).flat_map(
        EpisodeWorker,
        fn_constructor_args=(job, *folders),
        compute=data.ActorPoolStrategy(size=num_workers, max_tasks_in_flight_per_actor=2),
        num_cpus=1,
        memory=memory_bytes(job),
    )
    yield from map(RESULT.validate_json, finished(results))


def rows(data: ModuleType, plans: Sequence[EpisodePlan], num_workers: int) -> Any:
    """A dataset of ray.data's with the column "plans", the longest episodes first; each row is a block of its own."""
    given = [{"plans": pickle.dumps(part)} for part in in_parts(sorted(plans, key=turn), num_workers)]
    return data.from_items(given, override_num_blocks=len(given))


def in_parts(plans: Sequence[EpisodePlan], num_workers: int) -> list[list[EpisodePlan]]:
    """What workers are given, one after the other: ever less, so that they end together (guided self-scheduling)."""
    parts: list[list[EpisodePlan]] = []
    left, room = sum(plan.episode.num_frames for plan in plans), 0.0
    for plan in plans:
        num_frames = plan.episode.num_frames
        if not parts or num_frames > room or len(parts[-1]) == MAX_PART_EPISODES:
            parts.append([])
            room = left / (4 * num_workers)
        parts[-1].append(plan)
        room -= num_frames
        left -= num_frames
    return parts


def memory_bytes(job: Job) -> int:
    """The memory of a CPU worker."""
    return AREA_MEMORY_BYTES if job.video.backends.resize == "area" else WORKER_MEMORY_BYTES


def finished(dataset: Any) -> Iterator[bytes]:
    """The column "result", each row as soon as it is there; iter_rows() keeps one back until the next has come."""
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from table["result"].to_pylist()


def turn(plan: EpisodePlan) -> int:
    """Sort key: the longest first; episodes that share files in their order, as a worker caches what it read."""
    return -plan.episode.num_frames if plan.episode.search is None else plan.index


@contextmanager
def connected(num_workers: int | None, address: str | None) -> Iterator[ModuleType]:
    """ray.data, configured for `rows` and `finished`, in a `ray_session`."""
    with ExitStack() as stack:
        # Ray's processes take seconds to start, and ray.data as long to import: do both at once.
        with ThreadPoolExecutor(1) as pool:
            importing = pool.submit(importlib.import_module, "ray.data")
            stack.enter_context(ray_session(num_workers, address))
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
