"""Results as they come in, one JSON line each, and the recipe that they belong to.

Records stay on disk: of 100,000 episodes the driver keeps only where each line begins.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import OtherRecipe
from engine.layout import LEDGER
from engine.plan import ConversionPlan, EpisodePlan
from engine.record import RESULT, EpisodeFailure, EpisodeRecord, EpisodeResult
from engine.video.encode import library_versions

PART = "part of the episodes"
MAPS = "content of the map's and its robots' files"


class Ledger:
    """The append-only file OUT/.millrace/ledger.jsonl; its first line is the recipe."""

    def __init__(self, out: Path, plan: ConversionPlan) -> None:
        """Continue the ledger of `out`, or begin it.

        Raises:
            OtherRecipe: it was begun with other settings or another map, or is damaged.
        """
        path = out / LEDGER
        path.parent.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._places: dict[int, int] = {}
        self._digests = {episode.index: episode.digest for episode in plan.episodes}
        self._file = path.open("a+b")
        try:
            self._begin_or_continue(_header(plan))
        except BaseException:
            self._file.close()
            raise

    def _begin_or_continue(self, header: dict[str, Any]) -> None:
        self._file.seek(0)
        begun = self._file.readline()
        if begun.endswith(b"\n"):
            _check_same(begun, header, self.out)
            self._find_records()
        else:
            self._file.truncate(0)
            self._write(json.dumps(header).encode())

    def _find_records(self) -> None:
        """Take in the records of an earlier run; a last line cut short is dropped."""
        place = self._file.tell()
        for line in iter(self._file.readline, b""):
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            result = _parse(line)
            if isinstance(result, EpisodeRecord) and self._still_holds(result):
                self._places[result.index] = place
            place += len(line)

    def _still_holds(self, record: EpisodeRecord) -> bool:
        """Whether the record is of the episode as it is planned now, and its files are there."""
        if self._digests.get(record.index) != record.plan:
            return False
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

    def __contains__(self, episode: EpisodePlan) -> bool:
        """Whether an episode is done."""
        return episode.index in self._places

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


def _header(plan: ConversionPlan) -> dict[str, Any]:
    """What the output's bytes depend on beside the sources' files; maps and robots may be files that are edited."""
    maps = [binding.map.digest for binding in plan.job.bindings]
    return {**plan.recipe.model_dump(mode="json"), PART: plan.part, MAPS: maps, "libraries": library_versions()}


def _parse(line: bytes) -> EpisodeRecord | EpisodeFailure | None:
    try:
        return RESULT.validate_json(line)
    except ValidationError:
        return None


def _check_same(begun: bytes, header: dict[str, Any], out: Path) -> None:
    advice = "Choose another folder, or pass --overwrite to start anew"
    try:
        before = json.loads(begun)
    except ValueError:
        before = None
    if not isinstance(before, dict) or not before.keys() >= header.keys():
        raise OtherRecipe(f"{out}/{LEDGER} is damaged, so it cannot be continued. {advice}")
    keys = [key for key in header if before[key] != header[key]]
    changed = [f"{key}={_brief(before[key])}, not {_brief(header[key])}" for key in keys]
    if changed:
        raise OtherRecipe(f"{out} was begun with {'; '.join(changed)}. {advice}")


def _brief(value: object) -> str:
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)
