"""Quality as steps of a recipe, its settings: which still stretches of episodes are cut, and what counts as still."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from millrace.embodiments import Remedy
from millrace.embodiments.errors import WrongField
from millrace.engine.fps import exact_number, show_value

OFF = "none"
MAX_SECONDS = 3600
_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_DURATION = re.compile(rf"({_NUMBER})\s*(s|ms)?", re.ASCII)


def parse_seconds(value: object) -> Fraction:
    """Seconds from 0.2, "0.2", "0.2s" or "200ms".

    Raises:
        ValueError: it is none of these, or more than an hour.
    """
    seconds = _read_seconds(value)
    if seconds is None or seconds < 0:
        raise ValueError(f"takes a duration such as 0.2s, not {show_value(value)}")
    if seconds > MAX_SECONDS:
        raise ValueError(f"takes at most {MAX_SECONDS} s, not {show_value(value)}")
    return seconds


def _read_seconds(value: object) -> Fraction | None:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        number = (
            exact_number(value) if found is None and not isinstance(value, str) else found and exact_number(found[1])
        )
    except ValueError:
        return None
    return number / 1000 if number is not None and found is not None and found[2] == "ms" else number


def write_seconds(seconds: Fraction) -> str:
    """As a recipe's file has them, with every digit: 0.2s."""
    return f"{np.format_float_positional(float(seconds), trim='-')}s"


_Duration = float | Annotated[str, Field(pattern=rf"^({_NUMBER})\s*(s|ms)?$")]
Seconds = Annotated[
    Fraction,
    BeforeValidator(parse_seconds, json_schema_input_type=_Duration),
    PlainSerializer(write_seconds, return_type=str, when_used="json"),
]


class TrimIdle(BaseModel):
    """Cut the still stretches at the start (lead) and at the end (tail) of each episode.

    keep: how much of each stays, next to the motion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead: bool = True
    tail: bool = True
    keep: Seconds = Fraction(1, 5)

    @model_validator(mode="after")
    def _cuts_something(self) -> "TrimIdle":
        if not (self.lead or self.tail):
            raise WrongField((), "neither lead nor tail is cut; ", Remedy("leave trim_idle out"))
        return self


class DropPauses(BaseModel):
    """Cut still stretches within each episode that are longer than so many seconds.

    keep: how much of each stays, half at its start and half at its end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    longer_than: Seconds
    keep: Seconds = Fraction(1, 5)

    @model_validator(mode="after")
    def _cuts_something(self) -> "DropPauses":
        if not self.longer_than > 0 or not self.keep < self.longer_than:
            got = f"keep {write_seconds(self.keep)} and longer_than {write_seconds(self.longer_than)}"
            raise WrongField((), f"longer_than must be more than 0 s and than keep, got {got}", got=got)
        return self


def _read_trim(value: object) -> object:
    """true stands for the defaults, false for none."""
    return {} if value is True else OFF if value is False else value


def _read_pauses(value: object) -> object:
    """A duration alone is longer_than; false stands for none."""
    if value is False:
        return OFF
    is_duration = isinstance(value, int | float | Fraction) or (isinstance(value, str) and value != OFF)
    return {"longer_than": value} if is_duration and not isinstance(value, bool) else value


def _check_still(value: object) -> object:
    for name, width in value.items() if isinstance(value, Mapping) else ():
        if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
            raise WrongField((str(name),), f"takes a width above 0 in the group's unit, not {width!r}", got=width)
    return value


Off = Literal["none"]
TrimIdleField = Annotated[
    TrimIdle | Off | None, BeforeValidator(_read_trim, json_schema_input_type=TrimIdle | bool | Off)
]
DropPausesField = Annotated[
    DropPauses | Off | None,
    BeforeValidator(_read_pauses, json_schema_input_type=DropPauses | _Duration | Literal[False] | Off),
]
Still = Annotated[dict[str, float], BeforeValidator(_check_still)]
