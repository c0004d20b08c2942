"""One contract for every layout: the same episodes in, the same rows and the right frames out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from av import CodecContext, Packet

from conftest import LOCAL, REPOSITORY, convert_here, files_of, matrix, read_meta, read_table, recipe_for, video_path
from engine.convert import convert
from engine.errors import DatasetError, EpisodesFailed, UnknownLayout
from engine.resample import nearest
from engine.sources import Clip, ImageColumn, open_source
from synthetic import (
    DEFAULT_TASK,
    SyntheticVideo,
    expected_action,
    expected_state,
    read_stamps,
    replace_with_lfs_pointer,
    rewrite_parquet,
    write_dataset,
)

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
    "v1.6 of the Hub": {"version": "v1.6"},
    "v1.6, rows cut through episodes": {"version": "v1.6", "num_shards": 3},
    "the guide's tree": {"version": "hybrid"},
    "the guide's tree, rows cut through episodes": {"version": "hybrid", "num_shards": 3},
}
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
        assert all(isinstance(clip, ImageColumn if "images" in layout else Clip) for clip in episode.clips.values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_converts_to_the_same_rows_and_the_right_frames(layout: str, make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cameras = LAYOUTS[layout].get("cameras", ("top",))
    convert_here(make(**LAYOUTS[layout]), out, robot="aloha", task=TASK)
    for episode, length in enumerate(LENGTHS):
        frames = nearest(length, source_fps=Fraction(50), target_fps=Fraction(20))
        table = read_table(out, episode)
        np.testing.assert_array_equal(matrix(table, "observation.state"), expected_state(episode, frames))
        np.testing.assert_array_equal(matrix(table, "action"), expected_action(episode, frames))
        for number, camera in enumerate(cameras):
            stamps = read_stamps(video_path(out, episode, camera))
            assert [stamp.frame for stamp in stamps] == frames.tolist()
            assert {(stamp.episode, stamp.camera) for stamp in stamps} == {(episode, number)}
    assert [line["task"] for line in read_meta(out, "tasks.jsonl")] == [TASK]


@pytest.mark.parametrize("layout", ["v2.0", "v2.1", "v3.0"])
def test_tasks_of_the_source_are_kept(layout: str, make: Make, tmp_path: Path) -> None:
    source = make(**LAYOUTS[layout], tasks=["fold", ["grasp", "lift"], "fold", "lift", "fold"])
    convert_here(source, tmp_path / "out")
    episodes = read_meta(tmp_path / "out", "episodes.jsonl")
    assert [line["tasks"] for line in episodes] == [["fold"], ["grasp", "lift"], ["fold"], ["lift"], ["fold"]]


@pytest.mark.parametrize("layout", ["v1.6 of the Hub", "the guide's tree"])
def test_a_layout_without_tasks_needs_one(layout: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"names no task for episode 0; .*--task"):
        convert_here(make(**LAYOUTS[layout]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_v3_does_not_need_the_index_of_its_data_files(make: Make, tmp_path: Path) -> None:
    source = make(**V3)
    for path in source.glob("meta/episodes/*/*.parquet"):
        rewrite_parquet(path, lambda table: table.drop_columns(["data/chunk_index", "data/file_index"]))
    convert_here(source, tmp_path / "out")
    assert len(read_meta(tmp_path / "out", "episodes.jsonl")) == len(LENGTHS)


def test_v3_rows_are_found_by_their_own_episode_index(make: Make, tmp_path: Path) -> None:
    """As when files were merged in another order than meta/ says."""
    source = make(**V3)
    first, second = (source / f"data/chunk-000/file-{number:03d}.parquet" for number in (0, 1))
    first.rename(tmp_path / "kept")
    second.rename(first)
    (tmp_path / "kept").rename(second)
    convert_here(source, tmp_path / "out", robot="aloha")
    for episode, length in enumerate(LENGTHS):
        frames = nearest(length, source_fps=Fraction(50), target_fps=Fraction(20))
        rows = matrix(read_table(tmp_path / "out", episode), "observation.state")
        np.testing.assert_array_equal(rows, expected_state(episode, frames))


def test_v3_rows_that_are_nowhere_are_named(make: Make, tmp_path: Path) -> None:
    source = make(**V3)
    path = source / "data/chunk-000/file-001.parquet"
    rewrite_parquet(path, lambda table: table.filter(pc.not_equal(table["episode_index"], 3)))
    with pytest.raises(EpisodesFailed, match=r"^episode 3: no rows of episode 3 below .*/data$"):
        convert_here(source, tmp_path / "out")


def test_v3_offsets_may_drift_by_less_than_half_a_frame(make: Make, tmp_path: Path) -> None:
    source = make(**V3)

    def drift(table: pa.Table) -> pa.Table:
        name = "videos/observation.images.top/from_timestamp"
        moved = pc.add(table[name], pa.scalar(0.008))
        return table.set_column(table.schema.get_field_index(name), name, moved)

    for path in source.glob("meta/episodes/*/*.parquet"):
        rewrite_parquet(path, drift)
    convert_here(source, tmp_path / "out")
    for episode in range(len(LENGTHS)):
        assert {stamp.episode for stamp in read_stamps(video_path(tmp_path / "out", episode, "ego_view"))} == {episode}


def test_v3_clip_that_runs_past_its_file_is_named(make: Make, tmp_path: Path) -> None:
    source = make(version="v3.0")

    def late(table: pa.Table) -> pa.Table:
        name = "videos/observation.images.top/from_timestamp"
        return table.set_column(table.schema.get_field_index(name), name, pc.add(table[name], pa.scalar(0.1)))

    for path in source.glob("meta/episodes/*/*.parquet"):
        rewrite_parquet(path, late)
    with pytest.raises(EpisodesFailed, match=r"episode 4, camera top: 18 rows, but 13 frames in .*\.mp4 from 3\.1"):
        convert_here(source, tmp_path / "out", episodes="4:5", horizon=4)


def test_pictures_that_are_none_are_named(make: Make, tmp_path: Path) -> None:
    source = make(version="v2.1", images_as="image")
    path = source / "data/chunk-000/episode_000001.parquet"

    def spoil(table: pa.Table) -> pa.Table:
        name = "observation.images.top"
        pictures = table[name].to_pylist()
        pictures[5]["bytes"] = pictures[5]["bytes"][:200]
        column = pa.array(pictures, table.schema.field(name).type)
        return table.set_column(table.schema.get_field_index(name), name, column)

    rewrite_parquet(path, spoil)
    with pytest.raises(EpisodesFailed, match=r"^episode 1, camera top: .*row 5 of .*episode_000001.parquet is corrupt"):
        convert_here(source, tmp_path / "out")


@pytest.mark.parametrize("layout", ["v3.0", "v1.6 of the Hub", "the guide's tree"])
def test_lfs_pointers_are_named(layout: str, make: Make) -> None:
    source = make(**LAYOUTS[layout])
    replace_with_lfs_pointer(next(source.glob("data/**/*.parquet")))
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


def test_v3_length_that_is_too_short_is_named(make: Make, tmp_path: Path) -> None:
    source = make(version="v3.0")

    def shorten(table: pa.Table) -> pa.Table:
        lengths = [length - 3 if index == 1 else length for index, length in enumerate(table["length"].to_pylist())]
        return table.set_column(table.schema.get_field_index("length"), "length", pa.array(lengths))

    for path in source.glob("meta/episodes/*/*.parquet"):
        rewrite_parquet(path, shorten)
    with pytest.raises(EpisodesFailed, match=r"^episode 1: 33 rows in .*, but the metadata says 30$"):
        convert_here(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("videos/observation.images.top/from_timestamp", float("nan")),
        ("videos/observation.images.top/from_timestamp", -1.0),
        ("videos/observation.images.top/file_index", None),
        ("tasks", "pick"),
    ],
)
def test_v3_metadata_of_the_wrong_kind_is_named(column: str, value: Any, make: Make) -> None:
    source = make(version="v3.0")

    def spoil(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index(column), column, pa.array([value] * len(table)))

    for path in source.glob("meta/episodes/*/*.parquet"):
        rewrite_parquet(path, spoil)
    with pytest.raises(DatasetError, match=r"file-000\.parquet, row 0: "):
        open_source(source)


def test_v1_that_describes_no_features_may_hold_lists_of_any_length(make: Make, tmp_path: Path) -> None:
    source = make(version="v1.6", list_type="variable")
    convert_here(source, tmp_path / "out", robot="aloha", task=TASK)
    frames = nearest(LENGTHS[0], source_fps=Fraction(50), target_fps=Fraction(20))
    rows = matrix(read_table(tmp_path / "out", 0), "observation.state")
    np.testing.assert_array_equal(rows, expected_state(0, frames))


def as_jpeg(picture: bytes) -> bytes:
    """A PNG file as a JPEG file."""
    decoder, encoder = CodecContext.create("png", "r"), CodecContext.create("mjpeg", "w")
    (frame,) = [*decoder.decode(Packet(picture)), *decoder.decode(None)]
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 50)
    encoder.open()
    frame = frame.reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.fixture
def jpegs(make: Make) -> Path:
    """A dataset whose pictures are JPEG files within the rows."""
    source = make(version="v2.1", images_as="image", lengths=(40, 33))
    name = "observation.images.top"

    def recode(table: pa.Table) -> pa.Table:
        pictures = [{**picture, "bytes": as_jpeg(picture["bytes"])} for picture in table[name].to_pylist()]
        return table.set_column(
            table.schema.get_field_index(name), name, pa.array(pictures, table.schema.field(name).type)
        )

    for path in source.glob("data/*/*.parquet"):
        rewrite_parquet(path, recode)
    return source


def test_jpegs_within_the_rows_are_pictures_as_well(jpegs: Path, tmp_path: Path) -> None:
    convert_here(jpegs, tmp_path / "out")
    for episode, length in enumerate((40, 33)):
        frames = nearest(length, source_fps=Fraction(50), target_fps=Fraction(20))
        stamps = read_stamps(video_path(tmp_path / "out", episode, "ego_view"))
        assert [(stamp.frame, stamp.episode) for stamp in stamps] == [(frame, episode) for frame in frames]


def test_a_truncated_jpeg_is_named(jpegs: Path, tmp_path: Path) -> None:
    name = "observation.images.top"

    def cut(table: pa.Table) -> pa.Table:
        pictures = table[name].to_pylist()
        pictures[5]["bytes"] = pictures[5]["bytes"][:-300]
        return table.set_column(
            table.schema.get_field_index(name), name, pa.array(pictures, table.schema.field(name).type)
        )

    rewrite_parquet(jpegs / "data/chunk-000/episode_000001.parquet", cut)
    with pytest.raises(EpisodesFailed, match=r"^episode 1, camera top: .* row 5 of .*parquet is truncated$"):
        convert_here(jpegs, tmp_path / "out")
