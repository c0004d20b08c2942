"""Error types; a message is one line that says where, what, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class MillraceError(Exception):
    """A failure that the user can fix; one line of text, and the command's exit code."""

    exit_code = 1  # the user's data


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
    return UnknownName(f"{name!r} is not a {kind}.{hint} Known: {', '.join(names) or 'none'}")


def check_name(name: str, kind: str, known: Iterable[str], *, key: tuple[str | int, ...]) -> None:
    """Raise WrongField at key unless the name is known."""
    names = list(known)
    if name not in names:
        raise WrongField(key, str(unknown_name(name, kind, names)))
