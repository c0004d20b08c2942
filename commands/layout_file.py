"""Write the drafted layout of HDF5 files that no shipped layout fits, beside the drafted robot."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from millrace.engine.drafting.draft_layout import draft_layout
from millrace.engine.errors import OutputExists, RecipeError, UnknownLayout
from millrace.engine.sources import hdf5, open_source, why_unwritable
from millrace.engine.sources.hdf5.hdf5_survey import survey_file
from millrace.engine.text import join_names


@dataclass(frozen=True)
class LayoutFile:
    """A written layout. name: as a command names it. lines: what to tell the user."""

    name: str
    lines: Sequence[str]


def draft_layout_file(source: Path, robot: Path, format: str | None) -> LayoutFile | None:
    """Write a layout beside the robot's file; None where the source is no HDF5, or has a layout.

    Raises:
        DatasetError: no layout can be drafted; says why.
        RecipeError: the file cannot be written.
    """
    recording = _find_recording(source)
    if recording is None or format is not None or _has_layout(source):
        return None
    path = robot.with_name(f"{robot.stem}_hdf5.yaml")
    if path.exists():
        raise OutputExists(f"{path} exists, where the layout is to be written; name another file with --out")
    draft = draft_layout(survey_file(recording, recording.parent))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(draft.text)
    except OSError as error:
        raise RecipeError(f"{path} ", why_unwritable(path, error), file=path) from error
    lines = (f"wrote {path}: no shipped layout fits {recording}", f"could not tell: {join_names(draft.unknown)}")
    name = str(path) if path.parent != Path() else f"./{path}"
    return LayoutFile(name, lines)


def _find_recording(source: Path) -> Path | None:
    """The file, or the first of a folder."""
    if source.is_file():
        return source if source.suffix.lower() in hdf5.SUFFIXES else None
    return min(hdf5.list_recordings(source), default=None) if source.is_dir() else None


def _has_layout(source: Path) -> bool:
    try:
        open_source(source, fps=Fraction(1))  # any rate: only the keys matter
    except UnknownLayout:
        return False
    return True
