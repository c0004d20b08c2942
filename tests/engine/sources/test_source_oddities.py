"""Every oddity that LeRobot datasets are known for is read as if it were none, or named for what it is.

Each name in these tables is one thing that a reader must accept. What is accepted is converted, and every value and
picture compared. Joints and cameras split over columns: test_split_columns.py; more faults of v3.0: test_source_v3.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import convert_here, data_path, video_path
from millrace.engine.errors import DatasetError, EpisodesFailed
from millrace.engine.sources import open_source
from support.synthetic import (
    ALOHA_JOINTS,
    ExtraColumn,
    SyntheticVideo,
    edit_column,
    edit_json,
    replace_with_lfs_pointer,
    rewrite_parquet,
    write_dataset,
)
from support.synthetic_check import assert_converted

LENGTHS = (12, 9, 11, 8)
REVERSED = ALOHA_JOINTS[::-1]
# So that only the names tell where a joint is.
BY_NAME = tuple(REVERSED.index(joint) for joint in ALOHA_JOINTS)
V3 = {"version": "v3.0", "episodes_per_data_file": 2, "episodes_per_video_file": 3}
OFFSETS = {**V3, "cameras": ("top", "wrist"), "video_lead_frames": {"top": 5, "wrist": 2}}
H264 = SyntheticVideo(codec="libx264", gop=250, bframes=3)
META = "meta/episodes/chunk-000/file-000.parquet"
TOTALS = ("total_episodes", "total_frames", "total_tasks", "total_videos", "total_chunks", "splits")


@dataclass(frozen=True)
class Oddity:
    """A dataset written with options and then changed; joints: see `assert_converted`."""

    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Path], object] = lambda root: None
    joints: tuple[int, ...] | None = None


def in_info(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    return lambda root: edit_json(root / "meta/info.json", change)


def in_cameras(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    """Change how info.json describes each camera."""

    def change_features(info: dict[str, Any]) -> dict[str, Any]:
        features = info["features"]
        cameras = {key: change(value) for key, value in features.items() if value["dtype"] == "video"}
        return {**info, "features": {**features, **cameras}}

    return in_info(change_features)


def rename_video_info(old: str, new: str | None) -> Callable[[Path], None]:
    return in_cameras(lambda camera: {(new if key == old else key): camera[key] for key in camera if new or key != old})


def append_blank_lines(root: Path) -> None:
    for path in root.glob("meta/*.jsonl"):
        path.write_text(path.read_text() + "\n   \n\n")


def edit_meta(column: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Path], None]:
    return lambda root: edit_column(root / META, column, change)


def name_the_file_before(files: list[int]) -> list[int]:
    """What LeRobot's converter up to 0.4.4 writes for the first episode of each new data file."""
    return [max(0, file - 1) if file not in files[:place] else file for place, file in enumerate(files)]


def drift(seconds: float) -> Callable[[Path], None]:
    """As sums of float32 do, the further into a file the more."""
    return edit_meta(
        "videos/observation.images.top/from_timestamp",
        lambda starts: [float(np.float32(start)) + (seconds if start else 0) for start in starts],
    )


EXTRAS = {
    "language": ExtraColumn(lambda episode, frames: [f"say {episode}"] * len(frames), dtype="string"),
    "tokens": ExtraColumn(lambda episode, frames: np.stack([frames, frames + 1], 1), dtype="int64", shape=(2,)),
    "is_good": ExtraColumn(lambda episode, frames: frames % 2 == 0, dtype="bool"),
}
ACCEPTED = {
    "names in a dict": Oddity({"names": {"motors": list(REVERSED)}}, joints=BY_NAME),
    "names in a nested list": Oddity({"names": [list(REVERSED)]}, joints=BY_NAME),
    "names in a flat list": Oddity({"names": list(REVERSED)}, joints=BY_NAME),
    "names null": Oddity({"names": None}),
    "image shape height, width, channel": Oddity({"image_shape": "hwc"}),
    "image shape channels, height, width": Oddity({"image_shape": "chw"}),
    "fps an int": Oddity({"info_overrides": {"fps": 50}}),
    "fps a float": Oddity({"info_overrides": {"fps": 50.0}}),
    "missing totals": Oddity(change=in_info(lambda info: {key: info[key] for key in info if key not in TOTALS})),
    "info": Oddity({"version": "v2.1"}),
    "video_info": Oddity({"version": "v2.0"}),
    "info where video_info belongs": Oddity({"version": "v2.0"}, rename_video_info("video_info", "info")),
    "video_info where info belongs": Oddity({"version": "v2.1"}, rename_video_info("info", "video_info")),
    "neither info nor video_info": Oddity(change=rename_video_info("info", None)),
    "extra columns of ints, strings and bools": Oddity({"extra_columns": EXTRAS}),
    "extra columns, v3.0": Oddity({**V3, "extra_columns": EXTRAS}),
    "extra columns, v1.6": Oddity({"version": "v1.6", "extra_columns": EXTRAS}),
    "blank trailing lines": Oddity(change=append_blank_lines),
    "the wrong data file for a file's first episode": Oddity(V3, edit_meta("data/file_index", name_the_file_before)),
    "missing data/chunk_index and data/file_index": Oddity(
        V3,
        lambda root: rewrite_parquet(
            root / META, lambda table: table.drop_columns(["data/chunk_index", "data/file_index"])
        ),
    ),
    "dataset_from_index local to the file": Oddity(
        V3, edit_meta("dataset_from_index", lambda starts: [0, starts[1], 0, starts[3] - starts[2]])
    ),
    "missing dataset_from_index": Oddity(
        V3, lambda root: rewrite_parquet(root / META, lambda table: table.drop_columns(["dataset_from_index"]))
    ),
    "from_timestamp drifts ahead": Oddity(V3, drift(0.008)),
    "from_timestamp drifts back": Oddity(V3, drift(-0.008)),
    "an offset and a split for each camera": Oddity(
        {**OFFSETS, "episodes_per_video_file": {"top": 3, "wrist": 2}},
    ),
    "H.264 whose episodes begin between key frames": Oddity({**OFFSETS, "video": H264}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_readers_must_accept_is_converted_rightly(name: str, tmp_path: Path) -> None:
    oddity = ACCEPTED[name]
    write_dataset(tmp_path / "source", **{"lengths": LENGTHS, **oddity.options})
    oddity.change(tmp_path / "source")
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", task="Pick.", horizon=4)
    cameras = oddity.options.get("cameras", ("top",))
    assert_converted(tmp_path / "out", LENGTHS, cameras=cameras, joints=oddity.joints)


def test_a_first_episode_really_names_the_wrong_file() -> None:
    assert name_the_file_before([0, 0, 1, 1, 2]) == [0, 0, 0, 1, 1]


LFS = r"is a Git LFS pointer, not the file itself; run `git lfs pull`"
POINTERS_AT_OPENING = {
    "v2.1": "meta/info.json",
    "v2.0": "meta/episodes.jsonl",
    "v3.0": "meta/episodes/chunk-000/file-000.parquet",
    "v3.0, rows": "data/chunk-000/file-000.parquet",
    "v3.0, tasks": "meta/tasks.parquet",
    "v1.6": "data/train-00000-of-00001.parquet",
    "hybrid": "data/train-00000-of-00001.parquet",
}


@pytest.mark.parametrize("case", POINTERS_AT_OPENING)
def test_an_lfs_pointer_is_named_when_the_dataset_is_opened(case: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, version=case.partition(",")[0])
    replace_with_lfs_pointer(tmp_path / POINTERS_AT_OPENING[case])
    with pytest.raises(DatasetError, match=f"{POINTERS_AT_OPENING[case]} {LFS}"):
        open_source(tmp_path)


@pytest.mark.parametrize("path_of", [data_path, video_path])
def test_an_lfs_pointer_is_named_when_its_episode_is_converted(path_of: Callable[..., Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS)
    replace_with_lfs_pointer(path_of(source, 1))
    with pytest.raises(EpisodesFailed, match=rf"^episode 1\b.*{path_of(source, 1)} {LFS}"):
        convert_here(source, tmp_path / "out", horizon=4)
