"""The real G1 datasets, converted: every value of every frame is the source's, by name, as the tables say."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conftest import LOCAL, matrix, read_meta, read_table
from millrace.embodiments.robot import VECTORS
from millrace.engine.convert import convert
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import open_source
from millrace.engine.validate import validate
from support.g1_real import DATASETS, LENGTHS, kept_rows, mean_velocities, source_rows, values_of
from support.g1_tables import Values, expected

CASES = (
    ("g1_gripper_v21", "g1_gripper_to_inspire", "cam_left_high"),
    ("g1_dex3_v30", "g1_dex3_to_inspire", "cam_left_high"),
    ("g1_gripper_v21", "g1_gripper_to_unitree_g1", "ego_view"),
)
Case = tuple[Path, str, Path]


@pytest.fixture(scope="module", params=CASES, ids=[name for _, name, _ in CASES])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A source, a map, and what the map made of it."""
    dataset, name, camera = request.param
    source = DATASETS / dataset
    if not source.is_dir():
        pytest.skip(f"NOT TESTED on real data: {source} is not here")
    out = tmp_path_factory.mktemp("g1") / "out"
    cameras = {camera: "observation.images.cam_left_high"}
    convert(Recipe.single(source, map=name, cameras=cameras, fps=20, image_size=64), out, workers=LOCAL)
    return source, name, out


def episodes(case: Case) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The source's rows that are kept, and the output's, of each episode."""
    source, _, out = case
    for episode in range(len(LENGTHS)):
        yield kept_rows(source, episode), read_table(out, episode)


def test_every_value_is_the_sources_by_name(case: Case) -> None:
    source, name, out = case
    for episode, (rows, made) in enumerate(episodes(case)):
        observed: Values = {}
        columns = zip(VECTORS, ("observation.state", "action"), ("observation", "action"), strict=True)
        for vector, column, kind in columns:
            wanted = expected(name, vector, values_of(source, kind, rows), observed)
            assert read_meta(out, "info.json")["features"][column]["names"] == list(wanted)
            velocities = mean_velocities(source, episode) if "vx" in wanted else {}
            wanted = {**wanted, **velocities}
            for joint, values in zip(wanted, matrix(made, column).T, strict=True):
                np.testing.assert_allclose(values, wanted[joint], rtol=1e-6, atol=1e-6, err_msg=f"{vector} {joint}")
            observed = wanted


def test_the_result_is_valid(case: Case) -> None:
    _, name, out = case
    report = validate(out, deep=True)
    assert report.is_valid
    # The hands of the simulated Dex3 sample do not move as Unitree's do; some joints rest by their map.
    hands = {"beyond-limits"} if name == "g1_dex3_to_inspire" else set()
    assert {problem.code for problem in report.problems} - {"stats-constant", "stats-at-rest"} == hands


def test_the_result_is_known_for_its_robot(case: Case) -> None:
    _, name, out = case
    guess = guess_robot(open_source(out))
    target = "unitree_g1" if name.endswith("unitree_g1") else "g1_inspire"
    assert (guess.name, guess.confidence) == (target, "certain")


def test_the_grippers_body_column_repeats_its_arms() -> None:
    """The arms are read from their own columns; observation.body holds the same."""
    if not DATASETS.is_dir():
        pytest.skip(f"NOT TESTED on real data: {DATASETS} is not here")
    rows = source_rows(DATASETS / "g1_gripper_v21")
    features = json.loads((DATASETS / "g1_gripper_v21/meta/info.json").read_text())["features"]
    (names,) = features["observation.body"]["names"]
    body = dict(zip(names, matrix(rows, "observation.body").T, strict=True))
    for column in ("observation.left_arm", "observation.right_arm"):
        (names,) = features[column]["names"]
        for joint, values in zip(names, matrix(rows, column).T, strict=True):
            np.testing.assert_array_equal(values, body[joint])
