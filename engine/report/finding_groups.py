"""Findings of an inspection as a report lists them: by kind, with episodes, an image and what to do."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace.engine.inspection.findings import KINDS, SEVERITIES, Finding, Severity
from millrace.engine.report.strips import ShownEpisode, Thumbnail

MAX_MESSAGES, MAX_EPISODE_NUMBERS = 5, 24
NOUNS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


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


def group_findings(
    findings: Iterable[Finding], shown: Sequence[ShownEpisode], write: Callable[[str], str]
) -> Iterator[FindingGroup]:
    """Findings by kind, in their order; write: makes a message fit for the page."""
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    for code, among in by_code.items():
        kind = KINDS[code]
        episodes = list(dict.fromkeys(one.episode for one in among if one.episode is not None))
        yield FindingGroup(
            code,
            kind.severity,
            kind.meaning,
            kind.advice,
            tuple(_describe(one, write) for one in among[:MAX_MESSAGES]),
            max(0, len(among) - MAX_MESSAGES),
            tuple(episodes[:MAX_EPISODE_NUMBERS]),
            max(0, len(episodes) - MAX_EPISODE_NUMBERS),
            next(filter(None, (_find_image(one, shown) for one in among)), None),
        )


def count_findings(findings: Sequence[Finding]) -> list[Verdict]:
    """The number of findings of each severity that occurs."""
    counts = {severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES}
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


def _find_image(finding: Finding, shown: Iterable[ShownEpisode]) -> Thumbnail | None:
    """The middle image of the episode and camera that a finding is about."""
    if finding.episode is None:
        return None
    strips = (strip for one in shown if one.index == finding.episode for strip in one.strips if strip.images)
    fitting = (strip for strip in strips if finding.camera in (None, strip.camera))
    return next((strip.images[len(strip.images) // 2] for strip in fitting), None)
