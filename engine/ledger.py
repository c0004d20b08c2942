"""Results as they come in, one JSON line each, and the recipe that they belong to.

Records stay on disk: of 100,000 episodes the driver keeps only where each line begins.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from engine.errors import OtherRecipe
from engine.layout import LEDGER
from engine.recipe import Recipe
from engine.record import RESULT, EpisodeFailure, EpisodeRecord, EpisodeResult


class Ledger:
    """The append-only file OUT/.millrace/ledger.jsonl; its first line is the recipe."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        """Continue the ledger of `out`, or begin it.

        Raises:
            OtherRecipe: it was begun with other settings.
        """
        path = out / LEDGER
        path.parent.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._places: dict[int, int] = {}
        self._file = path.open("a+b")
        header = json.dumps({"recipe": recipe.model_dump(mode="json")}).encode()
        self._file.seek(0)
        begun = self._file.readline()
        if begun.endswith(b"\n"):
            _check_same_recipe(json.loads(begun), json.loads(header), out)
            self._find_records()
        else:
            self._file.truncate(0)
            self._write(header)

    def _find_records(self) -> None:
        """Take in the records of an earlier run; a last line cut short is dropped."""
        place = self._file.tell()
        for line in iter(self._file.readline, b""):
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            result = _parse(line)
            if isinstance(result, EpisodeRecord) and self._is_there(result):
                self._places[result.index] = place
            place += len(line)

    def _is_there(self, record: EpisodeRecord) -> bool:
        files = [(self.out / file.path, file.num_bytes) for file in record.files]
        return all(path.is_file() and path.stat().st_size == num_bytes for path, num_bytes in files)

    def append(self, result: EpisodeResult) -> None:
        """Write one result; the operating system has it when this returns."""
        place = self._write(result.model_dump_json().encode())
        if isinstance(result, EpisodeRecord):
            self._places[result.index] = place

    def _write(self, line: bytes) -> int:
        place = self._file.seek(0, 2)
        self._file.write(line + b"\n")
        self._file.flush()
        return place

    def __contains__(self, index: int) -> bool:
        """Whether output episode `index` is done."""
        return index in self._places

    def records(self) -> Iterator[EpisodeRecord]:
        """The finished episodes in order of their number, read from disk."""
        for index in sorted(self._places):
            self._file.seek(self._places[index])
            record = _parse(self._file.readline())
            assert isinstance(record, EpisodeRecord), "places hold records only"
            yield record

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _parse(line: bytes) -> EpisodeRecord | EpisodeFailure | None:
    try:
        return RESULT.validate_json(line)
    except ValidationError:
        return None


def _check_same_recipe(begun: dict[str, dict[str, object]], ours: dict[str, dict[str, object]], out: Path) -> None:
    before, now = begun["recipe"], ours["recipe"]
    changed = [f"{key}={before.get(key)}, not {now.get(key)}" for key in now if before.get(key) != now.get(key)]
    if changed:
        raise OtherRecipe(
            f"{out} was begun with {'; '.join(changed)}. Choose another folder, or pass --overwrite to start anew"
        )
