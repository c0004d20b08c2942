"""Types of flags, which commands and the settings of training share."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import arg

Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], arg(help_behavior_hint="")]
"""A switch, off unless named: --deep, without --no-deep."""


def option(metavar: str) -> object:
    """An optional flag; its help says in words what the default is, not "(default: None)"."""
    return arg(metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True)
class Bare:
    """Marks a flag that may be named without a value, which then means this one: --strict as --strict warning."""

    value: str
