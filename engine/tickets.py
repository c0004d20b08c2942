"""Episodes on workers of two kinds at once: those that share the GPUs, and those that have a core and nothing else.

An operator of Ray Data has workers of one kind, so each kind has a pipeline of its own. Tickets flow through them, and
a desk says which episode a ticket stands for, first come, first served. A ticket that Ray hands out anew, as its worker
died, stands for the same episode as before.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import ModuleType
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.errors import OutputFailed
from engine.output.record import RESULT, EpisodeResult
from engine.planning.plan import EpisodePlan, Job
from engine.stream import AREA_MEMORY_BYTES, EpisodeWorker, connected, finished, turn
from engine.video.stages import NVENC
from engine.workers import Workers

# With torch beside a GPU.
GPU_MEMORY_BYTES = 3 << 30

# A pipeline notices at its next ticket that all is done; one that waits for a worker is left to end with Ray.
END_SECONDS = 30.0


@dataclass(frozen=True)
class Pools:
    """How many workers there are of each kind."""

    num_gpu: int
    num_cpu: int


def pools(total: Mapping[str, float], workers: Workers, *, num_plans: int, needs_gpu: bool) -> Pools:
    """Workers by kind: a core each, and a GPU's share for as many as there are shares, and memory for all.

    Args:
        total: What Ray has: "CPU", "GPU", "memory" in bytes.
        workers: As many as are wanted, and the share.
        num_plans: Episodes; no worker is without one.
        needs_gpu: Whether a core alone cannot do the work.
    """
    num_workers = min(num_plans, workers.num or int(total.get("CPU", 1)))
    num_bytes = total.get("memory", float("inf"))
    num_shares = int(total.get("GPU", 0)) * int(1 / workers.gpu_share + 1e-9)
    num_gpu = int(min(num_workers, num_shares, num_bytes // GPU_MEMORY_BYTES))
    if needs_gpu:
        return Pools(num_gpu, 0)
    num_cpu = int(min(num_workers - num_gpu, (num_bytes - num_gpu * GPU_MEMORY_BYTES) // AREA_MEMORY_BYTES))
    return Pools(num_gpu, num_cpu if num_gpu else max(1, num_cpu))


class Desk:
    """A Ray actor that knows every ticket's episode."""

    def __init__(self, plans: Sequence[EpisodePlan]) -> None:
        self._waiting = deque(plans)
        self._given: dict[tuple[str, int], EpisodePlan | None] = {}

    def plan(self, kind: str, ticket: int) -> EpisodePlan | None:
        """The ticket's episode; None: all were given to others."""
        key = kind, ticket
        if key not in self._given:
            self._given[key] = self._waiting.popleft() if self._waiting else None
        return self._given[key]


class TicketWorker(EpisodeWorker):
    """A Ray actor that converts the episodes of its tickets."""

    def __init__(self, job: Job, out: Path, scratch: Path, desk: Any) -> None:
        super().__init__(job, out, scratch)
        self.desk = desk

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """{"kind", "ticket"} -> {"result": EpisodeResult as JSON, or nothing where there was no episode left}."""
        plan = ray.get(self.desk.plan.remote(row["kind"], int(row["ticket"])))
        return {"result": b"" if plan is None else RESULT.dump_json(self.convert(plan))}


def convert_with_gpus(
    plans: Sequence[EpisodePlan], job: Job, out: Path, scratch: Path, *, workers: Workers
) -> Iterator[EpisodeResult]:
    """Yield each episode's result as it is done, in any order; see `convert_in_parallel`.

    Raises:
        OutputFailed: the dataset wants NVENC, and there is no GPU that a worker could have.
    """
    with connected(workers.num, workers.address) as data:
        needs_gpu = job.video.stages.encoder == NVENC
        sizes = pools(ray.cluster_resources(), workers, num_plans=len(plans), needs_gpu=needs_gpu)
        if sizes == Pools(0, 0):
            raise OutputFailed(
                "Ray has no GPU, or no memory beside it, for a worker: this dataset was begun with NVENC"
            )
        yield from _Pipelines(data, plans, job, (out, scratch), workers.gpu_share).run(sizes)


class _Pipelines:
    """One for each kind of worker, each driven by a thread."""

    def __init__(
        self, data: ModuleType, plans: Sequence[EpisodePlan], job: Job, folders: tuple[Path, Path], gpu_share: float
    ) -> None:
        self.data, self.job, self.folders, self.gpu_share = data, job, folders, gpu_share
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here)
        self.desk = desk.remote(sorted(plans, key=turn))
        self.num_plans = len(plans)
        self.results: Queue[EpisodeResult | BaseException] = Queue()
        self.is_done = Event()

    def run(self, sizes: Pools) -> Iterator[EpisodeResult]:
        """Raises what a pipeline fails with; what it did not do, a rerun will."""
        gpu = {"num_cpus": 1, "num_gpus": self.gpu_share, "memory": GPU_MEMORY_BYTES}
        cpu = {"num_cpus": 1, "memory": AREA_MEMORY_BYTES}
        kinds = [("gpu", self.job, sizes.num_gpu, gpu), ("cpu", replace(self.job, gpu=None), sizes.num_cpu, cpu)]
        threads = [Thread(target=self._drive, args=kind, daemon=True) for kind in kinds if kind[2]]
        for thread in threads:
            thread.start()
        try:
            for _ in range(self.num_plans):
                result = self.results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self.is_done.set()  # tickets that are left stand for nothing
        for thread in threads:
            thread.join(END_SECONDS)

    def _drive(self, kind: str, job: Job, size: int, resources: dict[str, float]) -> None:
        rows = [{"kind": kind, "ticket": ticket} for ticket in range(self.num_plans)]
        try:
            results = self.data.from_items(rows, override_num_blocks=len(rows)).map(
                TicketWorker,
                fn_constructor_args=(job, *self.folders, self.desk),
                compute=self.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2),
                **resources,
            )
            for result in finished(results):
                if self.is_done.is_set():
                    return
                if result:
                    self.results.put(RESULT.validate_json(result))
        except BaseException as error:
            self.results.put(error)
