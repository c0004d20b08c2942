"""What every worker process does, under each executor: convert one episode after the other, and count crashes."""

import os
from pathlib import Path

from millrace.engine.dataset import EpisodeFailure, EpisodeResult
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import FaultCode, OutputFailed
from millrace.engine.execution.crashes import MAX_CRASHES, count_crashes
from millrace.engine.execution.node import Shared, check_this_node
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.sources import RowReader

# A worker streams frames: its peak does not grow with the episode (benchmarks/ measures it).
WORKER_MEMORY_BYTES = 400 << 20
# With torch and its batches.
AREA_MEMORY_BYTES = WORKER_MEMORY_BYTES + (600 << 20)
# Faults of the process, such as memory that it holds already: a new process may succeed.
PROCESS_FAULTS = (FaultCode.MEMORY, FaultCode.GPU)


class EpisodeWorker:
    """Converts episodes in this process, and ends the process where a new one may fare better.

    shared: what a node of a cluster must have like the driver; None: this is the driver's machine.
    """

    def __init__(self, job: Job, out: Path, scratch: Path, shared: Shared | None = None) -> None:
        self.job, self.out, self.scratch, self.shared = job, out, scratch, shared
        self.reader = RowReader()

    def convert(self, plan: EpisodePlan) -> EpisodeResult:
        """Convert an episode; one that crashed `MAX_CRASHES` workers of this run fails without a further try.

        Raises:
            NodesDiffer: as of `check_node`.
        """
        self.check_node()
        try:
            with explain_write_errors(self.out), count_crashes(plan.index, self.scratch) as num_crashes:
                return self._attempt(plan, num_crashes)
        except OutputFailed as error:
            return fail(plan, FaultCode.OUTPUT, str(error))

    def check_node(self) -> None:
        """Compare this machine with the driver's, the first time.

        Raises:
            NodesDiffer: what is converted here would be other bytes, or lie elsewhere.
        """
        if self.shared is not None:
            check_this_node(self.shared)
            self.shared = None

    def _attempt(self, plan: EpisodePlan, num_crashes: int) -> EpisodeResult:
        if num_crashes == MAX_CRASHES:
            reason = f"{MAX_CRASHES} workers died over it: a codec crashed, or memory ran out"
            return fail(plan, FaultCode.WORKER_DIED, reason)
        result = convert_episode(plan, self.job, self.out, self.scratch, reader=self.reader)
        may_pass = isinstance(result, EpisodeFailure) and result.code in PROCESS_FAULTS
        if may_pass and num_crashes + 1 < MAX_CRASHES:
            os._exit(1)
        return result


def fail(plan: EpisodePlan, code: FaultCode, reason: str) -> EpisodeFailure:
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


def worker_memory_bytes(job: Job) -> int:
    """The memory that a CPU worker may need."""
    return AREA_MEMORY_BYTES if job.video.backends.resize == "area" else WORKER_MEMORY_BYTES


def schedule_key(plan: EpisodePlan) -> int:
    """Sort key: the longest first; episodes that share files in their order, as a worker caches what it read."""
    return -plan.episode.num_frames if plan.episode.search is None else plan.index
