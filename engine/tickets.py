"""Episodes on workers of two kinds at once: those that share the GPUs, and those that have a core and nothing else.

An operator of Ray Data has workers of one kind, and waits for ever for a GPU that has left: those with a GPU are actors
beside it. All work off tickets, and a desk says which episode a ticket stands for, first come, first served. A ticket
that Ray hands out anew, as its worker died, stands for the same episode as before.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from time import monotonic
from types import ModuleType
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.cluster import alive_nodes, has
from engine.desk import Desk, Kind
from engine.errors import GpuLost
from engine.output.record import RESULT, EpisodeFailure, EpisodeResult
from engine.planning.plan import EpisodePlan, Job
from engine.stream import AREA_MEMORY_BYTES, EpisodeWorker, connected, convert_in_parallel, finished, turn
from engine.video.stages import NVENC, Gpu
from engine.workers import Workers

# With torch beside a GPU.
GPU_MEMORY_BYTES = 3 << 30

# A pipeline notices at its next ticket that all is done; one that waits for a worker is left to end with Ray.
END_SECONDS = 30.0
POLL_SECONDS = 1.0
# How often it is looked after workers when no result comes, and how long a GPU may be taken by others.
LOOK_SECONDS, PLACING_SECONDS = 2.0, 300.0
GONE = "no GPU was left for a worker"


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


def with_sessions(workers: Workers, gpu: Gpu | None) -> Workers:
    """No more workers to a card than it has sessions of NVENC: the others would be refused an encoder."""
    if gpu is None or not gpu.num_sessions:
        return workers
    share = math.floor(10_000 / gpu.num_sessions) / 10_000  # Ray counts in ten thousandths
    return replace(workers, gpu_share=max(workers.gpu_share, share))


class TicketWorker(EpisodeWorker):
    """A Ray actor that converts the episodes of its tickets."""

    def __init__(self, kind: Kind, out: Path, scratch: Path, desk: Any) -> None:
        super().__init__(ray.get(desk.job.remote(kind)), out, scratch)
        self.kind, self.desk = kind, desk

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """{"ticket"} -> {"result"}, of `work`."""
        return {"result": self.work(int(row["ticket"]))}

    def work(self, ticket: int) -> bytes:
        """The EpisodeResult of a ticket as JSON, or nothing where there was no episode left."""
        node = ray.get_runtime_context().get_node_id()
        plan = ray.get(self.desk.plan.remote(self.kind, ticket, node))
        return b"" if plan is None else RESULT.dump_json(self.convert(plan))


def convert_with_gpus(
    plans: Sequence[EpisodePlan], job: Job, out: Path, scratch: Path, *, workers: Workers
) -> Iterator[EpisodeResult]:
    """Yield each episode's result as it is done, in any order; see `convert_in_parallel`.

    Where no GPU is left, cores do the rest, with the same bytes.

    Raises:
        GpuLost: the dataset wants NVENC, and there is no GPU, or none any more, that a worker could have.
    """
    with connected(workers.num, workers.address) as data:
        needs_gpu = job.video.stages.encoder == NVENC
        workers = with_sessions(workers, job.gpu)
        sizes = pools(ray.cluster_resources(), workers, num_plans=len(plans), needs_gpu=needs_gpu)
        at_work = _BothKinds(data, plans, job, (out, scratch))
        if sizes != Pools(0, 0):
            yield from at_work.run(sizes, workers.gpu_share)
        left = list(at_work.left.values())
        if left and needs_gpu:
            raise GpuLost(
                f"{len(left)} episodes are left, and Ray has no GPU, or no memory beside it, for a worker: this "
                f"dataset was begun with {job.video.stages}, and no other encoder may continue its work. Run the "
                "same command where the GPU works, or pass --overwrite --device cpu"
            )
        if left:
            job, num_workers, address = replace(job, gpu=None), workers.num, workers.address
            rest = convert_in_parallel(left, job, out, scratch, num_workers=num_workers, address=address)
            yield from (_redone(result, job) for result in rest)


def _redone(result: EpisodeResult, job: Job) -> EpisodeResult:
    """A result that says why its clips were not made on a GPU."""
    if isinstance(result, EpisodeFailure):
        return result
    cameras = (camera for camera in job.cameras if camera not in result.copied)
    return result.model_copy(update={"redone": dict.fromkeys(cameras, GONE)})


class _BothKinds:
    """The workers of a run, each kind driven by a thread. left: what is not done, by the episode's number."""

    def __init__(self, data: ModuleType, plans: Sequence[EpisodePlan], job: Job, folders: tuple[Path, Path]) -> None:
        self.data, self.folders = data, folders
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here)
        self.desk = desk.remote(job, sorted(plans, key=turn))
        self.left = {plan.index: plan for plan in plans}
        self.num_plans = len(plans)
        self.results: Queue[EpisodeResult | BaseException] = Queue()
        self.is_done = Event()
        self.seen_seconds = monotonic()

    def run(self, sizes: Pools, gpu_share: float) -> Iterator[EpisodeResult]:
        """Each episode's result once, until all are there, or none will come any more.

        Raises what a worker fails with; what was not done, a rerun will.
        """
        gpu = Thread(target=self._noting, args=(self._on_gpus, sizes.num_gpu, gpu_share), daemon=True)
        cpu = Thread(target=self._noting, args=(self._on_cores, sizes.num_cpu), daemon=True)
        for thread, size in ((gpu, sizes.num_gpu), (cpu, sizes.num_cpu)):
            if size:
                thread.start()
        try:
            yield from self._results(cpu)
        finally:
            self.is_done.set()  # tickets that are left stand for nothing
            if gpu.is_alive():
                gpu.join()
        if cpu.is_alive():
            cpu.join(END_SECONDS)

    def _results(self, cpu: Thread) -> Iterator[EpisodeResult]:
        """Workers with a core alone do all that is waiting before they end: it is looked after the others then."""
        while self.left:
            try:
                result = self.results.get(timeout=LOOK_SECONDS)
            except Empty:
                if not cpu.is_alive() and self._are_gone() and self.results.empty():
                    return
                continue
            if isinstance(result, BaseException):
                raise result
            self.seen_seconds = monotonic()
            if self.left.pop(result.index, None) is not None:  # a worker that was given up may have done it, too
                yield result

    def _are_gone(self) -> bool:
        """Whether no worker with a GPU is there any more, or has been for long, to do what is left."""
        nodes = {node["NodeID"]: node for node in alive_nodes()}
        begun = ray.get(self.desk.nodes.remote())
        now = monotonic()
        if any(begun.get(index) in nodes for index in self.left):
            self.seen_seconds = now
        has_gpu = any(has(node, "GPU") for node in nodes.values())
        return not has_gpu or now - self.seen_seconds > PLACING_SECONDS

    def _noting(self, work: Callable[..., Iterator[bytes]], *args: Any) -> None:
        """Pass on what workers of a kind return, and what they fail with."""
        try:
            for result in work(*args):
                if self.is_done.is_set():
                    return
                if result:
                    self.results.put(RESULT.validate_json(result))
        except BaseException as error:
            self.results.put(error)

    def _on_cores(self, size: int) -> Iterator[bytes]:
        rows = [{"ticket": ticket} for ticket in range(self.num_plans)]
        results = self.data.from_items(rows, override_num_blocks=len(rows)).map(
            TicketWorker,
            fn_constructor_args=("cpu", *self.folders, self.desk),
            compute=self.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            memory=AREA_MEMORY_BYTES,
        )
        return finished(results)

    def _on_gpus(self, size: int, gpu_share: float) -> Iterator[bytes]:
        """Ray Data would wait for ever for a GPU that has left; these actors can be given up."""
        resources = {"num_cpus": 1, "num_gpus": gpu_share, "memory": GPU_MEMORY_BYTES}
        kind = ray.remote(TicketWorker).options(**resources, max_restarts=-1, max_task_retries=-1)
        actors = [kind.remote("gpu", *self.folders, self.desk) for _ in range(size)]
        tickets = count()
        at_work = {actor.work.remote(next(tickets)): actor for actor in actors}
        try:
            while at_work and not self.is_done.is_set():
                for done in ray.wait(list(at_work), timeout=POLL_SECONDS)[0]:
                    actor, result = at_work.pop(done), ray.get(done)
                    yield result
                    if result:
                        at_work[actor.work.remote(next(tickets))] = actor
                    else:  # another, whose GPU has left, may need this one's
                        ray.kill(actor)
        finally:
            for actor in actors:
                ray.kill(actor)
