"""Depth cameras in LeRobot v3.0: every code of every kept frame is the source's; other depth is left out and said."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import LOCAL, files_of, read_meta, recipe_for
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import DatasetError, OutputExists
from millrace.engine.packing import FileSizes
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.sources import open_source
from millrace.engine.validate import validate
from millrace.engine.video.decode import decode_frames
from support.depth_videos import KEY, SCALE, add_depth, depth_codes
from support.processes import convert_in_child
from support.synthetic import edit_column, write_dataset

LENGTHS = (9, 12)
BOTH, ALONE = Layouts(("v2.1", "v3.0")), Layouts(("v3.0",))
STEP = 2  # 50 Hz to 25


def recipe_of(source: Path) -> Recipe:
    return recipe_for(source, robot="aloha", fps=25, horizon=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes with a depth camera; not to be changed."""
    root = tmp_path_factory.mktemp("depth") / "aloha"
    write_dataset(root, lengths=LENGTHS)
    add_depth(root, LENGTHS)
    return root


@pytest.fixture(scope="module")
def out(source: Path) -> Path:
    """Both layouts; not to be changed."""
    summary = convert(recipe_of(source), source.parent / "out", workers=LOCAL, layouts=BOTH)
    said = f"{source}: camera 'top_depth' holds depth, which v2.1 leaves out and v3.0 keeps"
    assert said in summary.notes
    return source.parent / "out"


@pytest.fixture(scope="module")
def packed(out: Path) -> Path:
    return out.with_name("out_v30")


def test_every_code_of_a_kept_frame_is_the_sources(packed: Path) -> None:
    for episode in open_source(packed).episodes:
        clip = episode.depth["top_depth"]
        found = [frame.to_ndarray() for frame in decode_frames(clip, np.arange(episode.num_frames))]
        due = [depth_codes(episode.index, frame) for frame in range(0, LENGTHS[episode.index], STEP)]
        assert len(found) == len(due)
        assert all(map(np.array_equal, found, due))


def test_it_is_a_valid_dataset(packed: Path) -> None:
    assert [str(problem) for problem in validate(packed, deep=True).problems] == []


def test_v2_has_none_of_it(source: Path, out: Path, tmp_path: Path) -> None:
    assert not [name for name in files_of(out) if "depth" in name]
    assert KEY not in read_meta(out, "info.json")["features"]
    convert(recipe_of(source), tmp_path / "out", workers=LOCAL)
    assert files_of(tmp_path / "out") == files_of(out)


def test_metadata_describes_it_as_lerobot_does(packed: Path) -> None:
    feature = read_meta(packed, "info.json")["features"][KEY]
    assert (feature["dtype"], feature["shape"]) == ("video", [48, 64, 1])
    assert feature["info"]["is_depth_map"] is True
    assert {name: feature["info"][f"video.{name}"] for name in SCALE} == SCALE
    stats = read_meta(packed, "stats.json")[KEY]
    sampled = [depth_codes(0, frame) for frame in (0, 4, 8)] + [depth_codes(1, frame) for frame in (0, 4, 8)]
    ends = np.log([SCALE["depth_min"] + SCALE["shift"], SCALE["depth_max"] + SCALE["shift"]])
    millimetres = 1000 * (np.exp(ends[0] + (ends[1] - ends[0]) * np.stack(sampled) / 4095) - SCALE["shift"])
    assert stats["count"] == [len(sampled)]
    np.testing.assert_allclose(np.ravel(stats["mean"]), millimetres.mean(), rtol=1e-9)
    np.testing.assert_allclose(np.ravel(stats["q10"]), np.quantile(millimetres, 0.1), rtol=1e-9)
    row = pq.read_table(packed / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    assert row[f"videos/{KEY}/from_timestamp"] == pytest.approx(5 / 25)
    assert np.shape(row[f"stats/{KEY}/max"]) == (1, 1, 1)


def test_a_killed_run_goes_on_to_the_same_bytes(source: Path, out: Path, packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "out"
    convert(recipe_of(source), again, workers=LOCAL)
    for num_changes in (4, 9, 14):
        assert convert_in_child(recipe_of(source), again, layouts=BOTH, killed_at=num_changes) == -9
    convert(recipe_of(source), again, workers=LOCAL, layouts=BOTH)
    assert files_of(tmp_path / "out_v30") == files_of(packed)
    assert not (tmp_path / "out_v30/.millrace/depth").exists()


def test_what_was_converted_is_converted_again_alike(packed: Path, tmp_path: Path) -> None:
    convert(recipe_of(packed), tmp_path / "out", workers=LOCAL, layouts=Layouts(("v3.0",), FileSizes()))
    videos = (root / f"videos/{KEY}/chunk-000/file-000.mp4" for root in (packed, tmp_path / "out"))
    assert len({path.read_bytes() for path in videos}) == 1


def test_a_damaged_depth_video_is_an_error_that_names_it(source: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "aloha"
    shutil.copytree(source, damaged)
    video = damaged / f"videos/chunk-000/{KEY}/episode_000001.mp4"
    video.unlink()
    with pytest.raises(DatasetError, match=r"episode 1, depth camera 'top_depth': no video at .*episode_000001.mp4"):
        convert(recipe_of(damaged), tmp_path / "out", workers=LOCAL, layouts=BOTH)
    recipe = recipe_of(damaged).model_copy(update={"without_cameras": ("top_depth",)})
    summary = convert(recipe, tmp_path / "without", workers=LOCAL, layouts=BOTH)
    assert f"{damaged}: camera 'top_depth' holds depth, and is left out" in summary.notes


def test_a_finished_dataset_of_v3_alone_stays_whatever_becomes_of_the_depth(source: Path, tmp_path: Path) -> None:
    mine, out = tmp_path / "aloha", tmp_path / "out"
    shutil.copytree(source, mine)
    convert(recipe_of(mine), out, workers=LOCAL, layouts=ALONE)
    before = files_of(out)
    (tmp_path / "link").symlink_to(mine)
    assert convert(recipe_of(tmp_path / "link"), out, workers=LOCAL, layouts=ALONE).had_nothing_to_do
    video = mine / f"videos/chunk-000/{KEY}/episode_000001.mp4"
    for change in (video.touch, video.unlink):
        change()
        with pytest.raises(OutputExists, match=r"depth videos .* were changed since, and the episodes .* are deleted"):
            convert(recipe_of(mine), out, workers=LOCAL, layouts=ALONE)
        assert files_of(out) == before


def test_what_is_there_stays_where_a_depth_video_is_gone(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "aloha")
    convert(recipe_of(tmp_path / "aloha"), tmp_path / "out", workers=LOCAL, layouts=BOTH)
    before = files_of(tmp_path / "out_v30")
    (tmp_path / f"aloha/videos/chunk-000/{KEY}/episode_000001.mp4").unlink()
    with pytest.raises(DatasetError, match="no video at"):
        convert(recipe_of(tmp_path / "aloha"), tmp_path / "out", workers=LOCAL, layouts=BOTH)
    assert files_of(tmp_path / "out_v30") == before


def test_depth_of_another_episode_is_an_error(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "wrong")
    table = tmp_path / "wrong/meta/episodes/chunk-000/file-000.parquet"
    for name, times in {"from_timestamp": [0.0, 0.0], "to_timestamp": [5 / 25, 6 / 25]}.items():
        edit_column(table, f"videos/{KEY}/{name}", lambda old, times=times: times)
    with pytest.raises(DatasetError, match=r"depth camera 'top_depth': .* they claim the same frames"):
        convert(recipe_of(tmp_path / "wrong"), tmp_path / "out", workers=LOCAL, layouts=BOTH)


def test_the_card_names_it(packed: Path) -> None:
    assert f"`{KEY}` 64x48 depth |" in (packed / "README.md").read_text()


def test_only_what_all_sources_have_alike_is_kept(tmp_path: Path) -> None:
    for name, facts in {"first": {}, "like_it": {}, "farther": {"depth_max": 5.0}}.items():
        write_dataset(tmp_path / name, lengths=(9,))
        add_depth(tmp_path / name, (), **facts)
    kept = {}
    for other in ("like_it", "farther"):
        sources = [{"path": tmp_path / name} for name in ("first", other)]
        plan = plan_conversion(check_recipe({"robot": "aloha", "fps": 25, "horizon": 2, "sources": sources}))
        kept[other] = [camera.name for camera in plan.depth]
        fate = "which v2.1 leaves out and v3.0 keeps" if kept[other] else "and is left out"
        assert f"{tmp_path / other}: camera 'top_depth' holds depth, {fate}" in plan.notes
    assert kept == {"like_it": ["top_depth"], "farther": []}


@pytest.mark.parametrize("facts", [{"pix_fmt": "yuv420p12le"}, {"depth_min": 5.0}, {"shift": -1.0}, {"use_log": "no?"}])
def test_depth_of_another_kind_is_left_out_and_said(tmp_path: Path, facts: dict[str, object]) -> None:
    write_dataset(tmp_path / "aloha", lengths=(9,))
    add_depth(tmp_path / "aloha", (), **facts)
    found = open_source(tmp_path / "aloha")
    assert found.depth_videos == {}
    assert not found.episodes[0].depth
