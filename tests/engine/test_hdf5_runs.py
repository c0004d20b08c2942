"""Conversions of HDF5 recordings: beside LeRobot sources, by several processes, resumed, dry, and as LeRobot v3.0."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from conftest import IMAGE_SIZE, LOCAL, REPOSITORY, files_of, read_meta, video_path
from millrace.engine.convert import convert, estimate, plan_conversion
from millrace.engine.errors import EpisodesFailed
from millrace.engine.execution.workers import Workers
from millrace.engine.output.header import make_header
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import read_recipe
from support.synthetic import Stamp, SyntheticVideo, read_stamps, write_dataset
from support.synthetic_hdf5 import write_demos

SMALL = SyntheticVideo(codec="libx264", height=64, width=64)
RECIPE = """
robot: aloha
fps: source
horizon: 2
image_size: 64
sources:
  - path: lerobot
  - path: act
    format: mine.yaml
    task: Hand over the cube.
    holdout: "1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of a LeRobot dataset and of recordings; not to be changed."""
    root = tmp_path_factory.mktemp("mixed")
    write_dataset(root / "lerobot", lengths=(5,), video=SMALL)
    write_dataset(root / "act", version="act", lengths=(4, 3, 6), video=SMALL)
    (root / "recipe.yaml").write_text(RECIPE)
    shutil.copyfile(REPOSITORY / "engine/sources/hdf5/aloha_act.yaml", root / "mine.yaml")
    return root


def test_recordings_are_merged_with_lerobot_sources_and_packed(folder: Path, tmp_path: Path) -> None:
    recipe = read_recipe(folder / "recipe.yaml")
    assert estimate(recipe, tmp_path / "out").num_episodes == 4
    assert not (tmp_path / "out").exists()
    convert(recipe, tmp_path / "out", workers=LOCAL, layouts=Layouts(("v2.1", "v3.0")))
    assert [line["length"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [5, 4, 6]
    assert [line["length"] for line in read_meta(tmp_path / "out_heldout", "episodes.jsonl")] == [3]
    assert read_stamps(video_path(tmp_path / "out", 2)) == [Stamp(frame, 2, 0) for frame in range(6)]
    assert list((tmp_path / "out_v30/videos").rglob("*.mp4"))
    manifest = (tmp_path / "out/millrace.json").read_text()
    assert "mine.yaml" in manifest
    assert str(folder) not in manifest + json.dumps(make_header(plan_conversion(recipe)))


def single(source: Path) -> Recipe:
    settings = {"robot": "same", "fps": "source", "horizon": 2, "image_size": IMAGE_SIZE, "task": "Lift."}
    return Recipe.single(source, **settings)


def test_processes_share_a_file_and_a_run_continues(tmp_path: Path) -> None:
    """The same bytes as one process makes at once, once the damaged demonstration is fixed."""
    sound, broken = tmp_path / "sound.hdf5", tmp_path / "source/demo.hdf5"
    write_demos(sound, "robomimic", {0: 4, 1: 3, 2: 5})
    broken.parent.mkdir()
    shutil.copyfile(sound, broken)
    with h5py.File(broken, "a") as file:
        del file["data/demo_1/obs/agentview_image"]
    with pytest.raises(EpisodesFailed, match=r"episode 1, camera agentview"):
        convert(single(broken.parent), tmp_path / "out", workers=LOCAL)
    shutil.copyfile(sound, broken)
    convert(single(broken.parent), tmp_path / "out", workers=Workers(2, executor="local"))
    convert(single(broken.parent), tmp_path / "other", workers=LOCAL)
    ours, theirs = files_of(tmp_path / "out"), files_of(tmp_path / "other")
    assert all(ours[name] == theirs[name] for name in theirs if name.endswith((".mp4", ".parquet")))
