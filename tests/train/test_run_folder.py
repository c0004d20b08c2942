"""A run's folder: which checkpoints count, what may be continued in it, and who may write to it."""

import errno
import fcntl
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY, read_meta
from millrace.engine.errors import OutputBusy
from millrace.train.checkpoint_files import weights_digest
from millrace.train.errors import OtherRun, SettingsError
from millrace.train.run_folder import (
    COMPLETE,
    check_identity,
    claim_run_folder,
    complete_checkpoints,
    flush_checkpoint,
    is_weights_only,
    keep_weights_only,
    mark_complete,
    newest_checkpoint,
)
from millrace.train.run_identity import RunIdentity, dataset_digest, describe_optimizer, read_robot_name
from millrace.train.settings import FinetuneSettings
from support.synthetic import edit_json
from support.training_setups import write_base

IDENTITY = RunIdentity(
    base_model="nvidia/GR00T-N1.6-3B",
    datasets=("out/a",),
    digests=("a" * 64,),
    embodiment_tag="NEW_EMBODIMENT",
    robot="gr1",
    action_horizon=16,
    modality_keys=("state.left_arm", "action.left_arm"),
)


def checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        (path / COMPLETE).touch()
    return path


def begin(folder: Path, *, overwrite: bool = False, **changes: Any) -> None:
    with claim_run_folder(folder, IDENTITY.model_copy(update=changes), overwrite=overwrite):
        pass


def test_a_half_written_checkpoint_is_never_the_newest(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 900)
    newest = checkpoint(tmp_path, 1000)
    checkpoint(tmp_path, 1500, complete=False)
    assert newest_checkpoint(tmp_path) == newest


def test_old_checkpoints_go_once_the_new_one_is_complete(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        checkpoint(tmp_path, step)
    half = checkpoint(tmp_path, 6, complete=False)
    mark_complete(checkpoint(tmp_path, 12, complete=False), keep=2)
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-12"]
    assert not (tmp_path / "checkpoint-2").exists()
    assert half.exists()


def test_an_old_checkpoint_that_cannot_be_deleted_is_told_and_counts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS while `millrace evaluate` reads it: training goes on."""
    old = checkpoint(tmp_path, 2)

    def refuse(path: str | Path, **_: Any) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)

    monkeypatch.setattr(os, "rmdir", refuse)
    notes = mark_complete(checkpoint(tmp_path, 4, complete=False), keep=1)
    assert notes == (f"{old} cannot be deleted (Directory not empty); the run needs it no more",)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert len(complete_checkpoints(tmp_path)) == 1


RESUMING = ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "global_step6/mp_rank_00.pt", "latest")
KEPT = ("model.safetensors", "config.json", "trainer_state.json", "experiment_cfg/conf.yaml")


def whole_checkpoint(folder: Path, step: int, *, kept: tuple[str, ...] = KEPT) -> Path:
    """An incomplete checkpoint with files of all kinds."""
    path = checkpoint(folder, step, complete=False)
    for name in (*RESUMING, *kept):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).touch()
    return path


def test_only_the_newest_checkpoint_keeps_what_resuming_needs(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        mark_complete(whole_checkpoint(tmp_path, step), keep=5, weights_only=True)
    for step in (2, 4, 6):
        path = tmp_path / f"checkpoint-{step}"
        assert is_weights_only(path) == (step < 6)
        assert [name for name in RESUMING if (path / name).exists()] == ([] if step < 6 else list(RESUMING))
        assert all((path / name).exists() for name in (*KEPT, COMPLETE))


def test_weights_that_only_the_optimizers_files_hold_are_not_deleted(tmp_path: Path) -> None:
    path = whole_checkpoint(tmp_path, 2, kept=())
    keep_weights_only(path)
    assert not is_weights_only(path)
    assert all((path / name).exists() for name in RESUMING)


def test_a_checkpoint_is_on_the_disk_before_its_mark_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, old = checkpoint(tmp_path, 4, complete=False), checkpoint(tmp_path, 2)
    (newest / "experiment_cfg").mkdir()
    files = [newest / "model.safetensors", newest / "experiment_cfg/conf.yaml"]
    for file in files:
        file.touch()
    synced: list[tuple[Path, bool, bool]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path, (newest / COMPLETE).exists(), (old / COMPLETE).exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    flush_checkpoint(newest)
    assert {path for path, *_ in synced} == {*files, newest / "experiment_cfg", newest, tmp_path}
    synced.clear()
    mark_complete(newest, keep=1)
    assert synced == [(newest, True, True), (old, True, False)]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, 524])
@pytest.mark.parametrize("files_too", [False, True])
def test_storage_that_cannot_flush_is_trained_on_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, files_too: bool
) -> None:
    (checkpoint(tmp_path / "c", 2, complete=False) / "model.safetensors").touch()
    refuse_flushing(monkeypatch, code, files_too=files_too)
    flush_checkpoint(tmp_path / "c/checkpoint-2")
    with claim_run_folder(tmp_path / "run", IDENTITY, overwrite=False) as notes:
        assert [note.partition(": ")[0] for note in notes] == (
            [f"the storage of {tmp_path / 'run'} cannot flush files to disk"] if files_too else []
        )


@pytest.mark.parametrize(("code", "told"), [(errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output")])
def test_storage_that_fails_to_flush_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    checkpoint(tmp_path / "c", 2, complete=False)
    refuse_flushing(monkeypatch, code, files_too=True)
    with pytest.raises(OSError, match=told):
        flush_checkpoint(tmp_path / "c/checkpoint-2")
    with pytest.raises(SettingsError, match=rf"run cannot keep checkpoints: flushing a file fails with {told}"):
        begin(tmp_path / "run")


def refuse_flushing(monkeypatch: pytest.MonkeyPatch, code: int, *, files_too: bool) -> None:
    """As some storage does it; without `files_too` for folders alone."""

    def refuse(descriptor: int) -> None:
        if files_too or Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"digests": ("b" * 64,), "datasets": ("out/b",)}, r"dataset out/a \(aaaaaaaa\), not out/b \(bbbbbbbb\)"),
        ({"robot": "g1"}, "robot gr1, not g1"),
        ({"embodiment_tag": "GR1"}, "embodiment tag NEW_EMBODIMENT, not GR1"),
        ({"action_horizon": 30}, "action horizon 16, not 30"),
        ({"modality_keys": ("state.waist",)}, "modality keys state.left_arm, action.left_arm, not state.waist"),
        ({"base_model": "mine"}, "base model nvidia/GR00T-N1.6-3B, not mine"),
        ({"robot": "g1", "action_horizon": 30}, "robot gr1, not g1; action horizon 16, not 30"),
    ],
)
def test_another_run_in_the_same_folder_is_an_error_that_names_what_changed(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    begin(tmp_path)
    with pytest.raises(
        OtherRun, match=rf"was created with {told}\. Choose another output_dir, or pass overwrite=True to"
    ):
        begin(tmp_path, **changes)


def test_a_base_model_may_move_and_may_not_change(tmp_path: Path) -> None:
    begin(tmp_path, base_digest="a" * 64)
    begin(tmp_path, base_digest="a" * 64, base_model="models/groot")
    told = r"base model models/groot \(aaaaaaaa\), not models/groot \(bbbbbbbb\)\. Choose"
    with pytest.raises(OtherRun, match=told):
        begin(tmp_path, base_digest="b" * 64, base_model="models/groot")
    with pytest.raises(OtherRun, match=r"base model models/groot \(aaaaaaaa\), not mine\. Choose"):
        begin(tmp_path, base_model="mine")


def test_weights_are_known_wherever_they_lie(tmp_path: Path) -> None:
    bases = [write_base(tmp_path / name) for name in ("one", "moved", "other")]
    for base in bases:
        with (base / "model.safetensors").open("ab") as file:
            file.write(bytes(100_000))
    with (bases[2] / "model.safetensors").open("r+b") as file:
        file.seek(-50_000, os.SEEK_END)
        file.write(b"trained" * 1000)
    one, moved, other = (weights_digest(str(base)) for base in bases)
    assert one == moved
    assert one != other
    (bases[0] / "model.safetensors").unlink()
    assert weights_digest(str(bases[0])) is None
    assert weights_digest("nobody's model") is None


SHARES = "in shares of 8 workers, by DeepSpeed's stage 2"


def test_an_optimizer_in_shares_is_loaded_by_as_many_workers_only(tmp_path: Path) -> None:
    """DeepSpeed says so only after the start, and transformers without it forgets the optimizer without a word."""
    begin(tmp_path, optimizer=SHARES)
    begin(tmp_path, optimizer="as a whole")
    begin(tmp_path, optimizer=SHARES)
    newest = checkpoint(tmp_path, 1000)
    for other in ("as a whole", SHARES.replace("8", "4"), SHARES.replace("stage 2", "stage 3")):
        told = f"^{newest} holds the optimizer {SHARES}, and this run needs it {other}. Pass num_gpus, use_ddp "
        with pytest.raises(OtherRun, match=told):
            begin(tmp_path, optimizer=other)
    begin(tmp_path, optimizer=SHARES)


def test_a_half_checkpoint_of_other_workers_leaves_no_share_in_the_next_of_its_step(tmp_path: Path) -> None:
    """DeepSpeed counts the files of shares, and would refuse a checkpoint that was marked complete."""
    begin(tmp_path, optimizer=SHARES)
    half = checkpoint(tmp_path, 5, complete=False)
    (half / "zero_pp_rank_7_optim_states.pt").touch()
    begin(tmp_path, optimizer=SHARES)
    assert half.is_dir()
    begin(tmp_path, optimizer=SHARES.replace("8", "4"))
    assert not half.exists()


@pytest.mark.parametrize(
    ("flags", "stored"),
    [
        ({"num_gpus": 8}, SHARES),
        ({"num_gpus": 8, "use_ddp": True}, "as a whole"),
        ({"num_gpus": 8, "cpu": True}, "as a whole"),
        ({"num_gpus": 1}, "as a whole"),
    ],
)
def test_ddp_and_one_worker_store_the_optimizer_as_a_whole(flags: dict[str, Any], stored: str) -> None:
    settings = FinetuneSettings(datasets=(Path("out/a"),), base_model_path="base", **flags)
    assert describe_optimizer(settings) == stored


def test_a_folder_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    begin(tmp_path)
    new = ("base_digest", "optimizer")
    edit_json(tmp_path / "millrace_run.json", lambda run: {name: run[name] for name in run if name not in new})
    checkpoint(tmp_path, 1000)
    begin(tmp_path, base_digest="a" * 64, optimizer=SHARES)


def test_an_identity_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    """As on a full disk: the run's checkpoints would be those of no run."""
    begin(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))  # bytes of a file
    try:
        with pytest.raises(OSError, match="File too large"):
            begin(tmp_path, datasets=("elsewhere/a",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_identity(tmp_path, IDENTITY)
    assert {path.name for path in tmp_path.iterdir()} == {"millrace_run.json", ".millrace_lock"}


def test_a_dataset_may_move(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(tmp_path, datasets=("elsewhere/a",))


def test_overwrite_deletes_what_an_earlier_run_left_and_nothing_else(tmp_path: Path) -> None:
    begin(tmp_path)
    checkpoint(tmp_path, 1000)
    (tmp_path / "train_log.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    begin(tmp_path, overwrite=True, action_horizon=30)
    assert {path.name for path in tmp_path.iterdir()} == {"millrace_run.json", ".millrace_lock", "notes.txt"}
    check_identity(tmp_path, IDENTITY.model_copy(update={"action_horizon": 30}))


def test_overwrite_deletes_the_runs_own_w_and_b_run_alone(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "wandb_config.json").write_text('{"project": "p", "run_id": "run", "id": "abc123"}')
    for name in ("run-20260101_000000-abc123", "offline-run-20260102_000000-abc123", "run-20260103_000000-theirs"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    (tmp_path / "wandb/latest-run").symlink_to("run-20260101_000000-abc123")
    begin(tmp_path, overwrite=True)
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == ["run-20260103_000000-theirs"]
    (tmp_path / "wandb/run-20260103_000000-theirs").rename(tmp_path / "wandb/run-20260103_000000-abc123")
    (tmp_path / "wandb_config.json").write_text('{"project": "p", "run_id": "run", "id": "abc123"}')
    begin(tmp_path, overwrite=True)
    assert not (tmp_path / "wandb").exists()


def test_checkpoints_of_another_program_are_not_continued(tmp_path: Path) -> None:
    checkpoint(tmp_path, 1000, complete=False)
    with pytest.raises(OtherRun, match="holds checkpoints that millrace finetune did not make"):
        begin(tmp_path)


def test_a_damaged_identity_is_an_error(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "millrace_run.json").write_text("{")
    with pytest.raises(OtherRun, match=r"millrace_run\.json is damaged"):
        begin(tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        claim_run_folder(tmp_path, IDENTITY, overwrite=False),
        pytest.raises(OutputBusy, match="is being written by another run"),
        claim_run_folder(tmp_path, IDENTITY, overwrite=False),
    ):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_trained_on_by_one_run_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        claim_run_folder(tmp_path, IDENTITY, overwrite=False),
        pytest.raises(OutputBusy, match=f"process {os.getpid()} on .* Its file system has no locks"),
        claim_run_folder(tmp_path, IDENTITY, overwrite=False),
    ):
        pass
    begin(tmp_path)


def test_folders_and_files_are_locked_in_one_place_each() -> None:
    paths = [path for package in ("engine", "train", "commands") for path in (REPOSITORY / package).rglob("*.py")]
    assert sorted(path.name for path in paths if ".flock(" in path.read_text()) == ["file_locks.py", "folder_lock.py"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"file/run cannot be made: Not a directory"):
        begin(tmp_path / "file/run")


def test_rays_list_of_checkpoints_is_forgotten_before_each_start(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_manager_snapshot.json").write_text("{}")
    begin(tmp_path)
    assert not (tmp_path / "checkpoint_manager_snapshot.json").exists()


def test_a_dataset_is_known_by_its_contents(aloha_gr1: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(aloha_gr1, copy)
    assert dataset_digest(copy) == dataset_digest(aloha_gr1)
    edit_json(copy / "millrace.json", lambda manifest: manifest.update(files=manifest["files"][:-1]))
    assert dataset_digest(copy) != dataset_digest(aloha_gr1)
    assert read_robot_name(copy) == read_meta(copy, "info.json")["robot_type"] == "gr1"
    (copy / "millrace.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"millrace\.json: files: Field required"):
        dataset_digest(copy)


def test_a_dataset_of_others_is_known_by_its_episodes(aloha_gr1: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "one", tmp_path / "two"]
    for copy in copies:
        shutil.copytree(aloha_gr1, copy)
        (copy / "millrace.json").unlink()
    assert dataset_digest(copies[0]) == dataset_digest(copies[1])
    (copies[0] / "meta/stats.json").unlink()  # GR00T would make it again
    assert dataset_digest(copies[0]) == dataset_digest(copies[1])
    (copies[0] / "data/chunk-000/episode_000002.parquet").write_bytes(b"other")
    assert dataset_digest(copies[0]) != dataset_digest(copies[1])


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no GR00T dataset at .*: meta/info\.json is missing"):
        dataset_digest(tmp_path)
