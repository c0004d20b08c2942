"""The files that a run's W&B logging leaves in its folder."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

NOTES = "wandb_config.json"  # where GR00T notes project and name of a run
RUNS = "wandb"  # where W&B keeps its runs, in folders run-DATE-ID and offline-run-DATE-ID
# What W&B keeps beside them, of the newest.
NEWEST = ("latest-run", "debug.log", "debug-internal.log")


def read_run_id(folder: Path) -> str | None:
    """The id of a run's W&B run; None where none was noted."""
    try:
        return str(json.loads((folder / NOTES).read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_wandb_run(folder: Path) -> None:
    """Delete what W&B keeps of the run of a folder; runs of other programs stay, also those that were never sent."""
    run_id = read_run_id(folder)
    if run_id is None or (folder / RUNS).is_symlink():
        return
    for path in (folder / RUNS).glob("*run-*"):
        if path.name.endswith(f"-{run_id}") and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    for name in NEWEST:
        link = folder / RUNS / name
        if link.is_symlink() and not link.exists():  # it led to what was deleted
            link.unlink()
    with suppress(OSError):  # others are there, or nothing is
        (folder / RUNS).rmdir()
