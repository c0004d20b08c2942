"""A JSON lines file in memory, as many bytes as on the disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class JsonLines:
    """The values of a JSON lines file without blank lines, each parsed when it is asked for.

    As Python objects they take five to ten times the bytes of the file, in each process that has them.
    """

    def __init__(self, path: Path) -> None:
        self._text = path.read_bytes()
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n")) + 1
        last = [len(self._text)] if self._text and not self._text.endswith(b"\n") else []
        self._bounds = np.concatenate([[0], ends, last]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, line: int) -> Any:
        """The value of a line, counted from 0.

        Raises:
            IndexError: there is no such line.
        """
        if not 0 <= line < len(self):
            raise IndexError(f"line {line} of {len(self)}")
        return json.loads(self._text[self._bounds[line] : self._bounds[line + 1]])

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(len(self)))
