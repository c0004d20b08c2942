"""A run's output folder: what it trains on, which checkpoints are complete, and who may write to it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.layout import TRAINING_STATE
from millrace.train.errors import OtherRun, SettingsError
from millrace.train.heldout import find_best
from millrace.train.run_identity import RunIdentity
from millrace.train.wandb_files import remove_wandb_run
from millrace.train.whole_file import replace_file

IDENTITY = "millrace_run.json"
LOCK = ".millrace_lock"
REQUEST = ".millrace_stop"  # see millrace.train.stopping
VIEWS = "dataset_views"  # see millrace.train.dataset_view
COMPLETE = "COMPLETE"
CHECKPOINTS = "checkpoint-*"
# What a run leaves in its folder; ray.train keeps the snapshot there.
RAY_SNAPSHOT = "checkpoint_manager_snapshot.json"
OURS = (
    *("experiment_cfg", "processor", "logs", "runs", "train_log.jsonl", "losses.png", "wandb_config.json"),
    *(RAY_SNAPSHOT, IDENTITY, REQUEST, VIEWS),
)
WEIGHTS_ONLY = "WEIGHTS_ONLY"  # in a checkpoint without TRAINING_STATE

# With these some storage refuses to flush files or folders; Linux's own ENOTSUPP has no name in Python.
NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, 524)
OTHER_FOLDER = Remedy(
    "Choose another ", Setting("output_dir"), ", or pass ", Setting("overwrite", True), " to delete what it holds"
)
OTHER_OPTIMIZER = Remedy(
    *("Pass ", Setting("num_gpus"), ", ", Setting("use_ddp"), " and ", Setting("deepspeed_stage"), " as before; or "),
    *("train on from it as ", Setting("base_model_path"), ", with another ", Setting("output_dir")),
)


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


def mark_complete(checkpoint: Path, *, keep: int, weights_only: bool = False) -> tuple[str, ...]:
    """Mark that all of a checkpoint is on the disk; only then delete all but the newest `keep`, and the best.

    weights_only: keep no more than the weights of the older ones.

    Returns:
        Notes for the user: what could not be deleted.
    """
    (checkpoint / COMPLETE).touch()
    _sync(checkpoint)
    complete = complete_checkpoints(checkpoint.parent)
    best, notes = find_best(complete), list[str]()
    for old in (old for old in complete[:-keep] if best is None or old != best.checkpoint):
        (old / COMPLETE).unlink()
        _sync(old)  # else a machine that dies now may be left with the mark alone
        notes += _delete(old)
    if weights_only:
        for old in complete_checkpoints(checkpoint.parent)[:-1]:
            notes += keep_weights_only(old)
    return tuple(notes)


def keep_weights_only(checkpoint: Path) -> tuple[str, ...]:
    """Delete what only resuming needs: the states of optimizer, schedule and random numbers.

    Nothing is deleted where the weights have no file of their own, as ZeRO-3 may leave them.

    Returns:
        Notes for the user: what could not be deleted.
    """
    if not any(checkpoint.glob("*.safetensors")):
        return ()
    (checkpoint / WEIGHTS_ONLY).touch()
    _sync(checkpoint)  # else a machine that dies now may be left with half a state that seems whole
    paths = [path for pattern in TRAINING_STATE for path in checkpoint.glob(pattern)]
    return tuple(note for path in paths for note in _delete(path))


def _delete(path: Path) -> list[str]:
    """Delete a file or folder that counts no more; or a note, as a folder in which somebody reads stays on NFS."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return [f"{path} cannot be deleted ({error.strerror}); the run needs it no more"]
    return []


def is_weights_only(checkpoint: Path) -> bool:
    """Whether no run can resume from a checkpoint."""
    return (checkpoint / WEIGHTS_ONLY).is_file()


def _sync(path: Path) -> bool:
    """Flush a file or folder to disk; False where its storage cannot."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
        return False
    finally:
        os.close(file)
    return True


@contextmanager
def claim_run_folder(folder: Path, identity: RunIdentity, *, overwrite: bool) -> Iterator[tuple[str, ...]]:
    """Lock the folder for this run, new or as an earlier run of the same identity left it; yields notes for the user.

    Raises:
        OtherRun: it was created with another identity, or by another program.
        OutputBusy: another run writes to it.
        SettingsError: it cannot be made, or what is written there cannot be flushed to disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made: {error.strerror}") from error
    with lock_folder(folder, folder / LOCK):
        if overwrite:
            _remove_run(folder)
        check_identity(folder, identity)
        _remove_other_shares(folder, identity)
        replace_file(folder / IDENTITY, identity.model_dump_json(indent=2) + "\n")
        # Ray refuses to start where a checkpoint of its list is gone, or its own version is another one.
        (folder / RAY_SNAPSHOT).unlink(missing_ok=True)
        yield _try_flushing(folder)


def _remove_other_shares(folder: Path, identity: RunIdentity) -> None:
    """Delete half checkpoints of another number of workers: their shares would be counted in the next of that step."""
    earlier = read_identity(folder)
    if earlier is None or earlier.optimizer == identity.optimizer:
        return
    for half in (path for path in folder.glob(CHECKPOINTS) if not (path / COMPLETE).exists()):
        shutil.rmtree(half)


def _try_flushing(folder: Path) -> tuple[str, ...]:
    """Flush a file now, not only after the first thousand steps; notes on what the storage cannot do."""
    try:
        _sync(folder)  # some storage refuses it, and keeps folders without being asked
        if _sync(folder / IDENTITY):
            return ()
    except OSError as error:
        raise SettingsError(f"{folder} cannot keep checkpoints: flushing a file fails with {error.strerror}") from error
    return (
        f"the storage of {folder} cannot flush files to disk: a checkpoint that is marked complete may be damaged if "
        "the storage itself fails soon after",
    )


def check_identity(folder: Path, identity: RunIdentity) -> None:
    """Check that the run may start or continue in a folder; nothing is changed.

    Raises:
        OtherRun: see `claim_run_folder`.
    """
    earlier = read_identity(folder)
    if earlier is None:
        return
    if told := identity.describe_changes(earlier):
        raise OtherRun(f"{folder} was created with {'; '.join(told)}. ", OTHER_FOLDER, file=folder)
    newest = newest_checkpoint(folder)
    if newest is not None and None not in (stored := (earlier.optimizer, identity.optimizer)) and len(set(stored)) > 1:
        raise OtherRun(
            f"{newest} holds the optimizer {earlier.optimizer}, and this run needs it {identity.optimizer}. ",
            OTHER_OPTIMIZER,
            file=newest,
            got=identity.optimizer,
            expected=earlier.optimizer,
        )


def read_identity(folder: Path) -> RunIdentity | None:
    """The identity of the run that a folder holds; None where it holds none.

    Raises:
        OtherRun: it is damaged, or there are checkpoints of another program.
    """
    if not (folder / IDENTITY).is_file():
        if any(folder.glob(CHECKPOINTS)):
            told = f"{folder} holds checkpoints that millrace finetune did not make. "
            raise OtherRun(told, OTHER_FOLDER, file=folder)
        return None
    try:
        return RunIdentity.model_validate_json((folder / IDENTITY).read_bytes())
    except ValidationError as error:
        raise OtherRun(f"{folder / IDENTITY} is damaged. ", OTHER_FOLDER, file=folder / IDENTITY) from error


def _remove_run(folder: Path) -> None:
    remove_wandb_run(folder)
    for path in (*folder.glob(CHECKPOINTS), *(folder / name for name in OURS)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
