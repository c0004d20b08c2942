"""Two real G1 datasets of other layouts and hands become one for Inspire hands, each of the 53 columns checked."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import LOCAL, matrix, read_meta, read_table, video_path
from millrace.embodiments.robot import VECTORS
from millrace.engine.convert import convert
from millrace.engine.planning.recipe_file import read_recipe
from millrace.engine.validate import validate
from millrace.engine.video.probe import probe_video
from support.g1_real import DATASETS, LENGTHS, kept_rows, values_of
from support.g1_tables import Values, expected

SOURCES = (("g1_gripper_v21", "g1_gripper_to_inspire"), ("g1_dex3_v30", "g1_dex3_to_inspire"))
RECIPE = """
robot: g1_inspire
fps: 20
image_size: 64
sources:
  - path: {datasets}/g1_gripper_v21
    map: g1_gripper_to_inspire
    cameras: {{cam_left_high: observation.images.cam_left_high}}
    episodes: "0:3"
  - {{path: {datasets}/g1_dex3_v30, map: g1_dex3_to_inspire,
     cameras: {{cam_left_high: observation.images.cam_left_high}}, task: "Stack the blocks.", task_all: true}}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DATASETS.is_dir():
        pytest.skip(f"NOT TESTED on real data: {DATASETS} is not here")
    folder = tmp_path_factory.mktemp("g1_recipe")
    (folder / "g1.yaml").write_text(RECIPE.format(datasets=DATASETS))
    convert(read_recipe(folder / "g1.yaml"), folder / "out", workers=LOCAL)
    return folder / "out"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("episode", range(3))
def test_each_of_the_53_columns_is_the_sources_by_name(out: Path, number: int, episode: int) -> None:
    dataset, name = SOURCES[number]
    source, made = DATASETS / dataset, read_table(out, 3 * number + episode)
    rows = kept_rows(source, episode)
    observed: Values = {}
    for vector, column, kind in zip(VECTORS, ("observation.state", "action"), ("observation", "action"), strict=True):
        wanted = expected(name, vector, values_of(source, kind, rows), observed)
        assert read_meta(out, "info.json")["features"][column]["names"] == list(wanted)
        found = matrix(made, column)
        assert found.shape == (len(rows), 53)
        for joint, values in zip(wanted, found.T, strict=True):
            np.testing.assert_allclose(values, wanted[joint], atol=1e-6, err_msg=f"{vector} {joint}")
        observed = wanted if vector == "state" else observed


def test_one_sound_dataset_of_both(out: Path) -> None:
    report = validate(out, deep=True)
    assert report.is_valid, report.problems
    info = read_meta(out, "info.json")
    frames = [len(range(0, 2 * length - 1, 3)) for length in LENGTHS] * 2
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (6, sum(frames), 20)
    assert [line["length"] for line in read_meta(out, "episodes.jsonl")] == frames
    for episode, num_frames in enumerate(frames):
        facts = probe_video(video_path(out, episode, "cam_left_high"))
        assert (facts.num_frames, facts.fps, facts.width, facts.height) == (num_frames, 20, 64, 64)


def test_tasks_and_lineage_are_those_of_the_recipe(out: Path) -> None:
    tasks = [line["task"] for line in read_meta(out, "tasks.jsonl")]
    assert len(tasks) == 3
    assert tasks[2] == "Stack the blocks."
    assert [line["tasks"] for line in read_meta(out, "episodes.jsonl")][3:] == [["Stack the blocks."]] * 3
    episodes = json.loads((out / "millrace.json").read_text())["episodes"]
    found = [(Path(line["source"]).name, line["source_episode"]) for line in episodes]
    assert found == [(dataset, episode) for dataset, _ in SOURCES for episode in range(3)]
