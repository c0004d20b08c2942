"""One contract for every layout: the same episodes in, the same rows and the right frames out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, REPOSITORY, convert_here, files_of, read_meta, recipe_for
from millrace.engine.convert import convert
from millrace.engine.errors import DatasetError, UnknownLayout
from millrace.engine.sources import Clip, ImageColumn, open_source
from millrace.engine.sources.frame_folder import ImageFolder
from millrace.engine.sources.hdf5.hdf5_images import Hdf5Images
from millrace.engine.sources.xr_images import RecordedImages
from support.synthetic import DEFAULT_TASK, SyntheticVideo, replace_with_lfs_pointer, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (40, 33, 26, 51, 18)
TASK = "Hand over the cube."
H264 = SyntheticVideo(codec="libx264", gop=250, bframes=3)
OPEN_GOP = SyntheticVideo(codec="libx264", gop=12, bframes=3, open_gop=True)
V3 = {"version": "v3.0", "episodes_per_data_file": 2, "episodes_per_video_file": 3}
LAYOUTS: dict[str, dict[str, Any]] = {
    "v2.0": {"version": "v2.0"},
    "v2.1": {"version": "v2.1"},
    "v2.1, images in parquet": {"version": "v2.1", "images_as": "image"},
    "v2.1, several chunks": {"version": "v2.1", "chunks_size": 2},
    "v3.0": V3,
    "v3.0, everything in one file": {"version": "v3.0"},
    "v3.0, an offset and a split for each camera": {
        **V3,
        "cameras": ("top", "wrist"),
        "episodes_per_video_file": {"top": 3, "wrist": 2},
        "video_lead_frames": {"top": 5, "wrist": 2},
    },
    "v3.0, episodes between key frames": {**V3, "video": H264},
    "v3.0, open GOP": {**V3, "video": OPEN_GOP},
    "v3.0, images in parquet": {"version": "v3.0", "images_as": "image", "episodes_per_data_file": 2},
    "v3.0, rows cut through episodes": {**V3, "rows_per_data_file": 35},
    "v3.0, rows and images cut through episodes": {"version": "v3.0", "images_as": "image", "rows_per_data_file": 35},
    "v1.6 of the Hub": {"version": "v1.6"},
    "v1.6, rows cut through episodes": {"version": "v1.6", "num_shards": 3},
    "v1.6, images in parquet": {"version": "v1.6", "images_as": "image"},
    "v1.6, images cut through episodes": {"version": "v1.6", "images_as": "image", "num_shards": 3},
    "the guide's tree": {"version": "hybrid"},
    "the guide's tree, rows cut through episodes": {"version": "hybrid", "num_shards": 3},
    "the guide's tree, images in parquet": {"version": "hybrid", "images_as": "image"},
    "frames beside CSV files": {"version": "frames", "cameras": ("top", "wrist")},
    "frames beside parquet files": {"version": "frames", "rows_as": "parquet"},
    "HDF5 of ACT": {"version": "act", "cameras": ("top", "wrist")},
    "HDF5 of ACT, JPEG rows": {"version": "act", "images_as": "image", "picture_format": "jpeg"},
    "xr_teleoperate": {"version": "xr_teleoperate", "cameras": ("color_0", "color_1")},
}
# Of layouts that hold no ALOHA.
ROBOTS = {"xr_teleoperate": "g1_arms"}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a dataset of one of the layouts."""

    def write(**options: Any) -> Path:
        write_dataset(tmp_path / "source", **{"lengths": LENGTHS, **options})
        return tmp_path / "source"

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_episodes(layout: str, make: Make) -> None:
    source = open_source(make(**LAYOUTS[layout]))
    assert source.fps == Fraction(50)
    assert [episode.index for episode in source.episodes] == list(range(len(LENGTHS)))
    assert [episode.num_frames for episode in source.episodes] == list(LENGTHS)
    for episode in source.episodes:
        assert set(episode.clips) == set(source.cameras)
        assert all(clip.num_frames == episode.num_frames for clip in episode.clips.values())
        kinds = {"frames beside": ImageFolder, "HDF5": Hdf5Images, "images": ImageColumn, "xr": RecordedImages}
        kind = next((kind for words, kind in kinds.items() if words in layout), Clip)
        assert all(isinstance(clip, kind) for clip in episode.clips.values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_converts_to_the_same_rows_and_the_right_frames(layout: str, make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cameras = LAYOUTS[layout].get("cameras", ("top",))
    convert_here(make(**LAYOUTS[layout]), out, robot=ROBOTS.get(layout, "aloha"), task=TASK)
    assert_converted(out, LENGTHS, cameras=cameras)
    assert [line["task"] for line in read_meta(out, "tasks.jsonl")] == [TASK]


@pytest.mark.parametrize("layout", ["v2.0", "v2.1", "v3.0"])
def test_tasks_of_the_source_are_kept(layout: str, make: Make, tmp_path: Path) -> None:
    source = make(**LAYOUTS[layout], tasks=["fold", ["grasp", "lift"], "fold", "lift", "fold"])
    convert_here(source, tmp_path / "out")
    episodes = read_meta(tmp_path / "out", "episodes.jsonl")
    assert [line["tasks"] for line in episodes] == [["fold"], ["grasp", "lift"], ["fold"], ["lift"], ["fold"]]


@pytest.mark.parametrize("layout", ["v1.6 of the Hub", "the guide's tree"])
def test_a_layout_without_tasks_needs_one(layout: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"names no task for episode 0; .*task="):
        convert_here(make(**LAYOUTS[layout]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["v3.0", "v1.6 of the Hub", "the guide's tree"])
def test_lfs_pointers_are_named(layout: str, make: Make) -> None:
    source = make(**LAYOUTS[layout])
    for path in source.glob("data/**/*.parquet"):
        replace_with_lfs_pointer(path)
    with pytest.raises(DatasetError, match="is a Git LFS pointer"):
        open_source(source)


def test_a_folder_of_no_layout_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UnknownLayout, match=r"found photos\. Expected meta/info.json"):
        open_source(tmp_path)


DATASETS = REPOSITORY.parent / "shared/datasets"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same three ALOHA episodes, converted from each layout."""
    if not DATASETS.is_dir():
        pytest.skip(f"no real datasets at {DATASETS}")
    outs = {}
    for name in ("aloha_v1_hybrid", "aloha_v20", "aloha_v21", "aloha_v30"):
        outs[name] = tmp_path_factory.mktemp("real") / name
        recipe = recipe_for(DATASETS / name, task=TASK, episodes="0:3", image_size=256)
        convert(recipe, outs[name], workers=LOCAL)
    return outs


@pytest.mark.parametrize("layout", ["aloha_v1_hybrid", "aloha_v20"])
def test_real_episodes_are_byte_identical_from_every_layout(layout: str, real: dict[str, Path]) -> None:
    expected = files_of(real["aloha_v21"])
    found = files_of(real[layout])
    for name in expected:
        if name.startswith(("data/", "videos/")):
            assert found[name] == expected[name], name


def test_real_v3_has_the_same_rows_and_as_many_frames(real: dict[str, Path]) -> None:
    expected, found = files_of(real["aloha_v21"]), files_of(real["aloha_v30"])
    assert expected.keys() == found.keys()
    assert all(found[name] == expected[name] for name in expected if name.startswith("data/"))


def test_default_task_is_the_sources(make: Make, tmp_path: Path) -> None:
    convert_here(make(version="v3.0"), tmp_path / "out")
    assert read_meta(tmp_path / "out", "tasks.jsonl") == [{"task_index": 0, "task": DEFAULT_TASK}]


def test_v1_that_describes_no_features_may_hold_lists_of_any_length(make: Make, tmp_path: Path) -> None:
    source = make(version="v1.6", list_type="variable")
    convert_here(source, tmp_path / "out", robot="aloha", task=TASK)
    assert_converted(tmp_path / "out", LENGTHS)
