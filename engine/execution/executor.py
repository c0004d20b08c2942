"""How an executor is used, whatever runs the episodes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace.engine.dataset import EpisodeResult
from millrace.engine.planning import EpisodePlan, Job


@dataclass(frozen=True)
class Folders:
    """Where results go, as absolute paths: the dataset, and the run's own folder for unfinished files in it."""

    out: Path
    scratch: Path


class Executor(Protocol):
    """Converts episodes somewhere: in processes of this machine, through Ray Data, or by actors with GPUs.

    Every executor makes the same bytes, yields results as they come, replaces workers that crash, and returns an
    episode that crashes `MAX_CRASHES` workers as failed. It leaves no process behind, however the iteration ends.
    """

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
        """Yield the result of each episode, in any order."""

    def __str__(self) -> str:
        """What runs the episodes, for the summary, such as "8 processes"."""
