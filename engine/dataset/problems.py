"""What `validate` found, and how it is printed."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from millrace.engine.dataset.checks import CHECKS, Severity
from millrace.engine.dataset.remedies import REMEDIES
from millrace.engine.text import printable

MAX_MESSAGE = 600


@dataclass(frozen=True)
class Problem:
    """One broken promise; code is a key of CHECKS, path is relative to the dataset."""

    code: str
    severity: Severity
    path: Path | None
    message: str

    def __str__(self) -> str:
        where = "" if self.path is None else f"{printable(self.path.as_posix())}: "
        return f"{self.severity:7}  {self.code}  {where}{self.message}"


@dataclass(frozen=True)
class Report:
    """Every problem of a dataset. num_frames: as episodes.jsonl counts them."""

    problems: tuple[Problem, ...]
    num_episodes: int
    num_frames: int
    num_checks: int

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What makes the dataset invalid."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What readers get by with."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What is as it was meant."""
        return tuple(problem for problem in self.problems if problem.severity == "note")

    @property
    def is_valid(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """The last line: "valid: 8 episodes, 1280 frames, 74 checks"."""
        counts = [count(self.errors, "error"), count(self.warnings, "warning"), count(self.notes, "note")]
        found = ", ".join(counted for counted in counts if not counted.startswith("0 "))
        if not self.is_valid:
            return f"invalid: {found}"
        plural = "" if self.num_episodes == 1 else "s"
        sizes = f"{self.num_episodes} episode{plural}, {self.num_frames} frames, {self.num_checks} checks"
        return f"valid: {sizes}" + (f", {found}" if found else "")

    def lines(self, limit_per_code: int = 5) -> Iterator[str]:
        """A line for each problem, errors first, the first few of each code, and what to do about it."""
        by_code: dict[str, list[Problem]] = defaultdict(list)
        for problem in (*self.errors, *self.warnings, *self.notes):
            by_code[problem.code].append(problem)
        for code, problems in by_code.items():
            yield from map(str, problems[:limit_per_code])
            if len(problems) > limit_per_code:
                yield f"{problems[0].severity:7}  {code}  and {len(problems) - limit_per_code} more of this kind"
            if problems[0].severity != "note":
                yield f"{'':7}  {REMEDIES[code]}"


def to_json(report: Report) -> str:
    """All of it as JSON, ASCII only, each problem with its remedy."""
    problems = [{**asdict(found), "remedy": REMEDIES[found.code]} for found in report.problems]
    sizes = {name: getattr(report, name) for name in ("num_episodes", "num_frames", "num_checks")}
    return json.dumps({"is_valid": report.is_valid, **sizes, "problems": problems}, default=str, indent=2)


def problem(code: str, path: str | Path | None, message: str) -> Problem:
    """A problem of a known code, its message made fit for one line of a terminal."""
    text = printable(message)
    if len(text) > MAX_MESSAGE:
        text = text[:MAX_MESSAGE] + " ..."
    return Problem(code, CHECKS[code].severity, None if path is None else Path(path), text)


def format_report(report: Report, *, limit_per_code: int = 5) -> str:
    """The report as the command line prints it; the verdict comes last."""
    return "\n".join([*report.lines(limit_per_code), report.verdict])


def count(items: tuple[Problem, ...], noun: str) -> str:
    """ "3 errors", "1 error"."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
