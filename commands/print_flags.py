"""Flags for what a command prints."""

from dataclasses import dataclass

from millrace.train.flag_types import Flag


@dataclass(frozen=True, kw_only=True)
class PrintFlags:
    """How results and errors are printed."""

    json: Flag = False
    """Print JSON instead of text; an error, too."""
    debug: Flag = False
    """Show tracebacks."""
