"""Columns of the sources that are neither state nor action, and go to the output as they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from millrace.engine.dataset.language_rows import EVENTS
from millrace.engine.text import join_names

# What a kept frame has of the source frames that it stands for: itself and all before the next kept one.
Rule = Literal["kept", "any", "max", "sum", "all"]
RULES: Mapping[Rule, str] = {
    "kept": "the kept one's value",
    "any": "true where any is",
    "max": "the largest value",
    "sum": "the sum",
    "all": "what any of them says",
}
TEXT, TRUTH = "string", "bool"
SUBTASK = "subtask_index"


@dataclass(frozen=True)
class CarriedColumn:
    """A column of the output that all sources have alike; rule: how it is resampled.

    dtype: as info.json names it. num_values: of a row. names: of these.
    """

    name: str
    dtype: str
    num_values: int
    names: tuple[str, ...] | None
    rule: Rule

    @property
    def is_number(self) -> bool:
        """Whether it has statistics: numbers, truth values among them."""
        return self.dtype != TEXT

    @property
    def is_float(self) -> bool:
        """Whether GR00T makes statistics of it."""
        return "float" in self.dtype

    @property
    def feature(self) -> dict[str, object]:
        """Its entry in info.json."""
        return {"dtype": self.dtype, "shape": [self.num_values], "names": self.names and list(self.names)}


@dataclass(frozen=True)
class LeftOut:
    """A column of a source that the output does not have, and why."""

    source: str
    name: str
    reason: str


@dataclass(frozen=True)
class Carried:
    """columns: of the output, in the order of the first source. left_out: those of sources that it does not have.

    subtasks: texts of the output's column subtask_index, in the order of their numbers; none where it has no list.
    tools: that its language columns may call, each as JSON.
    """

    columns: tuple[CarriedColumn, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    subtasks: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def number_subtasks(self, texts: Mapping[int, str]) -> dict[int, int]:
        """The output's number of each subtask of a source; empty where the output lists none."""
        numbers = {text: number for number, text in enumerate(self.subtasks)}
        return {index: numbers[text] for index, text in sorted(texts.items()) if text in numbers}


def carried_notes(carried: Carried, *, is_resampled: bool) -> Iterator[str]:
    """What the user should know: how columns are resampled, and which are left out."""
    if carried.columns and is_resampled:
        by_rule = [
            f"{RULES[rule]} for {join_names([repr(name) for name in names], 20)}"
            for rule in RULES
            if (names := [column.name for column in carried.columns if column.rule == rule])
        ]
        yield f"columns carried, of the source frames that each kept frame stands for: {'; '.join(by_rule)}"
    elif carried.columns:
        yield f"columns carried as they are: {join_names([repr(name) for name in carried.names], 20)}"
    if EVENTS in carried.names:
        yield f"places in pictures that '{EVENTS}' names, such as boxes, stay those of the source's pictures"
    grouped: dict[tuple[str, str], list[str]] = {}
    for left in carried.left_out:
        grouped.setdefault((left.source, left.reason), []).append(repr(left.name))
    for (source, reason), names in grouped.items():
        what = f"column {names[0]} is" if len(names) == 1 else f"columns {', '.join(names)} are"
        yield f"{source}: {what} left out: {'it' if len(names) == 1 else 'each'} {reason}"
