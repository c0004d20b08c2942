"""LeRobot v3.0 of a finished dataset: every row and frame is found again, and statistics are those of all values."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import (
    IMAGE_SIZE,
    LENGTHS,
    convert_here,
    data_path,
    files_of,
    read_meta,
    read_table,
    video_path,
)
from millrace.engine.errors import DatasetError, OutputExists
from millrace.engine.layout import LEDGER
from millrace.engine.packing import FileSizes, pack_dataset
from millrace.engine.packing.depth_clips import depth_path
from millrace.engine.sources import Clip, RowReader, open_source
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.join import join_clips
from millrace.engine.video.probe import probe_video
from support.synthetic import read_video, write_dataset

CAMERAS = ("top", "wrist")
KEY = "observation.images.top"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of two cameras at 20 Hz; not to be changed."""
    folder = tmp_path_factory.mktemp("packing")
    write_dataset(folder / "aloha", lengths=LENGTHS, cameras=CAMERAS)
    convert_here(folder / "aloha", folder / "out", robot="aloha")
    return folder / "out"


@pytest.fixture(scope="module")
def sizes(converted: Path) -> FileSizes:
    """Of files that hold the first two episodes, and not the third."""
    data = sum(data_path(converted, episode).stat().st_size for episode in (0, 1))
    videos = [sum(video_path(converted, episode, camera).stat().st_size for episode in (0, 1)) for camera in CAMERAS]
    return FileSizes(data, min(videos))


@pytest.fixture(scope="module")
def packed(converted: Path, sizes: FileSizes) -> Path:
    """The same in LeRobot v3.0, in small files; not to be changed."""
    out = converted.parent / "packed"
    pack_dataset(converted, out, sizes=sizes)
    return out


def episodes_table(packed: Path) -> list[dict[str, Any]]:
    """The rows of meta/episodes."""
    rows: list[dict[str, Any]] = pq.read_table(packed / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    return rows


def test_every_row_is_found_again(converted: Path, packed: Path) -> None:
    source = open_source(packed)
    assert source.layout == "LeRobot v3.0"
    assert len(source.episodes) == len(LENGTHS)
    assert len(list((packed / "data/chunk-000").iterdir())) > 1
    for episode in source.episodes:
        before = read_table(converted, episode.index)
        _, table = RowReader().read(episode, before.column_names)
        assert table.to_pylist() == before.to_pylist()


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_frame_is_found_again(converted: Path, packed: Path, camera: str) -> None:
    source = open_source(packed)
    assert len(list((packed / f"videos/observation.images.{camera}/chunk-000").iterdir())) > 1
    for episode in source.episodes:
        clip = episode.clips[camera]
        assert isinstance(clip, Clip)
        frames = decode_frames(clip, np.arange(episode.num_frames))
        found = [frame.to_ndarray(format="rgb24") for frame in frames]
        due = read_video(video_path(converted, episode.index, camera))
        assert len(found) == len(due)
        assert all(map(np.array_equal, found, due))


def test_what_is_converted_again_is_the_same(converted: Path, packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    convert_here(packed, again, robot="aloha", fps=20)
    for episode in range(len(LENGTHS)):
        assert data_path(again, episode).read_bytes() == data_path(converted, episode).read_bytes()
        for camera in CAMERAS:
            found, due = (read_video(video_path(root, episode, camera)) for root in (again, converted))
            assert len(found) == len(due)
            assert all(map(np.array_equal, found, due))
    stopped = tmp_path / "stopped"
    shutil.copytree(again, stopped)
    # As a run leaves it that was killed after its first episode.
    shutil.rmtree(stopped / "meta")
    for path in (data_path(stopped, 1), video_path(stopped, 2, "wrist"), stopped / "millrace.json"):
        path.unlink()
    ledger = stopped / LEDGER
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:2]))
    assert convert_here(packed, stopped, robot="aloha", fps=20).num_resumed == 1
    assert files_of(stopped) == files_of(again)


def test_meta_episodes_tell_places_times_and_tasks(converted: Path, packed: Path) -> None:
    lines, start = read_meta(converted, "episodes.jsonl"), 0
    for row, line in zip(episodes_table(packed), lines, strict=True):
        assert (row["episode_index"], row["length"], row["tasks"]) == (
            line["episode_index"],
            line["length"],
            line["tasks"],
        )
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (start, start + row["length"])
        path = packed / f"videos/{KEY}/chunk-000/file-{row[f'videos/{KEY}/file_index']:03d}.mp4"
        seconds = row[f"videos/{KEY}/to_timestamp"] - row[f"videos/{KEY}/from_timestamp"]
        assert path.is_file()
        assert seconds == pytest.approx(row["length"] / 20, abs=1e-9)
        start += row["length"]
    tasks = pq.read_table(packed / "meta/tasks.parquet")
    listed = [(line["task_index"], line["task"]) for line in read_meta(converted, "tasks.jsonl")]
    assert list(zip(tasks["task_index"].to_pylist(), tasks["task"].to_pylist(), strict=True)) == listed


def test_statistics_are_those_of_all_values(converted: Path, packed: Path) -> None:
    tables = [read_table(converted, episode) for episode in range(len(LENGTHS))]
    stats = json.loads((packed / "meta/stats.json").read_text())
    assert "__fingerprints__" not in stats
    for name in tables[0].column_names:
        of_each = [np.array(table[name].to_pylist(), dtype=np.float64).reshape(len(table), -1) for table in tables]
        check_statistics(stats[name], np.concatenate(of_each))
        for row, values in zip(episodes_table(packed), of_each, strict=True):
            check_statistics({key: row[f"stats/{name}/{key}"] for key in stats[name]}, values)


def check_statistics(found: dict[str, Any], values: np.ndarray) -> None:
    """Compare with what numpy makes of (N, D) values."""
    due = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    due |= {name: np.quantile(values, share, axis=0) for name, share in QUANTILES.items()}
    assert found.keys() == {*due, "count"}
    assert found["count"] == [len(values)]
    for name, numbers in due.items():
        np.testing.assert_allclose(found[name], numbers, rtol=1e-6, atol=1e-6)


def test_statistics_of_cameras_are_those_of_the_sampled_pixels(converted: Path, packed: Path) -> None:
    stats = json.loads((packed / "meta/stats.json").read_text())[KEY]
    sampled = []
    for episode in range(len(LENGTHS)):
        images = read_video(video_path(converted, episode))
        sampled += images[:: -(-len(images) // 4)]
    assert stats["count"] == [len(sampled)]
    # libav's own RGB of every pixel, where ours takes one of four: close, not equal.
    pixels = np.stack(sampled).reshape(-1, 3) / 255
    for name in ("mean", "q10", "q50", "q90"):
        assert np.shape(stats[name]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(stats["mean"]), pixels.mean(0), atol=0.02)
    assert np.all(np.ravel(stats["min"]) <= np.ravel(stats["q01"]))
    assert np.all(np.ravel(stats["q99"]) <= np.ravel(stats["max"]))


def test_info_says_v3(packed: Path, converted: Path) -> None:
    info, before = read_meta(packed, "info.json"), read_meta(converted, "info.json")
    assert info["codebase_version"] == "v3.0"
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert not {"total_videos", "total_chunks"} & info.keys()
    assert info["features"] == before["features"]
    assert all(info[name] == before[name] for name in ("fps", "robot_type", "total_episodes", "total_frames"))


def test_the_bytes_are_the_same_however_many_processes(
    converted: Path, packed: Path, sizes: FileSizes, tmp_path: Path
) -> None:
    pack_dataset(converted, tmp_path / "again", sizes=sizes, num_processes=2)
    assert files_of(tmp_path / "again") == files_of(packed)


def test_a_run_that_was_stopped_goes_on(converted: Path, packed: Path, sizes: FileSizes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    shutil.rmtree(out / "meta")
    kept, lost = sorted((out / "data/chunk-000").iterdir())[:2]
    lost.write_bytes(b"cut short")
    before = kept.stat().st_mtime_ns
    pack_dataset(converted, out, sizes=sizes)
    assert kept.stat().st_mtime_ns == before
    assert files_of(out) == files_of(packed)
    assert pack_dataset(converted, out, sizes=sizes).was_finished


def test_depth_clips_that_a_stopped_run_left_are_deleted(
    converted: Path, packed: Path, sizes: FileSizes, tmp_path: Path
) -> None:
    """It ended after meta/ had appeared and before they were deleted."""
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    clip = depth_path(out, 0, "top_depth")
    clip.parent.mkdir(parents=True)
    clip.touch()
    assert pack_dataset(converted, out, sizes=sizes).was_finished
    assert not clip.exists()


def test_other_sizes_leave_no_files_behind(converted: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(packed, out)
    pack_dataset(converted, out, sizes=FileSizes(), overwrite=True)
    assert [path.name for path in (out / "data/chunk-000").iterdir()] == ["file-000.parquet"]
    assert len(list(out.rglob("*.mp4"))) == len(CAMERAS)


def test_what_others_made_is_not_touched(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="notes"):
        pack_dataset(converted, tmp_path, overwrite=True)
    with pytest.raises(OutputExists, match="no LeRobot v3"):
        pack_dataset(converted, converted)
    with pytest.raises(DatasetError, match="no finished LeRobot"):
        pack_dataset(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("fps", [Fraction(20), Fraction(30000, 1001), Fraction(50)])
def test_a_thousand_clips_do_not_drift(converted: Path, tmp_path: Path, fps: Fraction) -> None:
    clip = video_path(converted, 2)
    length = probe_video(clip).num_frames
    path = tmp_path / "joined.mp4"
    join_clips([clip] * 1000, [length] * 1000, path, fps)
    facts = probe_video(path)
    assert facts.num_frames == 1000 * length
    assert facts.fps == fps
    assert not facts.has_b_frames
    assert facts.width == IMAGE_SIZE
