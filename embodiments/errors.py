"""Error types; a message is one line that says where, what, and what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from millrace.embodiments.messages import Message

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


def list_facts(facts: Facts) -> dict[str, Any]:
    """Facts as JSON can hold them; numbers that are not finite, and whatever JSON lacks, become texts."""
    return {name: _plain(fact) for name, fact in facts.given.items()}


def _plain(fact: object) -> object:
    if isinstance(fact, list | tuple):
        return [_plain(part) for part in fact]
    is_plain = isinstance(fact, bool | int | str) or (isinstance(fact, float) and isfinite(fact))
    return fact if is_plain else str(fact)


class MillraceError(Exception):
    """A failure that the user can fix; one line of text, and the command's exit code.

    message: the text, which names settings as Python's arguments; see `render` for other ways to write them.
    facts: what it is about.

    Args:
        parts: Texts, settings and remedies that make the message, and errors, whose message and facts it takes over.
        facts: See `Facts`.
    """

    exit_code = 1  # the user's data

    def __init__(self, *parts: object, **facts: Any) -> None:
        self.message: str = Message(*parts)
        super().__init__(self.message)
        self.facts = Facts(**facts)
        for part in parts:
            if isinstance(part, MillraceError):
                self.about(part.facts)

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """With what its causes know, which a pickle, as workers of Ray send it, leaves behind."""
        return type(self), self.args, {**self.__dict__, "facts": collect_facts(self)}

    @property
    def lines(self) -> list[str]:
        """The message of each problem."""
        return [self.message]

    @property
    def remedy(self) -> str:
        """What to do; empty where the message does not say that."""
        return self.message.remedy if isinstance(self.message, Message) else ""

    def about(self: Error, others: Facts = Facts(), **facts: Any) -> Error:
        """The error itself with facts, and with those of another error; what it has already stays."""
        self.facts = Facts(**{**others.given, **facts, **self.facts.given})
        return self


def error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__


def collect_facts(error: BaseException) -> Facts:
    """What is known of an error and its causes; what the outer say holds."""
    collected = MillraceError()
    for one in error_chain(error):
        if isinstance(one, MillraceError):
            collected.about(one.facts)
    return collected.facts


class RobotError(MillraceError):
    """A robot file is wrong."""

    exit_code = 2  # a wrong command line, map, recipe or robot file


class MapError(MillraceError):
    """A map file is wrong, or does not fit its robots."""

    exit_code = 2


class RuleError(MapError):
    """A rule that replaces one of a map's is wrong; key is its path in the map, as groups, left_arm, copy."""

    def __init__(self, key: tuple[str | int, ...], *parts: object, **facts: Any) -> None:
        super().__init__(*parts, **facts)
        self.key = key


class UnknownName(MillraceError):
    """A name that does not exist."""

    exit_code = 2


class JointMismatch(MillraceError):
    """The dataset's joint names do not fit the robot."""


class WrongField(MillraceError, ValueError):
    """One field of a file is wrong; key is its path within the part that the validator checks.

    Validators raise it; `parse_yaml` turns it into an error that cites file and line.
    """

    def __init__(self, key: tuple[str | int, ...], *parts: object, **facts: Any) -> None:
        super().__init__(*parts, **facts)
        self.key = key

    def prefix_key(self, *prefix: str | int) -> "WrongField":
        """The same error, its key below a prefix."""
        return WrongField((*prefix, *self.key), self)


def unknown_name(name: str, kind: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that does not exist, with the nearest one that does.

    >>> print(unknown_name("left_hnd", "joint group of 'gr1'", ["left_arm", "left_hand"]))
    'left_hnd' is not a joint group of 'gr1'. Did you mean 'left_hand'? Known: left_arm, left_hand
    """
    names = list(known)
    hint = "".join(f" Did you mean {near!r}?" for near in get_close_matches(name, names, n=1))
    text = f"{name!r} is not a {kind}.{hint} Known: {', '.join(names) or 'none'}"
    return UnknownName(text, got=name, known=tuple(names))


def check_name(name: str, kind: str, known: Iterable[str], *, key: tuple[str | int, ...]) -> None:
    """Raise WrongField at key unless the name is known."""
    names = list(known)
    if name not in names:
        raise WrongField(key, unknown_name(name, kind, names))
