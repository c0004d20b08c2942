"""Convert episodes on GPU workers, which share the GPUs, and on CPU workers, at the same time.

An operator of Ray Data has workers of one kind, and keeps an episode for a worker whose GPU is gone. So these are
actors, each of which gets one episode after the other. After a GPU worker crashes, its episode goes to a CPU worker if
that makes the same bytes: the GPU or its driver may be the cause.
"""

import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Literal

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayError

from millrace.engine.dataset import EpisodeFailure, EpisodeResult
from millrace.engine.errors import RUN_ELSEWHERE, GpuLost
from millrace.engine.execution.cluster import alive_nodes, check_nodes, has
from millrace.engine.execution.episode_worker import AREA_MEMORY_BYTES, EpisodeWorker, schedule_key
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.node import Shared
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.execution.workers import Workers
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.video.backends import NVENC, Gpu
from millrace.engine.video.gpu.probe_gpu import MAX_SESSIONS

Kind = Literal["gpu", "cpu"]

# With torch beside a GPU.
GPU_MEMORY_BYTES = 3 << 30
# How often the nodes are looked at when no worker is heard of, and how long a GPU may be taken by others.
LOOK_SECONDS, PLACING_SECONDS = 2.0, 300.0
LOST = "the worker with a GPU that was at it died"
# How Ray tells that a worker has ended, is to be seen no more, or took its result along.
DEATHS = (RayActorError, OutOfMemoryError, NodeDiedError, ObjectLostError)


@dataclass(frozen=True)
class Pools:
    """How many workers there are of each kind."""

    num_gpu: int
    num_cpu: int


def pools(nodes: Sequence[Mapping[str, float]], workers: Workers, *, num_plans: int, needs_gpu: bool) -> Pools:
    """How many workers of each kind cores, shares of GPUs and memory allow; GPU workers come first.

    Args:
        nodes: What each has: "CPU", "GPU", "memory" in bytes.
        workers: As many as are wanted, and the share.
        num_plans: Episodes; no worker is without one.
        needs_gpu: Whether a core alone cannot do the work.
    """
    num_cores = sum(int(node.get("CPU", 0)) for node in nodes)
    num_workers = min(num_plans, workers.num or max(1, num_cores))
    each = [_pools_of_node(node, workers.gpu_share) for node in nodes]
    num_gpu = min(num_workers, sum(node.num_gpu for node in each))
    if needs_gpu:
        return Pools(num_gpu, 0)
    num_cpu = min(num_workers - num_gpu, sum(node.num_cpu for node in each))
    return Pools(num_gpu, num_cpu if num_gpu else max(1, num_cpu))


def _pools_of_node(node: Mapping[str, float], gpu_share: float) -> Pools:
    num_cores, num_bytes = int(node.get("CPU", 0)), node.get("memory", float("inf"))
    num_shares = int(node.get("GPU", 0)) * int(1 / gpu_share + 1e-9)
    num_gpu = int(min(num_cores, num_shares, num_bytes // GPU_MEMORY_BYTES))
    left = num_bytes - num_gpu * GPU_MEMORY_BYTES
    return Pools(num_gpu, int(min(num_cores - num_gpu, left // AREA_MEMORY_BYTES)))


def with_sessions(workers: Workers, gpu: Gpu | None) -> Workers:
    """Limit the workers of a card to the NVENC sessions that the probe could open; others would be refused."""
    if gpu is None or gpu.num_sessions is None or gpu.num_sessions >= MAX_SESSIONS:
        return workers
    share = math.floor(10_000 / max(1, gpu.num_sessions)) / 10_000  # Ray counts in ten thousandths
    return replace(workers, gpu_share=max(workers.gpu_share, share))


@dataclass(frozen=True)
class ActorExecutor:
    """Converts on GPU workers and CPU workers of an embedded Ray or a cluster.

    workers: how many, at which address, and the share of a GPU for each.
    """

    workers: Workers

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
        """Yield each result as it comes. If no GPU is left, CPU workers do the rest, with the same bytes.

        Raises:
            GpuLost: the dataset wants NVENC, and there is no GPU, or none any more, that a worker could have.
        """
        cluster = self.workers.cluster
        with ray_session(self.workers.num, cluster, ship=self.workers.ship):
            shared = None if cluster is None else check_nodes(plans, folders.scratch)
            yield from _Crew(plans, job, folders, with_sessions(self.workers, job.gpu), shared).run()

    def __str__(self) -> str:
        return "GPU and CPU workers of Ray"


@dataclass(frozen=True, eq=False)
class _Worker:
    """An actor, and its current episode; None: it has not started. has_done: it has finished one before."""

    kind: Kind
    actor: Any
    plan: EpisodePlan | None = None
    has_done: bool = False


class _Crew:
    """All workers, by the Ray reference of their next result, and the episodes that wait for a worker."""

    def __init__(
        self, plans: Sequence[EpisodePlan], job: Job, folders: Folders, workers: Workers, shared: Shared | None
    ) -> None:
        self.shared = shared
        self.stages, self.cameras, self.folders, self.wanted = job.video.backends, job.cameras, folders, workers
        self.needs_gpu = job.video.backends.encoder == NVENC
        self.jobs = {"gpu": ray.put(job), "cpu": ray.put(replace(job, gpu=None))}
        self.waiting = deque(sorted(plans, key=schedule_key))
        self.for_cores: deque[EpisodePlan] = deque()
        self.lost: set[int] = set()  # episodes over which a worker with a GPU died
        self.at_work: dict[Any, _Worker] = {}
        self.death_at_start: RayError | None = None
        self.seen_seconds = monotonic()

    def run(self) -> Iterator[EpisodeResult]:
        """Raises what a worker fails with; a later run converts the rest."""
        nodes = [node["Resources"] for node in alive_nodes()]
        sizes = pools(nodes, self.wanted, num_plans=len(self.waiting), needs_gpu=self.needs_gpu)
        try:
            self._begin("gpu", sizes.num_gpu)
            self._begin("cpu", sizes.num_cpu)
            while self.waiting or self.for_cores or any(worker.plan for worker in self.at_work.values()):
                told = ray.wait(list(self.at_work), timeout=LOOK_SECONDS)[0] if self.at_work else []
                for reference in told:
                    yield from self._heard(self.at_work.pop(reference), reference)
                if not told and self._are_gone():
                    self._replace_gpus()
        finally:
            for worker in self.at_work.values():
                ray.kill(worker.actor)

    def _begin(self, kind: Kind, num_workers: int) -> None:
        resources = {"num_cpus": 1, "num_gpus": self.wanted.gpu_share, "memory": GPU_MEMORY_BYTES}
        if kind == "cpu":
            resources |= {"num_gpus": 0, "memory": AREA_MEMORY_BYTES}
        for _ in range(num_workers):
            actor = (
                ray.remote(EpisodeWorker)
                .options(**resources)
                .remote(self.jobs[kind], self.folders.out, self.folders.scratch, self.shared)
            )
            self.at_work[actor.__ray_ready__.remote()] = _Worker(kind, actor)

    def _heard(self, worker: _Worker, reference: Any) -> Iterator[EpisodeResult]:
        """Take a worker's result, and give it another episode if there is one."""
        try:
            result = ray.get(reference)
        except DEATHS as error:
            self._died(worker, error)
            return
        if (plan := self._next(worker.kind)) is not None:
            again = replace(worker, plan=plan, has_done=worker.plan is not None)
            self.at_work[worker.actor.convert.remote(plan)] = again
        else:  # another, whose GPU has left, may need this one's, or its core
            ray.kill(worker.actor)
        if worker.plan is not None:
            self.seen_seconds = monotonic()
            yield self._redone(result) if worker.plan.index in self.lost else result

    def _next(self, kind: Kind) -> EpisodePlan | None:
        """The next episode for a free worker."""
        if kind == "cpu" and self.for_cores:
            return self.for_cores.popleft()
        return self.waiting.popleft() if self.waiting else None

    def _died(self, worker: _Worker, error: RayError) -> None:
        """Replace a crashed worker, and queue its episode again."""
        ray.kill(worker.actor)  # it may only be out of sight
        if worker.plan is None:
            self.death_at_start = error
            if worker.kind == "cpu" and not self.at_work and (self.waiting or self.for_cores):
                raise error  # nobody is left to do it
        elif worker.plan.index in self.lost or self._may_leave_to_cores(worker):
            self.lost.add(worker.plan.index)
            self.for_cores.append(worker.plan)
        else:
            self.waiting.appendleft(worker.plan)
        self._replace(worker)

    def _may_leave_to_cores(self, worker: _Worker) -> bool:
        return worker.kind == "gpu" and not self.needs_gpu

    def _replace(self, worker: _Worker) -> None:
        """Start a worker of the same kind; a CPU worker if a GPU worker crashed in its first episode or before."""
        if self._may_leave_to_cores(worker) and not worker.has_done:
            self._begin("cpu", 1)
        elif worker.plan is not None:
            self._begin(worker.kind, 1)
        if self.for_cores and not any(other.kind == "cpu" for other in self.at_work.values()):
            self._begin("cpu", 1)

    def _redone(self, result: EpisodeResult) -> EpisodeResult:
        """The result with the reason why its clips were not made on a GPU."""
        if isinstance(result, EpisodeFailure):
            return result
        cameras = (camera for camera in self.cameras if camera not in result.copied)
        return result.model_copy(update={"redone": dict.fromkeys(cameras, LOST)})

    def _are_gone(self) -> bool:
        """Whether only GPU workers are left, and no GPU exists or has been available for long."""
        if any(worker.plan or worker.kind == "cpu" for worker in self.at_work.values()):
            self.seen_seconds = monotonic()
            return False
        has_gpu = bool(self.at_work) and any(has(node, "GPU") for node in alive_nodes())
        return not has_gpu or monotonic() - self.seen_seconds > PLACING_SECONDS

    def _replace_gpus(self) -> None:
        if self.needs_gpu:
            why = "it has left, or others keep it"
            if self.death_at_start is not None:
                why += f", or workers end as they begin ({str(self.death_at_start).splitlines()[0]})"
            raise GpuLost(
                f"{len(self.waiting)} episodes are left, and no worker could have a GPU, with a core and memory "
                f"beside it: {why}. This dataset was created with {self.stages}, and no other encoder may continue "
                "it. ",
                RUN_ELSEWHERE,
            ) from self.death_at_start
        for worker in self.at_work.values():
            ray.kill(worker.actor)
        self.at_work.clear()
        num_cores = int(ray.cluster_resources().get("CPU", 1))
        self._begin("cpu", max(1, min(len(self.waiting), self.wanted.num or num_cores)))
