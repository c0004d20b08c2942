"""Try failed episodes once more: an error of a disk, network or worker may have passed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import Facts, Message
from millrace.engine.dataset import EpisodeFailure, EpisodeResult
from millrace.engine.dataset.record import RESULT
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import FaultCode
from millrace.engine.execution.executor import Folders
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.planning.plan import first_fault
from millrace.engine.sources import RowReader, why_foreign, why_unreadable
from millrace.engine.sources.damage import find_unreadable
from millrace.engine.video.backends import NVENC
from millrace.engine.video.gpu.isolation import run_isolated

# Handed to one process, which takes a second or two to start: results are reported as often as that.
BATCH_EPISODES = 256
HANGS = "a codec, a library or a disk hangs"
DIED = "a codec or a library crashed, or the system killed it for want of memory"
# Far more than any episode takes.
START_SECONDS, SECONDS_PER_FRAME = 600.0, 1.0


def retry(
    failures: Sequence[EpisodeFailure],
    episodes: Sequence[EpisodePlan],
    job: Job,
    folders: Folders,
    *,
    is_inline: bool,
) -> Iterator[EpisodeResult]:
    """Convert failed episodes once more, on this machine, and yield the result of each.

    A new process does it, so that neither a worker's state nor another node's disks count. Without Ray, this process
    looks again at what only data explains, with nothing remembered. What metadata alone shows to be wrong stays so.

    Args:
        failures: What became of them the first time.
        episodes: The plan's, in the order of their numbers.
        job: What they share.
        folders: Of the dataset and of the run.
        is_inline: Whether all was done in this process.
    """
    # A card may be on other machines only; but for NVENC, the CPU makes the same bytes.
    job = job if job.video.backends.encoder == NVENC else replace(job, gpu=None)
    readable: set[Path] = set()
    in_children: list[EpisodeFailure] = []
    for failure in failures:
        if first_fault(episodes[failure.index], job) is not None:
            yield failure
        elif is_inline and failure.code.is_of_episode:
            yield _convert(episodes[failure.index], job, folders, readable)
        else:
            in_children.append(failure)
    for start in range(0, len(in_children), BATCH_EPISODES):
        batch = in_children[start : start + BATCH_EPISODES]
        yield from _in_children(batch, [episodes[failure.index] for failure in batch], job, folders)


def _convert(plan: EpisodePlan, job: Job, folders: Folders, readable: set[Path]) -> EpisodeResult:
    """A second failure is the data's fault only if the system gives all of the episode's files.

    readable: files that it gave, so that a file of many failed episodes is read once; more are added.
    """
    result = convert_episode(plan, job, folders.out, folders.scratch, reader=RowReader())
    if not isinstance(result, EpisodeFailure) or not result.code.is_of_episode:
        return result
    root = job.bindings[plan.binding].root
    files = [path for path in plan.episode.paths if path not in readable and why_foreign(path, root) is None]
    refused = find_unreadable(files)
    if refused is None:
        readable.update(files)
        return result
    reason = Message(f"{refused.filename} ", why_unreadable(Path(refused.filename), refused))
    facts = Facts(file=Path(refused.filename))
    return result.model_copy(update={"code": FaultCode.UNREADABLE, "reason": reason, "facts": facts})


def _in_children(
    failures: Sequence[EpisodeFailure], plans: Sequence[EpisodePlan], job: Job, folders: Folders
) -> Iterator[EpisodeResult]:
    """Convert in a child process, and in a new one after each crash."""
    first = dict(zip((plan.index for plan in plans), failures, strict=True))
    left = list(plans)
    while left:
        kept = folders.scratch / f"{left[0].index}.again"
        limit = START_SECONDS + SECONDS_PER_FRAME * sum(plan.episode.num_frames for plan in left)
        work = partial(_convert_all, left, job, folders, kept)
        died = run_isolated(work, str, limit_seconds=limit, late_reason=HANGS, crash_reason=DIED)
        results = _read(kept)
        for result in results:
            yield _better(first[result.index], result)
        left = left[len(results) :]
        if died is not None and left:
            yield _died(first[left.pop(0).index], died)


def _better(before: EpisodeFailure, now: EpisodeResult) -> EpisodeResult:
    """A machine without a GPU cannot say more of what was encoded on one."""
    is_blind = isinstance(now, EpisodeFailure) and now.code is FaultCode.GPU
    return before if is_blind else now


def _died(before: EpisodeFailure, why: str) -> EpisodeFailure:
    if not before.code.is_of_episode:
        return before
    return before.model_copy(update={"code": FaultCode.WORKER_DIED, "reason": f"{before.reason}; tried again, {why}"})


def _convert_all(plans: Sequence[EpisodePlan], job: Job, folders: Folders, kept: Path) -> None:
    """In the other process: append each result to a file, so that a crash loses none."""
    readable: set[Path] = set()
    with kept.open("ab") as file:
        for plan in plans:
            file.write(RESULT.dump_json(_convert(plan, job, folders, readable)) + b"\n")
            file.flush()


def _read(kept: Path) -> list[EpisodeResult]:
    results: list[EpisodeResult] = []
    for line in kept.read_bytes().splitlines() if kept.is_file() else []:
        with suppress(ValidationError):  # cut off as its process died
            results.append(RESULT.validate_json(line))
    kept.unlink(missing_ok=True)
    return results
