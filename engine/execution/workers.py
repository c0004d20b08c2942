"""Where episodes are converted: what the user asks for, and the executor that does it."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import RecipeError
from millrace.engine.execution.executor import Executor
from millrace.engine.execution.local import InlineExecutor, LocalExecutor, default_num_workers
from millrace.engine.execution.shipping import Ship
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.video.backends import GPU_SHARE

ExecutorName = Literal["auto", "local", "ray"]

# Frames of 480x640 that a core decodes, resizes and encodes in a second (docs/benchmarks.md).
FRAMES_PER_CORE_SECOND = 800
# From here on, the seconds that Ray takes to start do not count.
MAX_LOCAL_SECONDS = 300


@dataclass(frozen=True)
class Workers:
    """Where episodes are converted.

    num: workers, a core each; None: one for each core. address: a running Ray cluster; None: RAY_ADDRESS, or this
    machine. local: in this process, the same as one worker of the executor "local". gpu_share: of a GPU, what each of
    those workers takes that use one. executor: "local" for processes of this machine, "ray" for Ray Data, "auto" for
    Ray Data on a cluster and where this machine alone needs more than five minutes, else processes. ship: send "code",
    this Millrace, to the nodes of the cluster for this run, or also the "libraries" that it needs, which each node
    installs by pip in these versions; None: the nodes have them.
    """

    num: int | None = None
    address: str | None = None
    local: bool = False
    gpu_share: float = GPU_SHARE
    executor: ExecutorName = "auto"
    ship: Ship | None = None

    def __post_init__(self) -> None:
        if self.executor not in (names := get_args(ExecutorName)):
            problem = f" is {' or '.join(names)}, not {self.executor!r}"
            raise RecipeError(_argument("executor"), problem, got=self.executor, known=names)
        if self.num is not None and self.num < 1:
            raise RecipeError(
                _argument("num"), f" takes at least 1 core, not {self.num}", got=self.num, expected="at least 1"
            )
        if self.local and (self.num, self.address, self.executor) != (None, None, "auto"):
            others = (_argument("num"), ", ", _argument("address"), " and ", _argument("executor"))
            raise RecipeError(_argument("local", True), " works in this process alone: ", Remedy("leave out ", *others))
        if self.executor == "local" and self.address is not None:
            local = _argument("executor", "local")
            advice = Remedy("leave out ", _argument("address"))
            raise RecipeError(local, " works on this machine alone: ", advice, got=self.address)
        if not 0 < self.gpu_share <= 1:
            problem = f" takes a part of a GPU, above 0 and at most 1, not {self.gpu_share:g}"
            raise RecipeError(_argument("gpu_share"), problem, got=self.gpu_share, expected="above 0 and at most 1")

        self._check_ship()

    def _check_ship(self) -> None:
        if self.ship is not None and self.ship not in (names := get_args(Ship)):
            problem = f" is {' or '.join(names)}, not {self.ship!r}"
            raise RecipeError(_argument("ship"), problem, got=self.ship, known=names)
        if self.ship is not None and self.cluster is None:
            advice = Remedy("name one with ", _argument("address"), ", or leave it out")
            raise RecipeError(_argument("ship", self.ship), " is for a running Ray cluster: ", advice, got=self.ship)

    @property
    def is_inline(self) -> bool:
        """Whether this process itself converts."""
        return self.local or (self.executor == "local" and self.num == 1)

    @property
    def cluster(self) -> str | None:
        """The Ray cluster to use; None: this machine."""
        if self.local or self.executor == "local":
            return None
        return self.address or os.environ.get("RAY_ADDRESS") or None


def cluster_session(workers: Workers) -> AbstractContextManager[object]:
    """One connection to the workers' cluster, for probing its GPUs and for all datasets; nothing without a cluster."""
    if workers.cluster is None:
        return nullcontext()
    from millrace.engine.execution.ray_session import ray_session

    return ray_session(None, workers.cluster, ship=workers.ship)


def describe_shortage(workers: Workers) -> str | None:
    """What the workers' cluster, to which this process is connected, lacks; None: nothing, or there is no cluster."""
    if workers.cluster is None:
        return None
    from millrace.engine.execution import waiting

    return waiting.find_shortage()


def _argument(name: str, value: object = None) -> Setting:
    return Setting(name, value, call="Workers")


def choose_executor(workers: Workers, job: Job, plans: Sequence[EpisodePlan]) -> Executor:
    """The executor for these episodes; GPUs are used by actors of Ray, unless this process does all."""
    if workers.is_inline:
        return InlineExecutor()
    # Ray takes a second to import; nothing else needs it.
    if job.gpu is not None:
        from millrace.engine.execution.actors import ActorExecutor

        return ActorExecutor(workers)
    num_workers = workers.num or default_num_workers(job)
    if (
        workers.cluster
        or workers.executor == "ray"
        or (workers.executor == "auto" and _is_long(job, plans, num_workers))
    ):
        from millrace.engine.execution.ray_data import RayDataExecutor

        return RayDataExecutor(workers.num, workers.cluster, workers.ship)
    return LocalExecutor(min(num_workers, len(plans)))


def _is_long(job: Job, plans: Sequence[EpisodePlan], num_workers: int) -> bool:
    """Whether this machine alone takes so long that Ray's start does not count."""
    num_frames = sum(plan.episode.num_frames for plan in plans) * len(job.cameras)
    return num_frames / (FRAMES_PER_CORE_SECOND * num_workers) > MAX_LOCAL_SECONDS
