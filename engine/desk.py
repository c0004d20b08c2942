"""Where workers of two kinds ask for their next episode."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from engine.planning.plan import EpisodePlan, Job

Kind = Literal["gpu", "cpu"]


class Desk:
    """Knows the job, and every ticket's episode; a Ray actor, as workers on all nodes ask it."""

    def __init__(self, job: Job, plans: Sequence[EpisodePlan]) -> None:
        self._job = job
        self._waiting = deque(plans)
        self._given: dict[tuple[Kind, int], EpisodePlan | None] = {}
        self._nodes: dict[int, str] = {}

    def job(self, kind: Kind) -> Job:
        """What a kind of worker is to do; one with a core alone leaves the GPU to others."""
        return self._job if kind == "gpu" else replace(self._job, gpu=None)

    def plan(self, kind: Kind, ticket: int, node: str) -> EpisodePlan | None:
        """The ticket's episode, for a worker on a node; None: all were given to others."""
        key = kind, ticket
        if key not in self._given:
            self._given[key] = self._waiting.popleft() if self._waiting else None
        plan = self._given[key]
        if plan is not None:
            self._nodes[plan.index] = node
        return plan

    def nodes(self) -> dict[int, str]:
        """By episode, where it was last begun."""
        return self._nodes
