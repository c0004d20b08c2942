"""Datasets as their real info.json describes them go from inspect to a valid dataset, every joint by its row."""

import contextlib
import io
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import REPOSITORY, convert_here, matrix, read_meta, read_table, recipe_for, video_path
from millrace import cli
from millrace.embodiments import RobotError, load_robot
from millrace.embodiments.robot import ActionKind
from millrace.engine.convert import plan_conversion
from millrace.engine.drafting.draft_robot import draft_robot
from millrace.engine.errors import DatasetError
from millrace.engine.sources import open_source
from support import real_features as features
from support.barcode import Stamp, read
from support.real_dataset import NUM_ROWS, RealDataset
from support.synthetic_video import read_video

R1PRO = {
    "chunks_size": 10000,
    "data_path": "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet",
    "video_path": "videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4",
    "metainfo_path": "meta/episodes/task-{episode_chunk:04d}/episode_{episode_index:08d}.json",
    "annotation_path": "annotations/task-{episode_chunk:04d}/episode_{episode_index:08d}.json",
}
BEHAVIOR = RealDataset(
    "v2.1",
    "R1Pro",
    30,
    features.BEHAVIOR,
    R1PRO,
    {10: "Turn on the radio.", 10010: "Pick up the trash."},
    unlisted=("task_index",),
    task_line={"task_name": "turning_on_radio"},
)
# OmniGibson's PROPRIOCEPTION_INDICES of R1Pro.
R1PRO_PLACES = np.r_[253:256, 236:240, 158:165, 193:195, 197:204, 232:234]


@dataclass(frozen=True)
class Case:
    """A dataset, and what must come out: its robot, the columns of each vector, the feature of each camera.

    robot: None where one is drafted. state_places: of state values in its columns; None: all.
    """

    source: RealDataset
    robot: str | None
    cameras: dict[str, str]
    state: Sequence[str] = ("observation.state",)
    action: Sequence[str] = ("action",)
    state_places: NDArray[np.int64] | None = None


def images(*names: str, prefix: str = "observation.images.") -> dict[str, str]:
    return {name: f"{prefix}{name}" for name in names}


def parts(prefix: str, listed: dict[str, Any]) -> list[str]:
    """What follows a prefix in the names of features, in the order of info.json."""
    return [key.removeprefix(prefix) for key in listed if key.startswith(prefix)]


A2D_STATE = [f"observation.states.{part}" for part in parts("observation.states.", features.AGIBOT_ANY4LEROBOT)]
A2D_ACTION = [f"actions.{part}" for part in parts("actions.", features.AGIBOT_ANY4LEROBOT)]
CASES = {
    "libero any4lerobot": Case(
        RealDataset("v2.1", "franka", 20, features.LIBERO), "franka_libero", images("image", "wrist_image")
    ),
    "libero openx": Case(
        RealDataset("v2.0", "franka", 20, features.LIBERO_OPENX), "franka_libero", images("image", "wrist_image")
    ),
    "libero openpi": Case(
        RealDataset("v2.0", "panda", 10, features.LIBERO_OPENPI),
        None,
        images("image", "wrist_image", prefix=""),
        ["state"],
        ["actions"],
    ),
    "libero v3": Case(RealDataset("v3.0", "panda", 10, features.LIBERO_V3), None, images("image", "wrist_image")),
    "libero unnamed": Case(RealDataset("v3.0", "panda", 10, features.LIBERO_UNNAMED), None, images("image", "image2")),
    "droid": Case(
        RealDataset("v3.0", "Franka", 15, features.DROID),
        "franka_droid",
        images("exterior_1_left", "exterior_2_left", "wrist_left"),
    ),
    "agibot": Case(
        RealDataset("v3.0", "AgiBot_A2D", 30, features.AGIBOT),
        None,
        images(*parts("observation.images.", features.AGIBOT)),
    ),
    "agibot any4lerobot": Case(
        RealDataset("v2.1", "a2d", 30, features.AGIBOT_ANY4LEROBOT),
        None,
        images("head", "hand_left", "hand_right"),
        A2D_STATE,
        A2D_ACTION,
    ),
    "behavior": Case(
        BEHAVIOR,
        "r1pro_behavior",
        images("rgb.head", "rgb.left_wrist", "rgb.right_wrist"),
        state_places=R1PRO_PLACES,
    ),
    "so100": Case(RealDataset("v2.1", "so100", 30, features.SO100), "so100", images("top", "wrist")),
    "so100 v3": Case(RealDataset("v3.0", "so100", 30, features.SO100_V3), "so100", images("front", "wrist")),
    "so101": Case(RealDataset("v2.1", "so101_follower", 30, features.SO101), "so101", images("wrist", "webcam")),
    "bridge": Case(
        RealDataset("v2.0", "WidowX", 5, features.BRIDGE), "widowx_bridge", images(*[f"image_{i}" for i in range(4)])
    ),
    "bridge v3": Case(
        RealDataset("v3.0", "widowx", 5, features.BRIDGE_V3), None, images("primary", "wrist", "side1", "side2")
    ),
}


def run(*arguments: object) -> str:
    """What a command prints that succeeds."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(argument) for argument in arguments])
    assert code == 0, out.getvalue() + err.getvalue()
    return out.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_what_inspect_proposes_converts_every_joint(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    case = CASES[name]
    case.source.write(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    inspection = json.loads(run("inspect", "source", "--json"))
    assert inspection["robot"]["name"] == case.robot
    assert not [finding for finding in inspection["findings"] if finding["severity"] == "error"]
    *drafts, convert = (shlex.split(command)[1:] for command in inspection["robot"]["commands"])
    assert [command[:2] for command in drafts] == ([] if case.robot else [["robots", "new"]])
    for command in drafts:
        run(*command)
    run(*convert, "--local", *(() if "--fps" in convert else ("--fps", "source")))
    assert run("validate", "OUT").splitlines()[-1].startswith("valid: ")
    for place, episode in enumerate(case.source.episodes):
        _check_rows(case, episode, read_table(Path("OUT"), place))
        _check_pictures(case, place)


def _check_rows(case: Case, episode: int, table: Any) -> None:
    for columns, places, kept in (
        (case.state, case.state_places, "observation.state"),
        (case.action, None, "action"),
    ):
        rows = np.concatenate([case.source.values(column, episode) for column in columns], axis=1).astype(np.float32)
        np.testing.assert_array_equal(matrix(table, kept), rows if places is None else rows[:, places])


def _check_pictures(case: Case, episode: int) -> None:
    assert set(read_meta(Path("OUT"), "modality.json")["video"]) == set(case.cameras)
    for camera, key in case.cameras.items():
        height, width, _ = case.source.features[key]["shape"]
        frames = read_video(video_path(Path("OUT"), episode, camera))
        stamps = [read(frame, crop="pad", source_size=(height, width)) for frame in frames]
        assert stamps == [Stamp(row, episode, list(case.source.features).index(key)) for row in range(NUM_ROWS)]


def test_a_width_that_is_not_told_costs_that_column_only(tmp_path: Path) -> None:
    listed = {key: feature for key, feature in features.BEHAVIOR.items() if feature["dtype"] != "video"}
    dataset = open_source(RealDataset("v2.1", "R1Pro", 30, listed).write(tmp_path / "source"))
    assert dataset.features["observation.task_info"].shape == (0,)
    assert not dataset.features["observation.task_info"].is_numbers
    listed["observation.state"] = features.numbers(None)
    source = RealDataset("v2.1", "R1Pro", 30, listed).write(tmp_path / "other")
    with pytest.raises(DatasetError, match=r"'observation.state'.*does not tell how many values it holds; write it"):
        plan_conversion(recipe_for(source, robot="r1pro_behavior", fps="source"))


def test_a_state_that_is_wider_than_groot_takes_is_said(tmp_path: Path) -> None:
    listed = {key: feature for key, feature in features.BEHAVIOR.items() if feature["dtype"] != "video"}
    source = RealDataset("v2.1", "other", 30, listed, unlisted=("task_index",)).write(tmp_path / "source")
    robot = tmp_path / "mine.yaml"
    robot.write_text(draft_robot(open_source(source)).text)
    notes = "; ".join(plan_conversion(recipe_for(source, robot=str(robot), fps="source")).notes)
    assert re.search(r"'other' has 256 state values and GR00T N1.6 takes 128.*column_slices", notes)


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("velocity_x", "yaw_rate"), {"velocity": "velocity"}),
        (("x.vel", "theta.vel", "gripper"), {"velocity": "velocity", "hand": "target"}),
        (("delta_x", "delta_y"), {"eef": "delta"}),
        (("left_shoulder", "left_elbow"), {"left_arm": "target"}),
    ],
)
def test_names_of_velocities_and_steps_tell_the_kind_of_an_action(
    names: tuple[str, ...], kinds: dict[str, ActionKind], tmp_path: Path
) -> None:
    listed = {"observation.state": features.flat(["a", "b"]), "action": features.flat(names), **features.bookkeeping()}
    robot = draft_robot(open_source(RealDataset("v2.1", None, 30, listed).write(tmp_path))).robot
    assert {name: robot.groups[name].action_kind for name in robot.groups_of("action")} == kinds


def test_a_column_of_velocities_is_drafted_as_such(tmp_path: Path) -> None:
    listed = {key: feature for key, feature in features.DROID.items() if key not in ("action", "observation.state")}
    listed = {key: feature for key, feature in listed.items() if feature["dtype"] != "video"}
    robot = draft_robot(open_source(RealDataset("v2.1", "Franka", 15, listed).write(tmp_path))).robot
    kinds = {name: robot.groups[name].action_kind for name in robot.groups_of("action")}
    assert {name for name, kind in kinds.items() if kind == "velocity"} == {
        name for name in kinds if "velocity" in name
    }


def test_droids_cartesian_columns_are_a_robot_of_their_own(tmp_path: Path) -> None:
    source = CASES["droid"].source
    listed = {key: feature for key, feature in source.listed.items() if feature["dtype"] != "video"}
    droid = RealDataset("v3.0", "Franka", 15, listed)
    convert_here(droid.write(tmp_path / "source"), tmp_path / "OUT", robot="franka_droid_cartesian", fps="source")
    for vector, kept in (("observation.state", "observation.state"), ("action", "action")):
        columns = [f"{vector}.cartesian_position", f"{vector}.gripper_position"]
        rows = np.concatenate([droid.values(column, 0) for column in columns], axis=1)
        np.testing.assert_array_equal(matrix(read_table(tmp_path / "OUT", 0), kept), rows)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("[236, 240]", "[236, 239]"), r"\[236, 239\) does not hold the 4 joints of 'torso' in 256 values"),
        (("[253, 256]", "[254, 257]"), r"\[254, 257\) does not hold the 3 joints of 'base_velocity'"),
        (("left_arm: [158, 165]", "left_arm: [193, 200]"), r"\[193, 200\) overlaps \[193, 195\) of 'left_fingers'"),
        (("torso: [236, 240]", "torzo: [236, 240]"), "group 'torso' of this column has no slice"),
        (("[158, 165]\n", "[158, 165]\n      legs: [0, 4]\n"), "'legs' is not a group of this column"),
        (("observation.state:\n    width", "state:\n    width"), "'state' is not a column of 'r1pro_behavior'"),
    ],
)
def test_slices_that_do_not_fit_their_groups_are_errors(change: tuple[str, str], why: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "embodiments/robots/r1pro_behavior.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "mine.yaml").write_text(text.replace(*change))
    with pytest.raises(RobotError, match=why):
        load_robot(tmp_path / "mine.yaml")


def test_slices_are_of_columns_of_their_width_only(tmp_path: Path) -> None:
    listed = {**features.BEHAVIOR, "observation.state": features.numbers(255)}
    listed = {key: feature for key, feature in listed.items() if feature["dtype"] != "video"}
    source = RealDataset("v2.1", "R1Pro", 30, listed).write(tmp_path / "source")
    with pytest.raises(DatasetError, match="it names nothing and is 255 wide, expected 256"):
        plan_conversion(recipe_for(source, robot="r1pro_behavior", fps="source"))
