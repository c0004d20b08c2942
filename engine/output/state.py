"""What an earlier run left in an output folder, before a plan is held against it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from millrace.engine.layout import LEDGER, META
from millrace.engine.output.header import BACKENDS, SHIFTS, SOURCES, SPLIT
from millrace.engine.planning.action_shift import MAX_SHIFT
from millrace.engine.sources.location import HUB, parse_hub_id
from millrace.engine.stored import finished_files
from millrace.engine.video.backends import CPU_BACKENDS, Backends

Progress = Literal["fresh", "unfinished", "finished"]


@dataclass(frozen=True)
class OutputState:
    """The state of an output folder.

    progress: "finished" once meta/ is there. backends: those it was created with. split: the split that it holds; None
    for all episodes. commits: of the datasets on the Hub that were read, as sources of a recipe, by repository. shifts:
    of actions in frames, by place of the source. All but the folder are empty where there was no run.
    """

    folder: Path
    progress: Progress = "fresh"
    backends: Backends | None = None
    split: object = None
    commits: Mapping[str, Path] = field(default_factory=dict)
    shifts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "OutputState":
        """Read a folder's state from its ledger's first line; a damaged one counts as none until a plan meets it."""
        finished_files(folder).refresh()
        if not (folder / LEDGER).is_file():
            return cls(folder)
        progress: Progress = "finished" if (folder / META).is_dir() else "unfinished"
        header = _read_header(folder)
        return cls(folder, progress, _backends(header), header.get(SPLIT), _commits(header), _shifts(header))


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        with (folder / LEDGER).open("rb") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def _backends(header: Mapping[str, Any]) -> Backends | None:
    try:
        return Backends.model_validate(header.get(BACKENDS, CPU_BACKENDS)) if header else None
    except ValueError:
        return None


def _commits(header: Mapping[str, Any]) -> dict[str, Path]:
    sources = header.get(SOURCES)
    paths = [source.get("path") for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    ids = [parse_hub_id(path) for path in paths if isinstance(path, str) and not Path(path).is_absolute()]
    return {hub_id.repo: Path(f"{HUB}{hub_id}") for hub_id in ids if hub_id is not None and hub_id.revision is not None}


def _shifts(header: Mapping[str, Any]) -> dict[int, int]:
    shifts = header.get(SHIFTS)
    numbered = enumerate(shifts if isinstance(shifts, list) else ())
    return {number: shift for number, shift in numbered if isinstance(shift, int) and abs(shift) <= MAX_SHIFT}
