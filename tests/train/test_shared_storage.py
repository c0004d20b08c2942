"""All workers see the same files, or the run stops: before it begins, and before a checkpoint counts as complete."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.train import shared_storage
from millrace.train.errors import StorageNotShared
from millrace.train.run_folder import complete_checkpoints
from millrace.train.settings import FinetuneSettings
from support.training_setups import write_base

torch = pytest.importorskip("torch", reason="NOT TESTED: needs torch: pip install '.[train]'")

from millrace.train.worker import Worker  # noqa: E402
from support.ranks import run_ranks  # noqa: E402


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_storage, "PATIENCE_SECONDS", 0.3)


@pytest.fixture
def settings(tmp_path: Path) -> FinetuneSettings:
    dataset = tmp_path / "dataset"
    (dataset / "meta").mkdir(parents=True)
    (dataset / "meta/info.json").write_text(json.dumps({"fps": 20}))
    (tmp_path / "mine.py").write_text("x = 1\n")
    return FinetuneSettings(
        datasets=(dataset,),
        base_model_path=str(write_base(tmp_path / "base")),
        output_dir=tmp_path / "run",
        modality_config_path=tmp_path / "mine.py",
        cpu=True,
        num_gpus=2,
    )


def join(settings: FinetuneSettings, folder: Path) -> Worker:
    return Worker.join(settings, folder, lambda metrics, checkpoint: None)


def test_workers_that_share_their_storage_begin(settings: FinetuneSettings, tmp_path: Path) -> None:
    ranks = run_ranks(lambda rank: join(settings, settings.run_folder).rank, tmp_path)
    assert ranks == [0, 1]
    assert [path.name for path in settings.run_folder.iterdir()] == ["train_log.jsonl"]


def another_folder(place: Path) -> None:
    shutil.rmtree(place)


def another_info(place: Path) -> None:
    (place / "meta/info.json").write_text(json.dumps({"fps": 30}))


def other_weights(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"others")


def other_file(place: Path) -> None:
    place.write_text("x = 2\n")


@pytest.mark.parametrize(
    ("name", "change", "lacks"),
    [
        ("dataset", another_folder, "does not see dataset"),
        ("dataset", another_info, "sees other files at dataset"),
        ("base", other_weights, "sees other files at --base-model-path"),
        ("mine.py", other_file, "sees other files at file"),
        ("mine.py", Path.unlink, "does not see file"),
    ],
)
def test_a_worker_that_sees_other_files_is_named(
    settings: FinetuneSettings, tmp_path: Path, name: str, change: Callable[[Path], None], lacks: str
) -> None:
    """Rank 1 looks once the files have changed, as a node with a disk of its own would see them."""
    token = shared_storage.create_token(tmp_path)
    found = [shared_storage.find_shared(settings, tmp_path, token)]
    change(tmp_path / name)
    found.append(shared_storage.find_shared(settings, tmp_path, token))
    views = [shared_storage.View(rank, f"host{rank}", seen) for rank, seen in enumerate(found)]
    shared_storage.check_views(views[:1] * 2)
    with pytest.raises(
        StorageNotShared, match=f"^worker 1 on host1 {lacks} {tmp_path / name}, unlike worker 0 on host0"
    ):
        shared_storage.check_views(views)


def test_an_output_folder_that_is_not_shared_stops_all_workers(settings: FinetuneSettings, tmp_path: Path) -> None:
    errors = run_ranks(lambda rank: join(settings, tmp_path / f"disk{rank}/run"), tmp_path)
    assert all(isinstance(error, StorageNotShared) for error in errors)
    assert "worker 1 on " in str(errors[1])
    assert f"does not see --output-dir {tmp_path}/disk" in str(errors[0])


def save_on(disks: list[Path], settings: FinetuneSettings, size: int) -> Callable[[int], Any]:
    """Each rank saves a file of its own on a disk; the size of the file of rank 1 on the disk of rank 0."""

    def save(rank: int) -> None:
        worker = join(settings, settings.run_folder)
        checkpoint = disks[rank] / "checkpoint-2"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / f"shard_{rank}.pt").write_bytes(b"1234")
        if rank == 0 and size:
            (checkpoint / "shard_1.pt").write_bytes(b"1234"[:size])
        worker.save(checkpoint, [torch.ones(1)], None)

    return save


def test_a_checkpoint_on_shared_storage_is_complete(settings: FinetuneSettings, tmp_path: Path) -> None:
    run_ranks(save_on([settings.run_folder] * 2, settings, 0), tmp_path)
    assert [path.name for path in complete_checkpoints(settings.run_folder)] == ["checkpoint-2"]


@pytest.mark.parametrize("size", [0, 2])
def test_a_checkpoint_of_which_worker_0_lacks_a_part_is_not_complete(
    settings: FinetuneSettings, tmp_path: Path, size: int
) -> None:
    """Missing, or cut short."""
    disks = [tmp_path / "disk0", tmp_path / "disk1"]
    errors = run_ranks(save_on(disks, settings, size), tmp_path)
    for error in errors:
        assert isinstance(error, StorageNotShared)
        assert "worker 0 does not see 1 of the files that others wrote, the first shard_1.pt of worker 1" in str(error)
    assert not any(complete_checkpoints(disk) for disk in disks)


def test_files_that_appear_late_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network storage, whose folders are cached."""
    monkeypatch.setattr(shared_storage, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(shared_storage.time, "sleep", lambda seconds: (tmp_path / "shard_1.pt").write_bytes(b"1234"))
    assert shared_storage.find_lacking(tmp_path, [{}, {"shard_1.pt": 4}]) == []
