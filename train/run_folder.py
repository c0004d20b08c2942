"""A run's output folder: what it trains on, which checkpoints are complete, and who may write to it."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
from millrace.engine.layout import MANIFEST, META
from millrace.train.errors import OtherRun, SettingsError

IDENTITY = "millrace_run.json"
LOCK = ".millrace_lock"
COMPLETE = "COMPLETE"
CHECKPOINTS = "checkpoint-*"
# What a run leaves in its folder; ray.train keeps the snapshot there.
RAY_SNAPSHOT = "checkpoint_manager_snapshot.json"
OURS = ("experiment_cfg", "processor", "logs", "runs", "train_log.jsonl", "wandb_config.json", RAY_SNAPSHOT, IDENTITY)

# With these some network storage refuses to sync a folder, which it keeps without being asked.
NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP)
# Of a dataset that Millrace did not make; statistics are left out, as GR00T writes those that it misses.
DESCRIBING_FILES = ("info.json", "episodes.jsonl", "tasks.jsonl", "modality.json")


class RunIdentity(BaseModel):
    """What a run trains, and on what; a folder holds runs of one identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str
    datasets: tuple[str, ...]
    digests: tuple[str, ...]
    embodiment_tag: str
    robot: str
    action_horizon: int
    modality_keys: tuple[str, ...]

    def describe_changes(self, earlier: "RunIdentity") -> list[str]:
        """What differs, in words; a dataset that only moved does not differ."""
        told = [
            f"{name.replace('_', ' ')} {_text(getattr(earlier, name))}, not {_text(getattr(self, name))}"
            for name in type(self).model_fields
            if name not in ("datasets", "digests") and getattr(self, name) != getattr(earlier, name)
        ]
        if self.digests != earlier.digests:
            told.insert(0, f"dataset {_dataset(earlier)}, not {_dataset(self)}")
        return told


def dataset_digest(dataset: Path) -> str:
    """Identifies a dataset: by the digests of files in Millrace's manifest, else by names and sizes.

    Raises:
        SettingsError: there is no dataset, or its manifest cannot be read.
    """
    if not (dataset / META / "info.json").is_file():
        raise SettingsError(f"no GR00T dataset at {dataset}: {META}/info.json is missing")
    digest = hashlib.sha256()
    if (dataset / MANIFEST).is_file():
        try:
            files = read_manifest_head(dataset).model_dump(mode="json")["files"]
        except Unreadable as error:
            raise SettingsError(f"{dataset}: {error}") from error
        digest.update(json.dumps(files, sort_keys=True).encode())
    else:
        for name in DESCRIBING_FILES:
            digest.update((dataset / META / name).read_bytes())
        for path in sorted(path for folder in ("data", "videos") for path in (dataset / folder).rglob("*.*")):
            digest.update(f"{path.relative_to(dataset)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def read_robot_name(dataset: Path) -> str:
    """The robot's name in info.json; "unknown" where it has none."""
    info = json.loads((dataset / META / "info.json").read_text(encoding="utf-8"))
    return str(info.get("robot_type") or "unknown")


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from. One without COMPLETE was cut short, whatever its name says."""
    complete = complete_checkpoints(folder)
    return complete[-1] if complete else None


def complete_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints that were finished, by step."""
    return sorted((mark.parent for mark in folder.glob(f"{CHECKPOINTS}/{COMPLETE}")), key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """The step after which a checkpoint was saved."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def flush_checkpoint(checkpoint: Path) -> None:
    """Flush what this machine has written of a checkpoint to disk."""
    for path in (*checkpoint.rglob("*"), checkpoint, checkpoint.parent):
        _sync(path)


def mark_complete(checkpoint: Path, *, keep: int) -> None:
    """Mark that all of a checkpoint is on the disk; only then delete all but the newest `keep`."""
    (checkpoint / COMPLETE).touch()
    _sync(checkpoint)
    for old in complete_checkpoints(checkpoint.parent)[:-keep]:
        (old / COMPLETE).unlink()
        _sync(old)  # else a machine that dies now may be left with the mark alone
        shutil.rmtree(old)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS or not path.is_dir():
            raise
    finally:
        os.close(file)


@contextmanager
def claim_run_folder(folder: Path, identity: RunIdentity, *, overwrite: bool) -> Iterator[None]:
    """Lock the folder for this run, new or as an earlier run of the same identity left it.

    Raises:
        OtherRun: it was created with another identity, or by another program.
        OutputBusy: another run writes to it.
        SettingsError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made: {error.strerror}") from error
    with lock_folder(folder, folder / LOCK):
        if overwrite:
            _remove_run(folder)
        check_identity(folder, identity)
        (folder / IDENTITY).write_text(identity.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # Ray refuses to start where a checkpoint of its list is gone, or its own version is another one.
        (folder / RAY_SNAPSHOT).unlink(missing_ok=True)
        yield


def check_identity(folder: Path, identity: RunIdentity) -> None:
    """Check that the run may start or continue in a folder; nothing is changed.

    Raises:
        OtherRun: see `claim_run_folder`.
    """
    remedy = "Choose another --output-dir, or pass --overwrite to delete what it holds"
    if not (folder / IDENTITY).is_file():
        if any(folder.glob(CHECKPOINTS)):
            raise OtherRun(f"{folder} holds checkpoints that millrace finetune did not make. {remedy}")
        return
    try:
        earlier = RunIdentity.model_validate_json((folder / IDENTITY).read_bytes())
    except ValidationError as error:
        raise OtherRun(f"{folder / IDENTITY} is damaged. {remedy}") from error
    if told := identity.describe_changes(earlier):
        raise OtherRun(f"{folder} was created with {'; '.join(told)}. {remedy}")


def _remove_run(folder: Path) -> None:
    for path in (*folder.glob(CHECKPOINTS), *(folder / name for name in OURS)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _dataset(identity: RunIdentity) -> str:
    return ", ".join(f"{path} ({digest[:8]})" for path, digest in zip(identity.datasets, identity.digests, strict=True))
