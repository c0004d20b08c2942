"""How the frames that a checkpoint was trained on became square: kept beside it, as its datasets may be elsewhere."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.video.framing import Framing, manifest_framings
from millrace.train.checkpoint_files import open_checkpoint_files
from millrace.train.errors import ConfigError

# GR00T copies this folder of a run into every checkpoint.
NOTES = "experiment_cfg"
FRAMES = "millrace_frames.json"


class _Frames(FrozenModel):
    """experiment_cfg/millrace_frames.json."""

    frames: tuple[Framing, ...]


def write_framings(notes: Path, datasets: Iterable[Path]) -> None:
    """Write the framings of a run's datasets into the folder that is copied into every checkpoint."""
    found = dict.fromkeys(framing for dataset in datasets for framing in manifest_framings(dataset))
    (notes / FRAMES).write_text(_Frames(frames=tuple(found)).model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_framings(checkpoint: str) -> tuple[Framing, ...]:
    """Read the framings in a checkpoint, a folder or a model on the Hub; empty where there are none."""
    try:
        path = open_checkpoint_files(checkpoint).path(f"{NOTES}/{FRAMES}")
        return () if path is None else _Frames.model_validate_json(path.read_bytes()).frames
    except (ConfigError, OSError, ValidationError):
        return ()
