"""Every row and frame of a synthetic dataset is where its metadata says, in each layout."""

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.barcode import NO_EPISODE, Stamp, read
from support.synthetic import (
    ExtraColumn,
    SyntheticVideo,
    corrupt_bytes,
    edit_json,
    edit_jsonl,
    expected_action,
    expected_state,
    read_stamps,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
)

V3_OPTIONS = {
    "version": "v3.0",
    "episodes_per_data_file": 2,
    "episodes_per_video_file": {"top": 3, "wrist": 2},
    "episodes_per_meta_file": 2,
    "video_lead_frames": {"wrist": 5},
    "video": SyntheticVideo(codec="libx264", gop=250, bframes=3),
}
LENGTHS = (12, 7, 9)
CAMERAS = ("top", "wrist")


def table(paths: Any) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(paths)])


def assert_rows_are_known(rows: pa.Table) -> None:
    episodes, frames = rows["episode_index"].to_numpy(), rows["frame_index"].to_numpy()
    np.testing.assert_array_equal(episodes, np.repeat(np.arange(len(LENGTHS)), LENGTHS))
    np.testing.assert_array_equal(frames, np.concatenate([np.arange(length) for length in LENGTHS]))
    np.testing.assert_array_equal(rows["index"].to_numpy(), np.arange(sum(LENGTHS)))
    np.testing.assert_array_equal(rows["timestamp"].to_numpy(), (frames / 50).astype(np.float32))
    for key, known in {"observation.state": expected_state, "action": expected_action}.items():
        expected = np.concatenate([known(episode, range(length)) for episode, length in enumerate(LENGTHS)])
        np.testing.assert_array_equal(np.array(rows[key].to_pylist(), np.float32), expected)


def episode_stamps(episode: int, camera: int) -> list[Stamp]:
    return [Stamp(frame, episode, camera) for frame in range(LENGTHS[episode])]


@pytest.mark.parametrize(
    ("version", "video_path"),
    [
        ("v2.0", "videos/chunk-{chunk:03d}/{key}/episode_{episode:06d}.mp4"),
        ("v2.1", "videos/chunk-{chunk:03d}/{key}/episode_{episode:06d}.mp4"),
        ("v1.6", "videos/{key}_episode_{episode:06d}.mp4"),
        ("hybrid", "videos/{key}/episode_{episode:06d}.mp4"),
    ],
)
def test_layout_with_a_video_an_episode(tmp_path: Path, version: str, video_path: str) -> None:
    write_dataset(tmp_path, version=version, lengths=LENGTHS, cameras=CAMERAS, chunks_size=2)
    assert_rows_are_known(table(tmp_path.glob("data/**/*.parquet")))
    for episode in range(len(LENGTHS)):
        for camera, name in enumerate(CAMERAS):
            key = f"observation.images.{name}"
            path = tmp_path / video_path.format(chunk=episode // 2, key=key, episode=episode)
            assert read_stamps(path) == episode_stamps(episode, camera)


def test_v3_says_where_each_episode_lies(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, cameras=CAMERAS, chunks_size=1, **V3_OPTIONS)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert_rows_are_known(table(tmp_path.glob("data/**/*.parquet")))
    for row in table(tmp_path.glob("meta/episodes/**/*.parquet")).to_pylist():
        episode = row["episode_index"]
        data = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
        rows = pq.read_table(tmp_path / info["data_path"].format(**data))
        assert rows["episode_index"].to_pylist().count(episode) == row["length"] == LENGTHS[episode]
        for camera, key in enumerate(f"observation.images.{name}" for name in CAMERAS):
            place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
            times = [row[f"videos/{key}/{end}_timestamp"] for end in ("from", "to")]
            start, stop = (round(time * 50) for time in times)
            found = read_stamps(tmp_path / info["video_path"].format(video_key=key, **place))
            assert found[start:stop] == episode_stamps(episode, camera)


def test_v3_cameras_differ_in_files_and_offsets(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, cameras=CAMERAS, **V3_OPTIONS)
    files = {name: len(list((tmp_path / f"videos/observation.images.{name}").rglob("*.mp4"))) for name in CAMERAS}
    assert files == {"top": 1, "wrist": 2}
    first = read_stamps(tmp_path / "videos/observation.images.wrist/chunk-000/file-000.mp4")
    assert [stamp.episode for stamp in first[:6]] == [NO_EPISODE] * 5 + [0]
    with av.open(str(tmp_path / "videos/observation.images.top/chunk-000/file-000.mp4")) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


def test_v3_tasks_are_an_index_as_pandas_writes_it(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=(2, 2), tasks=["a", "b"], cameras=())
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "__index_level_0__": ["a", "b"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_v1_shards_cut_through_episodes(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v1.6", lengths=LENGTHS, num_shards=3)
    shards = [pq.read_table(path) for path in sorted(tmp_path.glob("data/*.parquet"))]
    assert [len(shard) for shard in shards] == [9, 9, 10]
    assert shards[1]["episode_index"].to_pylist() == [0] * 3 + [1] * 6
    assert shards[1]["observation.images.top"][3].as_py() == {
        "path": "videos/observation.images.top_episode_000001.mp4",
        "timestamp": 0.0,
    }
    assert [row for shard in shards for row in shard["next.done"].to_pylist()].count(True) == len(LENGTHS)


def test_v1_episode_index_is_a_safetensors_file(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v1.6", lengths=LENGTHS)
    content = (tmp_path / "meta_data/episode_data_index.safetensors").read_bytes()
    num_header = int.from_bytes(content[:8], "little")
    start, stop = json.loads(content[8 : 8 + num_header])["to"]["data_offsets"]
    numbers = np.frombuffer(content[8 + num_header :][start:stop], "<i8")
    assert numbers.tolist() == [12, 19, 28]


def test_hybrid_knows_no_task(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="hybrid", lengths=(3, 3))
    assert [path.name for path in (tmp_path / "meta").iterdir()] == ["info.json"]
    assert "task_index" not in pq.read_table(next(tmp_path.glob("data/*.parquet"))).column_names


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_image_dataset_holds_pngs_and_no_video(tmp_path: Path, version: str) -> None:
    write_dataset(tmp_path, version=version, lengths=LENGTHS, cameras=CAMERAS, images_as="image")
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert info["features"]["observation.images.wrist"]["dtype"] == "image"
    assert info["video_path"] is None
    assert not list(tmp_path.rglob("*.mp4"))
    rows = table(tmp_path.glob("data/**/*.parquet"))
    for row in (0, 12, 27):
        png = rows["observation.images.wrist"][row]["bytes"].as_py()
        with av.open(io.BytesIO(png), "r") as container:
            image = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)
        assert read(image) == Stamp(rows["frame_index"][row].as_py(), rows["episode_index"][row].as_py(), 1)


def test_v2_meta_agrees_with_the_rows(tmp_path: Path) -> None:
    tasks = ["fold", ["grasp", "lift"], "fold"]
    write_dataset(tmp_path, lengths=LENGTHS, cameras=CAMERAS, tasks=tasks, chunks_size=2, info_overrides={"fps": 25})
    info = json.loads((tmp_path / "meta/info.json").read_text())
    episodes, stored_tasks, stats = (
        [json.loads(line) for line in (tmp_path / f"meta/{name}.jsonl").read_text().splitlines()]
        for name in ("episodes", "tasks", "episodes_stats")
    )
    totals = {name: info[f"total_{name}"] for name in ("episodes", "frames", "tasks", "videos", "chunks")}
    assert totals == {"episodes": 3, "frames": 28, "tasks": 3, "videos": 6, "chunks": 2}
    assert info["fps"] == 25
    assert stored_tasks == [{"task_index": i, "task": task} for i, task in enumerate(["fold", "grasp", "lift"])]
    assert episodes[1] == {"episode_index": 1, "tasks": ["grasp", "lift"], "length": 7}
    rows = table(tmp_path.glob("data/**/*.parquet"))
    assert rows["task_index"].to_pylist()[12:19] == [1, 1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(stats[2]["stats"]["action"]["mean"], expected_action(2, range(9)).mean(0), rtol=1e-6)
    assert stats[2]["stats"]["action"]["count"] == [9]
    assert np.shape(stats[0]["stats"]["observation.images.top"]["mean"]) == (3, 1, 1)


def test_v20_keeps_statistics_of_the_whole(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v2.0", lengths=LENGTHS)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    states = np.concatenate([expected_state(episode, range(length)) for episode, length in enumerate(LENGTHS)])
    np.testing.assert_allclose(stats["observation.state"]["std"], states.std(0), rtol=1e-5)
    assert not (tmp_path / "meta/episodes_stats.jsonl").exists()


@pytest.mark.parametrize(
    ("names", "stored"),
    [
        ("motors", {"motors": ["joint_0", "joint_1"]}),
        ("nested", [["joint_0", "joint_1"]]),
        ("flat", ["joint_0", "joint_1"]),
        (None, None),
        ({"axes": ["x", "y"]}, {"axes": ["x", "y"]}),
    ],
)
def test_joint_names_are_stored_as_asked(tmp_path: Path, names: Any, stored: Any) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=(), state_width=2, names=names)
    assert json.loads((tmp_path / "meta/info.json").read_text())["features"]["action"]["names"] == stored


def test_parts_are_slices_of_the_known_rows(tmp_path: Path) -> None:
    parts = {
        "observation.left_arm": ["a", "b", "c"],
        "action.left_arm": ["a", "b", "c"],
        "observation.left_gripper": ["g"],
        "action.left_gripper": ["g"],
    }
    write_dataset(tmp_path, lengths=(5,), cameras=(), parts=parts)
    rows = pq.read_table(next(tmp_path.glob("data/**/*.parquet")))
    assert rows.schema.field("observation.left_gripper").type == pa.float32()
    np.testing.assert_array_equal(rows["action.left_gripper"].to_numpy(), expected_action(0, range(5), 4)[:, 3])
    np.testing.assert_array_equal(rows["observation.left_arm"].to_pylist(), expected_state(0, range(5), 3))


def test_extra_columns_are_stored_with_their_type(tmp_path: Path) -> None:
    columns = {
        "language": ExtraColumn(lambda episode, frames: [f"say {episode}"] * len(frames), dtype="string"),
        "tokens": ExtraColumn(lambda episode, frames: np.stack([frames, frames + 1], 1), dtype="int64", shape=(2,)),
    }
    write_dataset(tmp_path, lengths=(3,), cameras=(), extra_columns=columns, list_type="variable")
    rows = pq.read_table(next(tmp_path.glob("data/**/*.parquet")))
    assert rows["language"].to_pylist() == ["say 0"] * 3
    assert rows["tokens"].to_pylist() == [[0, 1], [1, 2], [2, 3]]
    assert rows.schema.field("action").type == pa.list_(pa.field("element", pa.float32()))


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, lengths=(40, 7), cameras=CAMERAS)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 4 + 2 + 4
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_no_two_joint_values_are_equal() -> None:
    frames = np.arange(1024)
    values = [known(episode, frames, 53) for known in (expected_state, expected_action) for episode in (0, 1, 127)]
    assert len(np.unique(np.concatenate(values))) == 6 * 1024 * 53
    assert np.abs(np.diff(values[0], axis=0)).min() > 0.05


def test_narrow_rows_are_the_start_of_wide_ones() -> None:
    np.testing.assert_array_equal(expected_state(3, [5, 2], 44)[:, :14], expected_state(3, [5, 2]))


def test_truncated_file_keeps_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(100)))
    truncate_file(path, 0.3)
    assert path.read_bytes() == bytes(range(30))


def test_corrupt_bytes_changes_only_its_stretch(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    corrupt_bytes(path, 0.5, 10, seed=1)
    assert np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8)).tolist() == list(range(50, 60))


def test_lfs_pointer_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(100))
    replace_with_lfs_pointer(path)
    assert path.read_text().startswith("version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert path.read_text().endswith("size 100\n")


def test_edits_reach_the_files(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(3, 2), cameras=())
    rewrite_parquet(tmp_path / "data/chunk-000/episode_000000.parquet", lambda rows: rows.drop_columns(["action"]))
    edit_json(tmp_path / "meta/info.json", lambda info: {key: info[key] for key in info if key != "total_frames"})
    edit_jsonl(tmp_path / "meta/episodes.jsonl", lambda rows: rows[1:])
    assert "action" not in pq.read_schema(tmp_path / "data/chunk-000/episode_000000.parquet").names
    assert "total_frames" not in json.loads((tmp_path / "meta/info.json").read_text())
    assert json.loads((tmp_path / "meta/episodes.jsonl").read_text())["episode_index"] == 1
