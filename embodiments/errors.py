"""Error types; a message is one line that says where, what, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

Error = TypeVar("Error", bound="MillraceError")


@dataclass(frozen=True)
class Facts:
    """What an error is about, for programs; each where it is known.

    dataset: as the user names it. file: a file or folder. line: of that file, from 1. known: names that exist.
    """

    dataset: str | None = None
    episode: int | None = None
    camera: str | None = None
    file: Path | None = None
    line: int | None = None
    got: object = None
    expected: object = None
    known: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What is known, by name."""
        return {name: fact for name, fact in vars(self).items() if fact is not None and fact != ()}


class MillraceError(Exception):
    """A failure that the user can fix; one line of text, and the command's exit code.

    facts: what it is about. str() of it names settings as Python's arguments; `message` is for other ways to write
    them (see `render`).
    """

    exit_code = 1  # the user's data
    facts = Facts()

    @property
    def message(self) -> str:
        """The text, a Message where it names settings."""
        text = next(iter(self.args), "")
        return text if isinstance(text, str) else str(text)

    @property
    def lines(self) -> list[str]:
        """The message of each problem."""
        return [self.message]

    def about(self: Error, others: Facts = Facts(), **facts: Any) -> Error:
        """The error itself with facts, and with those of another error; what it has already stays."""
        self.facts = Facts(**{**others.given, **facts, **self.facts.given})
        return self


class RobotError(MillraceError):
    """A robot file is wrong."""

    exit_code = 2  # a wrong command line, map, recipe or robot file


class MapError(MillraceError):
    """A map file is wrong, or does not fit its robots."""

    exit_code = 2


class RuleError(MapError):
    """A rule that replaces one of a map's is wrong; key is its path in the map, as groups, left_arm, copy."""

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.key = key


class UnknownName(MillraceError):
    """A name that does not exist."""

    exit_code = 2


class JointMismatch(MillraceError):
    """The dataset's joint names do not fit the robot."""


class WrongField(ValueError):
    """One field of a file is wrong; key is its path within the part that the validator checks.

    Validators raise it; `parse_yaml` turns it into an error that cites file and line.
    """

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.key = key

    def prefix_key(self, *prefix: str | int) -> "WrongField":
        """The same error, its key below a prefix."""
        return WrongField((*prefix, *self.key), str(self))


def unknown_name(name: str, kind: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that does not exist, with the nearest one that does.

    >>> print(unknown_name("left_hnd", "joint group of 'gr1'", ["left_arm", "left_hand"]))
    'left_hnd' is not a joint group of 'gr1'. Did you mean 'left_hand'? Known: left_arm, left_hand
    """
    names = list(known)
    hint = "".join(f" Did you mean {near!r}?" for near in get_close_matches(name, names, n=1))
    error = UnknownName(f"{name!r} is not a {kind}.{hint} Known: {', '.join(names) or 'none'}")
    return error.about(got=name, known=tuple(names))


def check_name(name: str, kind: str, known: Iterable[str], *, key: tuple[str | int, ...]) -> None:
    """Raise WrongField at key unless the name is known."""
    names = list(known)
    if name not in names:
        raise WrongField(key, str(unknown_name(name, kind, names)))
