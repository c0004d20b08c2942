"""Read the JSON of a recording piece by piece: each value at its top, and of its rows one after the other.

The standard library parses every piece in a window of text that is as long as the longest piece, so that memory does
not grow with the file.
"""

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TextIO

from millrace.engine.sources.damage import TooLarge
from millrace.engine.sources.thrift import Malformed

ROWS = "data"
BLOCK_CHARS = 1 << 18
# Of a row, or of what stands beside the rows; a row of 57 numbers takes 5 KB, one with tactile arrays some 100 KB.
MAX_PIECE_CHARS = 8 << 20
# A row with all its states and actions is looked for at the end of a file.
TAIL_BYTES = 1 << 17
MAX_CANDIDATES = 8

DECODER = json.JSONDecoder()
SPACE = re.compile(r"[ \t\n\r]*")
# What a text ends with that goes on: nothing, or the first characters of a number, a word or an escape.
OPEN_END = re.compile(r"[-+.\\\w]{0,32}")
ROW_START = re.compile(r'\{\s*"idx"\s*:\s*\d')
ROWS_END = re.compile(r"\s*\]\s*")


class CutShort(ValueError):
    """The text ends before its JSON does."""


def read_pieces(path: Path) -> Generator[tuple[str, object], None, None]:
    """Yield key and value of each entry of the object in a file, in order; of "data" a row at a time.

    Raises:
        CutShort: the file ends before the object does.
        Malformed: it holds something else.
        TooLarge: a value is longer than MAX_PIECE_CHARS.
        OSError: it cannot be read.
    """
    # Bytes that are no UTF-8 are an error where they matter, and no reason to lose the rest.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        text = _Window(file)
        text.take("{")
        is_end = text.peek() == "}"
        while not is_end:
            key = text.take_value()
            if not isinstance(key, str):
                raise Malformed(f"an entry is called {str(key)[:40]}, which is no text")
            text.take(":")
            if key == ROWS:
                yield from ((key, row) for row in _read_rows(text))
            else:
                yield key, text.take_value()
            is_end = text.take(",}") == "}"


def read_last_row(path: Path) -> object:
    """The last row of a file whose rows end as they should; None where only all of them would tell."""
    with path.open("rb") as file:
        num_bytes = file.seek(0, 2)
        file.seek(max(0, num_bytes - TAIL_BYTES))
        tail = file.read(TAIL_BYTES).decode("utf-8", "surrogateescape")
    starts = [found.start() for found in ROW_START.finditer(tail)]
    for start in starts[: -MAX_CANDIDATES - 1 : -1]:
        try:
            row, stop = DECODER.raw_decode(tail, start)
            rows_end = ROWS_END.match(tail, stop)
            is_whole = rows_end is not None and isinstance(json.loads('{"":0' + tail[rows_end.end() :]), dict)
        except (ValueError, RecursionError):
            continue
        if is_whole and isinstance(row, dict) and {"states", "actions"} <= row.keys():
            return row
    return None


def _read_rows(text: "_Window") -> Iterator[object]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.take_value()
        if text.take(",]") == "]":
            return


class _Window:
    """The text of a file from the next character on, as far as it was read."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._place = file, "", 0
        self._num_before = 0  # characters that are not in the window any more

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            spaces = SPACE.match(self._text, self._place)
            self._place = spaces.end() if spaces else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            self._read_on()

    def take(self, chars: str) -> str:
        """The next character that is no space, which must be one of `chars`."""
        char = self.peek()
        if char not in chars:
            raise Malformed(f"{char!r} at character {self._num_before + self._place}, expected {' or '.join(chars)}")
        self._place += 1
        return char

    def take_value(self) -> object:
        """The next value."""
        self.peek()
        while True:
            try:
                value, stop = DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string") or OPEN_END.fullmatch(self._text, error.pos)
                if not is_open:
                    raise Malformed(f"{error.msg} at character {self._num_before + error.pos}") from error
            except RecursionError as error:
                raise Malformed(f"nested too deeply from character {self._num_before + self._place} on") from error
            except ValueError as error:  # a number of thousands of digits
                raise Malformed(str(error)) from error
            else:
                if stop < len(self._text) or not isinstance(value, (int, float)):
                    self._place = stop
                    return value
            self._read_on()

    def _read_on(self) -> None:
        rest = self._text[self._place :]
        if len(rest) > MAX_PIECE_CHARS:
            where = f"the value at character {self._num_before + self._place}"
            raise TooLarge(f"{where} is longer than {MAX_PIECE_CHARS} characters", expected=MAX_PIECE_CHARS)
        more = self._file.read(max(BLOCK_CHARS, len(rest)))
        if not more:
            raise CutShort("its end is missing")
        self._num_before += self._place
        self._text, self._place = rest + more, 0
