"""LeRobot v2.0 and v2.1 are opened by their files, read leniently, and what is malformed is named."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from conftest import data_path, video_path
from millrace.engine.errors import DatasetError, UnknownLayout
from millrace.engine.sources import Clip, RowRange, open_source
from support.synthetic import ALOHA_JOINTS, DEFAULT_TASK, edit_json, edit_jsonl, replace_with_lfs_pointer, write_dataset

LENGTHS = (4, 2, 3)


@pytest.fixture(params=["v2.0", "v2.1"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_dataset(tmp_path / "aloha", version=request.param, lengths=LENGTHS)
    return tmp_path / "aloha"


def test_all_that_conversion_needs_is_known_from_meta(root: Path) -> None:
    source = open_source(root)
    assert (source.fps, source.robot_type, source.cameras) == (Fraction(50), "aloha", ("top",))
    assert source.tasks == {0: DEFAULT_TASK}
    assert source.features["action"].names == ALOHA_JOINTS
    assert source.features["action"].shape == (14,)
    assert [episode.index for episode in source.episodes] == [0, 1, 2]
    assert [episode.num_frames for episode in source.episodes] == list(LENGTHS)
    assert [episode.tasks for episode in source.episodes] == [(DEFAULT_TASK,)] * 3


def test_every_episode_has_files_of_its_own(root: Path) -> None:
    for episode in open_source(root).episodes:
        assert episode.rows == (RowRange(data_path(root, episode.index)),)
        assert episode.clips == {"top": Clip(video_path(root, episode.index), episode.num_frames, Fraction(50))}
        assert data_path(root, episode.index).is_file()
        assert video_path(root, episode.index).is_file()


def test_the_version_is_shown(root: Path) -> None:
    assert open_source(root).layout in ("LeRobot v2.0", "LeRobot v2.1")


def test_opening_reads_neither_rows_nor_videos(root: Path) -> None:
    for path in (*root.glob("data/**/*.parquet"), *root.glob("videos/**/*.mp4")):
        path.unlink()
    assert len(open_source(root).episodes) == 3


def test_several_chunks_and_cameras_are_found(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, cameras=("top", "wrist"), chunks_size=2)
    source = open_source(tmp_path)
    assert source.cameras == ("top", "wrist")
    assert source.episodes[2].rows == (RowRange(data_path(tmp_path, 2, chunk=1)),)
    assert source.episodes[2].clips["wrist"] == Clip(video_path(tmp_path, 2, "wrist", chunk=1), 3, Fraction(50))


def test_several_tasks_are_kept_in_order(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, tasks=["fold", ["grasp", "lift"], "fold"], cameras=())
    source = open_source(tmp_path)
    assert source.tasks == {0: "fold", 1: "grasp", 2: "lift"}
    assert [episode.tasks for episode in source.episodes] == [("fold",), ("grasp", "lift"), ("fold",)]


@pytest.mark.parametrize("names", ["motors", "nested", "flat", {"axes": list(ALOHA_JOINTS)}])
def test_joint_names_are_found_however_they_are_stored(tmp_path: Path, names: Any) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=(), names=names)
    assert open_source(tmp_path).features["action"].names == ALOHA_JOINTS


@pytest.mark.parametrize("names", [None, [], {"motors": []}, 14])
def test_no_joint_names_are_no_error(tmp_path: Path, names: Any) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=(), names=names)
    assert open_source(tmp_path).features["action"].names is None


@pytest.mark.parametrize(
    ("stored", "fps"),
    [
        (50, Fraction(50)),
        (50.0, Fraction(50)),
        (29.97002997, Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
    ],
)
def test_the_rate_is_exact(tmp_path: Path, stored: Any, fps: Fraction) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=(), info_overrides={"fps": stored})
    assert open_source(tmp_path).fps == fps


def change_info(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: edit_json(root / "meta/info.json", change)


def without(*keys: str) -> Callable[[Any], Any]:
    return lambda content: {key: value for key, value in content.items() if key not in keys}


TOLERATED: dict[str, Callable[[Path], object]] = {
    "no totals": change_info(without("total_episodes", "total_frames", "total_videos", "total_chunks", "total_tasks")),
    "wrong totals": change_info(lambda info: {**info, "total_episodes": 7, "total_frames": -1}),
    "no version": change_info(without("codebase_version")),
    "another version": change_info(lambda info: {**info, "codebase_version": "v9"}),
    "no robot": change_info(without("robot_type")),
    "no path templates": change_info(without("data_path", "video_path")),
    "unknown fields": change_info(lambda info: {**info, "colour": "blue"}),
    "blank lines": lambda root: (root / "meta/episodes.jsonl").open("a").write("\n  \n"),
    "episodes in another order": lambda root: edit_jsonl(root / "meta/episodes.jsonl", lambda rows: rows[::-1]),
    "no statistics": lambda root: next(root.glob("meta/*stats*")).unlink(),
    "no task list": lambda root: (root / "meta/tasks.jsonl").unlink(),
}


@pytest.mark.parametrize("oddity", TOLERATED)
def test_what_readers_must_accept_is_accepted(root: Path, oddity: str) -> None:
    TOLERATED[oddity](root)
    source = open_source(root)
    assert [episode.num_frames for episode in source.episodes] == list(LENGTHS)
    assert source.episodes[1].clips["top"] == Clip(video_path(root, 1), 2, Fraction(50))


def test_pictures_may_be_described_channels_first(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(2,), image_shape="chw")
    assert open_source(tmp_path).cameras == ("top",)


MALFORMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda root: (root / "meta/info.json").write_text("{'fps': 50}"), r"meta/info\.json is not JSON"),
    "empty": (lambda root: (root / "meta/info.json").write_text(""), r"meta/info\.json is empty"),
    "no object": (lambda root: (root / "meta/info.json").write_text("[]"), r"meta/info\.json: "),
    "no text": (lambda root: (root / "meta/info.json").write_bytes(b"\xff\xfe{"), r"meta/info\.json cannot be read"),
    "deep": (lambda root: (root / "meta/info.json").write_text("[" * 100_000), r"meta/info\.json is not JSON"),
    "pointer": (
        lambda root: replace_with_lfs_pointer(root / "meta/info.json"),
        r"meta/info\.json is a Git LFS pointer",
    ),
    "no rate": (change_info(without("fps")), r"meta/info\.json: fps: "),
    "rate 0": (change_info(lambda info: {**info, "fps": 0}), r"meta/info\.json: fps: .*frame rate"),
    "rate in words": (change_info(lambda info: {**info, "fps": "fast"}), r"meta/info\.json: fps: .*frame rate"),
    "odd features": (change_info(lambda info: {**info, "features": []}), r"meta/info\.json: features: "),
    "no chunks": (change_info(lambda info: {**info, "chunks_size": 0}), r"meta/info\.json: chunks_size: "),
    "odd shape": (
        change_info(lambda info: info["features"]["action"].update(shape=["wide"])),
        r"meta/info\.json: features\.action\.shape",
    ),
    "escape": (
        change_info(lambda info: {**info, "data_path": "../../{episode_index}.parquet"}),
        r"meta/info\.json: path template .* leads out of the dataset",
    ),
    "absolute": (
        change_info(lambda info: {**info, "video_path": "/etc/{video_key}{episode_chunk}{episode_index}"}),
        r"meta/info\.json: path template .* leads out of the dataset",
    ),
    "escape by camera": (
        change_info(
            lambda info: info["features"].update({"../../../x": info["features"].pop("observation.images.top")})
        ),
        r"meta/info\.json: path template .* leads out of the dataset",
    ),
    "odd template": (
        change_info(lambda info: {**info, "data_path": "data/{episode}.parquet"}),
        r"meta/info\.json: path template 'data/{episode}\.parquet' has the field 'episode'\. Known: chunk, ",
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_metadata_is_an_error_of_one_line_that_names_the_file(root: Path, fault: str) -> None:
    spoil, told = MALFORMED[fault]
    spoil(root)
    with pytest.raises(DatasetError, match=told) as caught:
        open_source(root)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at .*/nowhere: there is no such folder"):
        open_source(tmp_path / "nowhere")


def test_an_unknown_layout_says_what_was_found_and_expected(tmp_path: Path) -> None:
    (tmp_path / "frames.zarr").mkdir()
    with pytest.raises(UnknownLayout, match=r"found frames\.zarr\. Expected meta/info\.json"):
        open_source(tmp_path)


def test_a_task_may_hold_any_separator_of_lines_but_the_one_of_files(root: Path) -> None:
    task = "Pick\u2028 up\x85 the cube"
    edit_jsonl(root / "meta/tasks.jsonl", lambda rows: [{**rows[0], "task": task}])
    text = (root / "meta/tasks.jsonl").read_text()
    (root / "meta/tasks.jsonl").write_text(text.encode("ascii").decode("unicode_escape"), encoding="utf-8")
    assert open_source(root).tasks == {0: task}
