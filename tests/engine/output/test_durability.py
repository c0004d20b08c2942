"""What a power cut may undo: no rename is counted on before what it stands for is on the disk."""

import os
from pathlib import Path

import pytest

from conftest import LOCAL, convert_here, recipe_for, video_path
from millrace.engine.convert import convert
from millrace.engine.dataset.writing import finish_file
from millrace.engine.layout import LEDGER, META, WORK
from millrace.engine.output.folder import claim_output
from millrace.engine.packing import pack_dataset
from support.synthetic import SyntheticVideo, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
SETTINGS = {"robot": "aloha", "horizon": 2}
Event = tuple[str, Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("durability") / "source"
    write_dataset(root, lengths=(6, 8, 7), fps=20, video=SMALL)
    return root


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Syncs of files and folders, and renames by what they move, in order."""
    found: list[Event] = []
    sync, replace, rename = os.fsync, Path.replace, Path.rename

    def recorded_sync(handle: int) -> None:
        found.append(("sync", Path(os.readlink(f"/proc/self/fd/{handle}"))))
        sync(handle)

    def recorded_replace(path: Path, target: Path) -> Path:
        found.append(("move", path))
        return replace(path, target)

    def recorded_rename(path: Path, target: Path) -> Path:
        found.append(("move", path))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    monkeypatch.setattr(Path, "rename", recorded_rename)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name what is synced")
def test_files_ledger_and_folders_are_synced_before_meta_appears(
    source: Path, tmp_path: Path, events: list[Event]
) -> None:
    out = tmp_path / "out"
    convert_here(source, out, **SETTINGS)
    moves = [path for kind, path in events if kind == "move"]
    meta = next(path for path in moves if path.name == META)
    files = [path for path in moves if path != meta]
    assert len(files) >= 3 * 2
    assert [path for path in files if ("sync", path) not in events[: events.index(("move", path))]] == []
    appears = events.index(("move", meta))
    folders = {out, meta, *out.glob("data/chunk-*"), *out.glob("videos/chunk-*/*")}
    after_last_file = events[events.index(("move", files[-1])) : appears]
    assert {*folders, out / LEDGER} <= {path for kind, path in after_last_file if kind == "sync"}
    assert events[appears + 1 :] == [("sync", out)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name what is synced")
def test_a_dataset_of_v3_is_on_the_disk_before_its_meta_appears(
    source: Path, tmp_path: Path, events: list[Event]
) -> None:
    out = tmp_path / "out"
    convert_here(source, tmp_path / "v21", **SETTINGS)
    events.clear()
    pack_dataset(tmp_path / "v21", out)
    meta = next(path for kind, path in events if kind == "move" and path.name == META)
    appears = events.index(("move", meta))
    synced = {path for kind, path in events[:appears] if kind == "sync"}
    within = {meta / path.relative_to(out / META) for path in (out / META).rglob("*")}
    assert len([path for path in within if path.suffix]) >= 4
    folders = {path for name in ("data", "videos") for path in (out / name).rglob("*") if path.is_dir()}
    assert {meta, *within, *folders, out, out / WORK} <= synced
    moved = [path for kind, path in events[:appears] if kind == "move"]
    assert {"README.md", "millrace.json", "packed_from.json"} <= {path.name for path in moved}
    assert [path for path in moved if ("sync", path) not in events[: events.index(("move", path))]] == []
    assert events[appears + 1] == ("sync", out)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name what is synced")
def test_the_ledger_is_synced_before_a_finished_file_gets_another_number(
    source: Path, tmp_path: Path, events: list[Event]
) -> None:
    out, video = tmp_path / "out", video_path(source, 0)
    content = video.read_bytes()
    video.write_bytes(content[:100])
    try:
        convert(recipe_for(source, **SETTINGS), out, workers=LOCAL, skip_bad=True)
    finally:
        video.write_bytes(content)
    renumbered = [place for place, (kind, path) in enumerate(events) if kind == "move" and path.is_relative_to(out)]
    renumbered = [place for place in renumbered if not events[place][1].is_relative_to(out / WORK)]
    assert len(renumbered) == 4  # rows and clip of both episodes
    for place in renumbered:
        moved = events[place][1]
        written = max(at for at, event in enumerate(events[:place]) if event[0] == "move" and event[1] != moved)
        ledger = max(at for at, event in enumerate(events[:place]) if event == ("sync", out / LEDGER))
        # Only this episode's own rows, which come with its clip, are moved between.
        assert ledger > written or events[written][1].suffix == ".parquet"
        assert sum(kind == "move" for kind, _ in events[ledger:place]) <= 1


def test_a_worker_of_a_killed_run_cannot_move_a_file_into_the_next(source: Path, tmp_path: Path) -> None:
    """The worker has its file open, as it would have; the name that it knows is gone."""
    out, clip = tmp_path / "out", Path("videos/chunk-000/observation.images.ego_view/episode_000000.mp4")
    convert_here(source, out, **SETTINGS)
    killed = out / WORK / "run-killed"
    killed.mkdir()
    unfinished = killed / "0.mp4"
    with unfinished.open("wb") as file, claim_output(out, [source], overwrite=True) as scratch:
        file.write(b"late")
        file.flush()
        with pytest.raises(FileNotFoundError):
            finish_file(unfinished, out, clip)
        assert [path for path in out.rglob("*") if path.suffix in (".mp4", ".parquet")] == []
        assert not killed.exists()
        assert scratch.is_dir()
