"""Episodes on workers of two kinds at once: those that share the GPUs, and those that have a core and nothing else.

An operator of Ray Data has workers of one kind, and keeps an episode for a worker whose GPU has left. So these are
actors, each of which is given one episode after the other; that of one that dies goes to the next, of either kind.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import ray

from engine.cluster import alive_nodes, has
from engine.errors import GpuLost
from engine.output.record import EpisodeFailure, EpisodeResult
from engine.planning.plan import EpisodePlan, Job
from engine.stream import AREA_MEMORY_BYTES, EpisodeWorker, connected, turn
from engine.video.stages import NVENC, Gpu
from engine.workers import Workers

Kind = Literal["gpu", "cpu"]

# With torch beside a GPU.
GPU_MEMORY_BYTES = 3 << 30
# How often the nodes are looked at when no worker is heard of, and how long a GPU may be taken by others.
LOOK_SECONDS, PLACING_SECONDS = 2.0, 300.0
LOST = "the worker with a GPU that was at it died"


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


def convert_with_gpus(
    plans: Sequence[EpisodePlan], job: Job, out: Path, scratch: Path, *, workers: Workers
) -> Iterator[EpisodeResult]:
    """Yield each episode's result as it is done, in any order; see `convert_in_parallel`.

    Where no GPU is left, cores do the rest, with the same bytes.

    Raises:
        GpuLost: the dataset wants NVENC, and there is no GPU, or none any more, that a worker could have.
    """
    with connected(workers.num, workers.address):
        yield from _Crew(plans, job, (out, scratch), with_sessions(workers, job.gpu)).run()


@dataclass(frozen=True, eq=False)
class _Worker:
    """An actor, and the episode that it is at; None: it has not begun."""

    kind: Kind
    actor: Any
    plan: EpisodePlan | None = None


class _Crew:
    """All workers, by what Ray is to tell of them next, and the episodes that wait for one."""

    def __init__(self, plans: Sequence[EpisodePlan], job: Job, folders: tuple[Path, Path], workers: Workers) -> None:
        self.stages, self.cameras, self.folders, self.workers = job.video.stages, job.cameras, folders, workers
        self.jobs = {"gpu": ray.put(job), "cpu": ray.put(replace(job, gpu=None))}
        self.waiting = deque(sorted(plans, key=turn))
        self.told: dict[Any, _Worker] = {}
        self.lost: set[int] = set()  # episodes over which a worker with a GPU died
        self.seen_seconds = monotonic()

    def run(self) -> Iterator[EpisodeResult]:
        """Raises what a worker fails with; what was not done, a rerun will."""
        needs_gpu = self.stages.encoder == NVENC
        sizes = pools(ray.cluster_resources(), self.workers, num_plans=len(self.waiting), needs_gpu=needs_gpu)
        try:
            self._begin("gpu", sizes.num_gpu)
            self._begin("cpu", sizes.num_cpu)
            while self.waiting or any(worker.plan for worker in self.told.values()):
                done = ray.wait(list(self.told), timeout=LOOK_SECONDS)[0] if self.told else []
                for one in done:
                    yield from self._heard(self.told.pop(one), one)
                if not done and self._are_gone():
                    self._replace_gpus()
        finally:
            for worker in self.told.values():
                ray.kill(worker.actor)

    def _begin(self, kind: Kind, num_workers: int) -> None:
        resources = {"num_cpus": 1, "num_gpus": self.workers.gpu_share, "memory": GPU_MEMORY_BYTES}
        if kind == "cpu":
            resources |= {"num_gpus": 0, "memory": AREA_MEMORY_BYTES}
        for _ in range(num_workers):
            actor = ray.remote(EpisodeWorker).options(**resources).remote(self.jobs[kind], *self.folders)
            self.told[actor.__ray_ready__.remote()] = _Worker(kind, actor)

    def _heard(self, worker: _Worker, told: Any) -> Iterator[EpisodeResult]:
        """What a worker has done, who gets another episode, if there is one; that of one that died goes first."""
        try:
            result = ray.get(told)
        except ray.exceptions.RayActorError:
            ray.kill(worker.actor)  # it may only be out of sight
            if worker.plan is None and worker.kind == "cpu" and not self.told:
                raise  # nobody else will begin
            if worker.plan is not None:
                self.waiting.appendleft(worker.plan)
                self.lost |= {worker.plan.index} if worker.kind == "gpu" else set()
                self._begin(worker.kind, 1)
            return
        if self.waiting:
            plan = self.waiting.popleft()
            self.told[worker.actor.convert.remote(plan)] = replace(worker, plan=plan)
        else:  # another, whose GPU has left, may need this one's
            ray.kill(worker.actor)
        if worker.plan is not None:
            self.seen_seconds = monotonic()
            yield self._redone(result) if worker.kind == "cpu" and worker.plan.index in self.lost else result

    def _redone(self, result: EpisodeResult) -> EpisodeResult:
        """It says why its clips were not made on a GPU."""
        if isinstance(result, EpisodeFailure):
            return result
        cameras = (camera for camera in self.cameras if camera not in result.copied)
        return result.model_copy(update={"redone": dict.fromkeys(cameras, LOST)})

    def _are_gone(self) -> bool:
        """Whether nobody is left but workers that want a GPU, and there is none, or none to be had for long."""
        if any(worker.plan or worker.kind == "cpu" for worker in self.told.values()):
            self.seen_seconds = monotonic()
            return False
        has_gpu = bool(self.told) and any(has(node, "GPU") for node in alive_nodes())
        return not has_gpu or monotonic() - self.seen_seconds > PLACING_SECONDS

    def _replace_gpus(self) -> None:
        if self.stages.encoder == NVENC:
            raise GpuLost(
                f"{len(self.waiting)} episodes are left, and no worker could have a GPU, with a core and memory beside "
                f"it: it has left, or others keep it. This dataset was begun with {self.stages}, and no other encoder "
                "may continue its work. Run the same command where the GPU works, or pass --overwrite --device cpu"
            )
        for worker in self.told.values():
            ray.kill(worker.actor)
        self.told.clear()
        num_cores = int(ray.cluster_resources().get("CPU", 1))
        self._begin("cpu", max(1, min(len(self.waiting), self.workers.num or num_cores)))
