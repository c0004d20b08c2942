"""Which episodes a recipe leaves out by their length, their tasks and how the robot moves: the settings."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from millrace.embodiments import Remedy
from millrace.embodiments.errors import WrongField
from millrace.engine.fps import exact_number, show_value
from millrace.engine.planning.quality import OFF, Seconds

REGEX = "re:"


def _check_patterns(value: object) -> object:
    """A text or a list of texts; each a task, a pattern with * and ?, or re: with a regular expression."""
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(one, str) and one for one in patterns):
        raise ValueError(f"takes a task, or a list of tasks, not {value!r}")
    for pattern in patterns:
        if pattern.startswith(REGEX):
            try:
                re.compile(pattern.removeprefix(REGEX))
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return tuple(patterns)


def _check_share(value: object) -> object:
    """A share as a number, a fraction or percents."""
    percents = re.fullmatch(r"(.+)%", value.strip()) if isinstance(value, str) else None
    try:
        share = exact_number(percents[1]) / 100 if percents else exact_number(value)
    except ValueError:
        share = Fraction(-1)
    if not 0 <= share <= 1:
        got = show_value(value)
        raise ValueError(f"takes a share of the episode between 0 and 1, such as 0.5 or 50%, not {got}")
    return share


def _check_amounts(value: object) -> object:
    """One amount for every joint group, or one for each that is named."""
    for name, amount in value.items() if isinstance(value, Mapping) else [("", value)]:
        number = _read_number(amount)
        if number is None or not 0 < number < float("inf"):
            key = (str(name),) if name else ()
            raise WrongField(key, f"takes an amount above 0 in the joints' unit, not {amount!r}", got=amount)
    if isinstance(value, Mapping):
        return {str(name): _read_number(amount) for name, amount in value.items()}
    return _read_number(value)


def _read_number(value: object) -> float | None:
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


Patterns = Annotated[tuple[str, ...], BeforeValidator(_check_patterns, json_schema_input_type=str | list[str])]
IdleShare = Annotated[
    Fraction,
    BeforeValidator(_check_share, json_schema_input_type=float | str),
    PlainSerializer(str, return_type=str, when_used="json"),
]
Amounts = Annotated[float | dict[str, float], BeforeValidator(_check_amounts)]


class TaskFilter(BaseModel):
    """The tasks of the episodes to keep: those that are included, by default all, and not excluded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: Patterns = ()
    exclude: Patterns = ()


def _read_tasks(value: object) -> object:
    return {"include": value} if isinstance(value, (str, list, tuple)) else value


class EpisodeFilter(BaseModel):
    """Episodes to keep; the others are left out. All is measured on episodes as they were recorded.

    min_length, max_length: seconds. max_idle: share of an episode's frames in which the robot stands still for a second
    or longer. min_motion: how far at least one joint goes. max_jerk: the root mean square of any joint's jerk. Both by
    joint group, or one for all, in the joints' units (and per s³).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_length: Seconds | None = None
    max_length: Seconds | None = None
    max_idle: IdleShare | None = None
    min_motion: Amounts | None = None
    max_jerk: Amounts | None = None
    tasks: Annotated[
        TaskFilter | None,
        BeforeValidator(_read_tasks, json_schema_input_type=TaskFilter | str | list[str] | None),
    ] = None

    @model_validator(mode="after")
    def _leaves_something(self) -> "EpisodeFilter":
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            advice = Remedy("swap the two")
            problem = f"no episode is at least {float(self.min_length):g} s and at most {float(self.max_length):g} s; "
            raise WrongField(("min_length",), problem, advice, got=str(self.min_length))
        return self

    @property
    def needs_rows(self) -> bool:
        """Whether rows decide, and not metadata alone."""
        return any(one is not None for one in (self.max_idle, self.min_motion, self.max_jerk))


def _read_filter(value: object) -> object:
    """false stands for none."""
    value = OFF if value is False else value
    if value is None or value == OFF or isinstance(value, (Mapping, EpisodeFilter)):
        return value
    raise ValueError(f'takes keys such as min_length: 2s, or "{OFF}", not {value!r}')


Off = Literal["none"]
FilterField = Annotated[
    EpisodeFilter | Off | None,
    BeforeValidator(_read_filter, json_schema_input_type=EpisodeFilter | Literal[False] | Off | None),
]
