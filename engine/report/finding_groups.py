"""Findings of an inspection, and problems of `validate`, by kind, with episodes, an image and what to do."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace.engine.dataset import checks
from millrace.engine.dataset.problems import Judgement, Problem
from millrace.engine.dataset.v3_checks import V3_CHECKS
from millrace.engine.inspection.findings import KINDS, SEVERITIES, Finding, Severity
from millrace.engine.report.origins import RecordedFailure
from millrace.engine.report.strips import ShownEpisode, Thumbnail

MAX_MESSAGES, MAX_EPISODE_NUMBERS = 5, 24
MAX_KINDS, OTHER = 30, "other"  # of failures: a manifest may hold any code
LEFT_OUT = "Episodes of the sources could not be converted: the dataset lacks them."
NOUNS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
SEVERITY_OF: Mapping[checks.Severity, Severity] = {"error": "error", "warning": "warning", "note": "info"}


@dataclass(frozen=True)
class Found:
    """A finding of an inspection or a problem of `validate`; message: fit for the page, with where it is."""

    code: str
    severity: Severity
    meaning: str
    advice: str
    message: str
    episode: int | None
    camera: str | None


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one kind. image: of an episode that it is about, where one is shown."""

    code: str
    severity: Severity
    meaning: str
    advice: str
    messages: tuple[str, ...]
    num_more: int
    episodes: tuple[int, ...]
    num_more_episodes: int
    image: Thumbnail | None


@dataclass(frozen=True)
class Verdict:
    """How many findings of one severity there are: "2 errors"."""

    severity: Severity
    text: str


def list_found(
    findings: Iterable[Finding], judgement: Judgement | None, write: Callable[[str], str]
) -> Iterator[Found]:
    """Problems of `validate`, errors first, then findings in their order; write: makes a message fit for the page."""
    if judgement is not None:
        promises = {code: check.promise for code, check in (V3_CHECKS | checks.CHECKS).items()}
        for problem in (*judgement.errors, *judgement.warnings, *judgement.notes):
            meaning, severity = f"Checked: {promises[problem.code]}", SEVERITY_OF[problem.severity]
            message = write(_locate(problem))
            yield Found(problem.code, severity, meaning, problem.remedy, message, problem.episode, problem.camera)
    for one in findings:
        kind = KINDS[one.code]
        message = _describe(one, write)
        yield Found(one.code, kind.severity, kind.meaning, kind.advice, message, one.episode, one.camera)


def list_failures(failures: Iterable[RecordedFailure]) -> Iterator[Found]:
    """Episodes of the sources that the dataset lacks, with the first advice of each kind; numbers are the sources'."""
    advice: dict[str, str] = {}
    for one in failures:
        where = [one.source, *([] if one.episode is None else [f"episode {one.episode}"])]
        where += [] if one.camera is None else [f"camera {one.camera}"]
        code = one.code if one.code in advice or len(advice) < MAX_KINDS else OTHER
        text = advice.setdefault(code, one.remedy or "Fix the source and convert again, or leave it so.")
        yield Found(code, "warning", LEFT_OUT, text, f"{', '.join(where)}: {one.reason}", None, None)


def group_found(found: Iterable[Found], shown: Sequence[ShownEpisode]) -> Iterator[FindingGroup]:
    """All of one kind together, in the order of the first of each."""
    by_kind: dict[tuple[str, str, str], list[Found]] = defaultdict(list)
    for one in found:
        by_kind[one.code, one.meaning, one.advice].append(one)
    for (code, meaning, advice), among in by_kind.items():
        episodes = list(dict.fromkeys(one.episode for one in among if one.episode is not None))
        yield FindingGroup(
            code,
            among[0].severity,
            meaning,
            advice,
            tuple(one.message for one in among[:MAX_MESSAGES]),
            max(0, len(among) - MAX_MESSAGES),
            tuple(episodes[:MAX_EPISODE_NUMBERS]),
            max(0, len(episodes) - MAX_EPISODE_NUMBERS),
            next(filter(None, (_find_image(one, shown) for one in among)), None),
        )


def count_found(found: Sequence[Found]) -> list[Verdict]:
    """The number of each severity that occurs."""
    counts = {severity: sum(one.severity == severity for one in found) for severity in SEVERITIES}
    return [
        Verdict(severity, f"{number:,} {NOUNS[severity]}{'s' * (number != 1)}")
        for severity, number in counts.items()
        if number
    ]


def list_remarkable(findings: Iterable[Finding]) -> list[int]:
    """Numbers of the episodes that errors and warnings are about, the worst first."""
    worst = (one for severity in SEVERITIES[:2] for one in findings if one.severity == severity)
    return list(dict.fromkeys(one.episode for one in worst if one.episode is not None))


def _describe(finding: Finding, write: Callable[[str], str]) -> str:
    where = [] if finding.episode is None else [f"episode {finding.episode}"]
    where += [] if finding.camera is None else [f"camera {write(finding.camera)}"]
    return f"{', '.join(where)}{': ' if where else ''}{write(finding.message)}"


def _locate(problem: Problem) -> str:
    where = "" if problem.path is None else f"{problem.path.as_posix()}: "
    return f"{where}{problem.message}"


def _find_image(finding: Found, shown: Iterable[ShownEpisode]) -> Thumbnail | None:
    """The middle image of the episode and camera that a finding is about."""
    if finding.episode is None:
        return None
    strips = (strip for one in shown if one.index == finding.episode for strip in one.strips if strip.moments)
    fitting = (strip for strip in strips if finding.camera in (None, strip.camera))
    return next((strip.moments[len(strip.moments) // 2].images[-1] for strip in fitting), None)
