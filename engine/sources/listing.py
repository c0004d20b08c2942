"""The episodes that a dataset's metadata lists. A wrong line affects its own episode only."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from millrace.embodiments import Message, MillraceError, Remedy
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.sources.episode import MAX_FRAMES, BadEpisode, SourceFault

Line = TypeVar("Line")

# Numbers are stored in 64 bits.
MAX_INDEX = (1 << 63) - 1
# Of episodes that no readable line lists, those that are named.
MAX_NAMED = 100_000


class EpisodeList(Generic[Line]):
    """Lines by the number of their episode, and what is wrong with the others."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._places: dict[int, str] = {}
        self._twice: dict[int, list[str]] = {}
        self._bad: dict[int, SourceFault] = {}
        self._unnumbered: list[tuple[int, SourceFault]] = []
        self._lost: list[SourceFault] = []  # files of lines
        self._last = -1

    @property
    def is_empty(self) -> bool:
        """Whether no line was read."""
        return not (self._lines or self._bad or self._unnumbered)

    def add(self, index: int, line: Line, *, place: str) -> None:
        """Add a line; an equal line that is there already is added once.

        Args:
            index: Its episode.
            line: What it says; compared by ==.
            place: Where it stands, for messages.
        """
        self._last = index
        if index in self._lines and self._lines[index] != line:
            self._twice.setdefault(index, [self._places[index]]).append(place)
        elif index not in self._lines:
            self._lines[index], self._places[index] = line, place

    def reject(self, index: int | None, error: MillraceError) -> None:
        """Add a line that describes no episode; index None: its number is unknown, too."""
        fault = SourceFault(FaultCode.METADATA, error.message, facts=error.facts)
        if index is None:
            self._unnumbered.append((self._last + 1, fault))
            self._last += 1
        else:
            self._bad.setdefault(index, fault)
            self._last = index

    def add_lost_file(self, reason: str, code: FaultCode) -> None:
        """Add a file of the list that cannot be read."""
        self._lost.append(SourceFault(code, reason))

    def valid_lines(self) -> list[tuple[int, Line]]:
        """Every episode that one line describes, in the order of their numbers."""
        not_sound = self._twice.keys() | self._bad.keys()
        return [(index, self._lines[index]) for index in sorted(self._lines) if index not in not_sound]

    def bad_episodes(self, num_claimed: int | None = None) -> tuple[BadEpisode, ...]:
        """Every other episode, in the order of their numbers.

        Args:
            num_claimed: How many episodes the metadata says there are, to name those that lost files list.
        """
        found = dict(self._bad)
        for index, places in self._twice.items():
            reason = f"{' and '.join(places)} list the episode with different values; "
            reason = Message(reason, Remedy("remove the wrong ones"))
            found[index] = SourceFault(FaultCode.METADATA, reason)
        free = self._free(found)
        for guess, fault in self._unnumbered:
            index = guess if self._is_free(guess, found) else next(free)
            reason = Message(fault.reason, f"; by its place in the list it is episode {index}")
            found[index] = replace(fault, reason=reason)
        if self._lost:
            found.update(self._listed_in_lost_files(found, num_claimed))
        return tuple(BadEpisode(index, found[index]) for index in sorted(found))

    def _listed_in_lost_files(self, found: dict[int, SourceFault], num_claimed: int | None) -> dict[int, SourceFault]:
        code, reason = self._lost[0].code, "; ".join(fault.reason for fault in self._lost)
        num_lost = (num_claimed or 0) - len(self._lines) - len(found)
        if not 0 < num_lost <= MAX_NAMED:
            after_all = max((*self._lines, *found), default=-1) + 1
            return {after_all: SourceFault(code, f"{reason}; how many episodes it lists is not known")}
        fault = SourceFault(code, f"{reason}; no other file lists the episode")
        return dict.fromkeys(islice(self._free(found), num_lost), fault)

    def _is_free(self, index: int, found: dict[int, SourceFault]) -> bool:
        return index not in self._lines and index not in found

    def _free(self, found: dict[int, SourceFault]) -> Iterator[int]:
        """Numbers that no line has."""
        index = 0
        while True:
            if self._is_free(index, found):
                yield index
            index += 1


def read_number(line: object) -> int | None:
    """The episode's number in a line that may be malformed."""
    number = line.get("episode_index") if isinstance(line, dict) else None
    return number if isinstance(number, int) and 0 <= number <= MAX_INDEX else None


def check_length(length: object, *, where: Path | str) -> None:
    """Check an episode's number of frames.

    Raises:
        RowsError: no episode can have it.
    """
    if not (isinstance(length, int) and 0 < length <= MAX_FRAMES):
        message = f"{where}: length is {length!r}, expected 1 to {MAX_FRAMES} frames"
        file = where if isinstance(where, Path) else None
        raise RowsError(message, code=FaultCode.ROW_COUNT, file=file, got=length, expected=f"1 to {MAX_FRAMES}")
