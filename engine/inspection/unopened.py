"""Inspect a folder that cannot be opened as a dataset: its files, the reason, and what to do next."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from millrace.embodiments import MillraceError
from millrace.engine.inspection.facts import FileFacts, Inspection, read_claims
from millrace.engine.inspection.findings import make_finding
from millrace.engine.planning.robot_guess import RobotGuess
from millrace.engine.sources import LAYOUTS, RECORDINGS

# A folder may hold anything, the user's home among them.
MAX_FILES = 200_000
MAX_SUFFIXES = 8
UNKNOWN = "unknown"
# Of layouts that are not LeRobot's.
NAMES = {"frame_folder": "frames beside rows", "hdf5": "HDF5 recordings", "xr_teleoperate": "xr_teleoperate"}
KNOWN = [*(layout for layout, _ in LAYOUTS), *RECORDINGS]
BY_SUFFIX = {
    ".bag": "ROS bags",
    ".mcap": "ROS bags",
    ".tfrecord": "RLDS episodes",
}


def inspect_unopened(root: Path, error: MillraceError) -> Inspection:
    """An inspection of the files, whose only finding is why the folder cannot be opened."""
    files = _count_files(root)
    return Inspection(
        root=root,
        layout=_layout(root),
        codebase_version=_claimed_version(root),
        robot=RobotGuess(None, "the dataset cannot be opened"),
        num_rows_bytes=sum(facts.num_bytes for facts in files if facts.suffix == ".parquet"),
        num_video_bytes=sum(facts.num_bytes for facts in files if facts.suffix == ".mp4"),
        findings=(make_finding("not-opened", error.message),),
        files=files,
        is_open=False,
        next_step=_next_step(root, files),
    )


def _count_files(root: Path) -> tuple[FileFacts, ...]:
    """Number and size by suffix, the most frequent first; no link is followed."""
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path in islice(_walk(root), MAX_FILES):
        suffix = path.suffix or "without suffix"
        numbers[suffix] += 1
        try:
            sizes[suffix] += path.lstat().st_size
        except OSError:
            continue  # gone meanwhile, or not for us to see
    return tuple(FileFacts(suffix, number, sizes[suffix]) for suffix, number in numbers.most_common(MAX_SUFFIXES))


def _walk(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in names)


def _layout(root: Path) -> str:
    """The layout that the files look like."""
    fitting = (layout.__name__.rpartition(".")[2] for layout in KNOWN if layout.fits(root))
    try:
        name = next(fitting, None)
    except PermissionError:
        name = None
    if name is None:
        return UNKNOWN
    return NAMES.get(name, f"LeRobot {name}, by its files")


def _claimed_version(root: Path) -> str | None:
    try:
        version = read_claims(root).codebase_version
    except (MillraceError, PermissionError):
        return None  # perhaps the very reason why the folder cannot be opened
    return None if version is None else str(version)


def _next_step(root: Path, files: tuple[FileFacts, ...]) -> str:
    """A command to run next, or advice."""
    datasets = _datasets_below(root)
    if datasets:
        others = f"; there are {len(datasets)} datasets in this folder" if len(datasets) > 1 else ""
        return f"millrace inspect {datasets[0]}{others}"
    recordings = next((BY_SUFFIX[facts.suffix] for facts in files if facts.suffix in BY_SUFFIX), None)
    if recordings is not None:
        return f"these are {recordings}: make a LeRobot dataset of them first"
    if any(facts.suffix in (".hdf5", ".h5") for facts in files):
        return "fix what the error names, or say how the files are laid out: docs/recordings.md"
    if any(os.path.lexists(root / folder / "info.json") for folder in ("meta", "meta_data")):
        return "fix what the error names, or download the dataset again: hf download ORG/NAME --repo-type dataset"
    return "name the folder that holds meta/info.json and data/"


def _datasets_below(root: Path) -> list[Path]:
    """Folders of this folder that are datasets."""
    try:
        folders = sorted(path for path in islice(root.iterdir(), MAX_FILES) if path.is_dir() and path.name[0] != ".")
    except OSError:
        return []
    return [folder for folder in folders if _layout(folder) != UNKNOWN]
