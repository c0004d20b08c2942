"""What the commands' flags share."""

from typing import Annotated

import tyro
from tyro.conf import arg

Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], arg(help_behavior_hint="")]
"""A switch, off unless named: --deep, without --no-deep."""


def option(metavar: str) -> object:
    """A flag that may be left out; help says in words what it then means, not "(default: None)"."""
    return arg(metavar=metavar, help_behavior_hint="")
