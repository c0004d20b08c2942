"""What releases of GR00T judge differently: tags, dims and horizon. One dataset may be for several of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import Release
from millrace.engine.validate.modality_json import registered_tag_problems
from millrace.engine.validate.training import limit_problems_of


def release_problems(
    metadata: Metadata, releases: Sequence[Release], *, stored_horizon: int | None
) -> Iterator[Problem]:
    """Judge a dataset for releases; each message names its release.

    What only some of several releases refuse is a warning: the dataset is good for the others.

    Args:
        metadata: Of the dataset.
        releases: Those that it is for, at least one.
        stored_horizon: Steps of the relative statistics, which count where there is no config; None without any.
    """
    found: dict[str, dict[int, list[Problem]]] = defaultdict(lambda: defaultdict(list))
    for number, release in enumerate(releases):
        for problem in _judge(metadata, release, stored_horizon):
            found[problem.code][number].append(problem)
    for by_release in found.values():
        others = " and ".join(release.name for number, release in enumerate(releases) if number not in by_release)
        for number, problems in by_release.items():
            name = releases[number].name
            yield from (_weaken(problem, name, others) if others else problem for problem in problems)


def _judge(metadata: Metadata, release: Release, stored_horizon: int | None) -> Iterator[Problem]:
    yield from registered_tag_problems(metadata, release)
    yield from limit_problems_of(metadata, release, stored_horizon=stored_horizon)


def _weaken(problem: Problem, release: str, others: str) -> Problem:
    severity = "warning" if problem.severity == "error" else problem.severity
    return replace(problem, severity=severity, message=f"for GR00T {release}, not {others}: {problem.message}")
