"""Problems of a dataset or a training run, and their text."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from millrace.engine.dataset.checks import CHECKS, Check, Severity
from millrace.engine.text import format_count, printable

MAX_MESSAGE = 600
# Of datasets that can be judged: v2.1 (and v2.0) for GR00T, v3.0 for LeRobot's own trainers.
DatasetLayout = Literal["v2.1", "v3.0"]


@dataclass(frozen=True)
class Problem:
    """A check that failed; code is its key in CHECKS, path is relative to the dataset, remedy is what to do.

    episode, camera: where the check says them apart from the message.
    """

    code: str
    severity: Severity
    path: Path | None
    message: str
    remedy: str
    episode: int | None = None
    camera: str | None = None

    @classmethod
    def of(
        cls,
        code: str,
        path: str | Path | None,
        message: str,
        checks: Mapping[str, Check] = CHECKS,
        **values: object,
    ) -> "Problem":
        """A check that failed, its message fit for one line of a terminal; values: what its remedy names in braces."""
        check, text = checks[code], printable(message)
        if len(text) > MAX_MESSAGE:
            text = text[:MAX_MESSAGE] + " ..."
        return cls(code, check.severity, None if path is None else Path(path), text, check.remedy.format(**values))

    def __str__(self) -> str:
        where = "" if self.path is None else f"{printable(self.path.as_posix())}: "
        return f"{self.severity:7}  {self.code}  {where}{self.message}"


@dataclass(frozen=True)
class Judgement:
    """Every problem of a dataset or a run."""

    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What makes it invalid."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What works, but is probably a mistake."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What is worth knowing, and no mistake."""
        return self._of("note")

    @property
    def is_valid(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def _of(self, severity: Severity) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == severity)

    @property
    def counts(self) -> str:
        """ "3 errors, 1 warning"; empty where nothing is wrong."""
        found = {"error": self.errors, "warning": self.warnings, "note": self.notes}
        return ", ".join(format_count(len(problems), noun) for noun, problems in found.items() if problems)

    def lines(self, limit_per_code: int = 5) -> Iterator[str]:
        """A line for each problem, errors first, the first few of each code, and what to do about it."""
        alike: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in (*self.errors, *self.warnings, *self.notes):
            alike[problem.code, problem.remedy].append(problem)
        for (code, remedy), problems in alike.items():
            yield from map(str, problems[:limit_per_code])
            if len(problems) > limit_per_code:
                yield f"{problems[0].severity:7}  {code}  and {len(problems) - limit_per_code} more of this kind"
            if problems[0].severity != "note":
                yield f"{'':7}  {remedy}"


@dataclass(frozen=True)
class Report(Judgement):
    """Every problem of a dataset. num_frames: as its metadata counts them. layout: what it was judged as."""

    num_episodes: int
    num_frames: int
    num_checks: int
    layout: DatasetLayout = "v2.1"

    @property
    def verdict(self) -> str:
        """The last line: "valid: 8 episodes, 1280 frames, 74 checks"."""
        if not self.is_valid:
            return f"invalid: {self.counts}"
        sizes = f"{format_count(self.num_episodes, 'episode')}, {self.num_frames} frames, {self.num_checks} checks"
        if self.layout != "v2.1":
            sizes = f"LeRobot {self.layout}, {sizes}"
        return ", ".join(filter(None, (f"valid: {sizes}", self.counts)))


def to_json(report: Report) -> str:
    """All of it as JSON, ASCII only."""
    sizes = {name: getattr(report, name) for name in ("layout", "num_episodes", "num_frames", "num_checks")}
    problems = [asdict(problem) for problem in report.problems]
    return json.dumps(
        {"is_valid": report.is_valid, **sizes, "problems": problems}, default=str, indent=2, allow_nan=False
    )


def format_report(report: Report) -> str:
    """The report as the command line prints it; the verdict comes last."""
    return "\n".join([*report.lines(), report.verdict])
