"""Whether all workers see the same files: output folder, datasets, base model; and each whole checkpoint."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from millrace.embodiments import Remedy
from millrace.engine.layout import META
from millrace.train.errors import StorageNotShared
from millrace.train.run_identity import DESCRIBING_FILES
from millrace.train.settings import FinetuneSettings

TOKEN = ".millrace_shared_"
# Network file systems show the files of other machines late.
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.2
MISSING = "missing"
MUST_SHARE = "it must be the same on all nodes, at the same path"


@dataclass(frozen=True)
class View:
    """What one worker sees. found: by place, such as "dataset out/a", what tells it from another of that path."""

    rank: int
    host: str
    found: Mapping[str, str]

    def __str__(self) -> str:
        return f"worker {self.rank} on {self.host}"


def create_token(folder: Path) -> str:
    """Create a file of a new name in a folder, so that whoever sees the name sees the folder; returns the name."""
    remove_tokens(folder)
    name = f"{TOKEN}{uuid4().hex}"
    (folder / name).touch()
    return name


def remove_tokens(folder: Path) -> None:
    """Remove the files of `create_token`."""
    for token in folder.glob(f"{TOKEN}*"):
        token.unlink(missing_ok=True)


def find_shared(settings: FinetuneSettings, folder: Path, token: str) -> dict[str, str]:
    """What this worker finds at the places that all workers read or write."""
    base, config = Path(settings.base_model_path), settings.modality_config_path
    found = {f"--output-dir {folder}": token if _appears(folder / token) else MISSING}
    for dataset in settings.all_datasets:
        found[f"dataset {dataset}"] = _digest(dataset / META / name for name in DESCRIBING_FILES)
    if base.is_dir():
        weights = [f"{path.name} {path.stat().st_size}" for path in sorted(base.glob("*.safetensors"))]
        found[f"--base-model-path {base}"] = f"{_digest([base / 'config.json'])} {', '.join(weights)}"
    for file in (*settings.import_module, *([config] if config else [])):
        found[f"file {file}"] = _digest([file])
    return found


def check_views(views: Sequence[View]) -> None:
    """Check that all workers see what the first one does.

    Raises:
        StorageNotShared: one does not.
    """
    first, *others = views
    for view in others:
        for place in {**first.found, **view.found}:
            expected, found = first.found.get(place, MISSING), view.found.get(place, MISSING)
            if found != expected:
                lacks = "does not see" if found == MISSING else "sees other files at"
                raise StorageNotShared(f"{view} {lacks} {place}, unlike {first}; {MUST_SHARE}")


def list_sizes(folder: Path) -> dict[str, int]:
    """Size of each file in a folder, by relative path."""
    return {str(path.relative_to(folder)): size for path in folder.rglob("*") if (size := _size(path)) is not None}


def find_lacking(checkpoint: Path, listings: Sequence[Mapping[str, int]]) -> list[tuple[int, str]]:
    """The files of other workers that this one does not see as they do.

    Args:
        checkpoint: Its folder.
        listings: By rank, what `list_sizes` returned there once all had written.

    Returns:
        (rank, relative path) of each; an empty list as soon as all are seen.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        own = list_sizes(checkpoint)
        lacking = [
            (rank, name)
            for rank, listing in enumerate(listings)
            for name, size in listing.items()
            if own.get(name) != size
        ]
        if not lacking or time.monotonic() > deadline:
            return lacking
        time.sleep(LOOK_SECONDS)


def check_checkpoint(checkpoint: Path, lacking: Sequence[tuple[int, str]]) -> None:
    """Check that worker 0 sees all of a checkpoint.

    Raises:
        StorageNotShared: it does not; the checkpoint is no whole one.
    """
    if lacking:
        rank, name = lacking[0]
        raise StorageNotShared(
            f"{checkpoint}: worker 0 does not see {len(lacking)} of the files that others wrote, the first {name} of "
            f"worker {rank}; ",
            Remedy("--output-dir must lie on storage that all nodes share"),
            file=checkpoint,
        )


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _digest(files: Iterable[Path]) -> str:
    parts = list(_contents(files))
    return hashlib.sha256(b"".join(parts)).hexdigest() if parts else MISSING


def _contents(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        if file.is_file():
            yield hashlib.sha256(file.read_bytes()).digest() + file.name.encode()


def _size(path: Path) -> int | None:
    """The size of a file as its storage has it now, not as a cache of its folder has it; None: no file."""
    if not path.is_file():
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(file).st_size
    finally:
        os.close(file)
