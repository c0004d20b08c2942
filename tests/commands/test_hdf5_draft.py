"""`robots new` of HDF5 files of unknown keys: a layout and a robot that `convert` takes, and what is not known."""

import shlex
import shutil
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import matrix, read_table
from millrace import cli
from millrace.engine.drafting.draft_layout import draft_layout
from millrace.engine.errors import DatasetError
from millrace.engine.inspection import inspect_dataset
from millrace.engine.sources import open_source
from millrace.engine.sources.hdf5.hdf5_layout import SHIPPED
from millrace.engine.sources.hdf5.hdf5_survey import Hdf5Survey, SurveyedKey
from support.barcode import draw
from support.synthetic import expected_action, expected_state


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two takes in a file, with keys of no known format."""
    path = tmp_path / "rig/session.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for take in range(2):
            group = file.create_group(f"sessions/take{take}")
            group.attrs["instruction"] = "Fold the towel."
            group["arm/joint_positions"] = expected_state(take, range(4), 6)
            group["arm/joint_velocities"] = np.zeros((4, 6))
            group["hand/gripper_pos"] = expected_state(take, range(4), 7)[:, 6:]
            group["commands/joint_target"] = expected_action(take, range(4), 7)
            group["video/front"] = np.stack([draw(frame, take, 0, 64, 64) for frame in range(4)])
    return path


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def test_a_layout_and_a_robot_are_drafted_and_converted(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = tmp_path / "mine.yaml"
    assert run("robots", "new", "--from", recording, "--out", robot) == 0
    shown = " ".join(capsys.readouterr().out.split())
    told = (
        "could not tell: the names of the values of state and action, whether actions are targets, steps or "
        "velocities, the rate, whether pictures stand upright"
    )
    assert told in shown
    assert f"--robot {robot} --format {tmp_path}/mine_hdf5.yaml --source-fps HZ" in shown
    layout = (tmp_path / "mine_hdf5.yaml").read_text()
    assert "episodes: sessions/take*" in layout
    assert "# not used: arm/joint_velocities [4, 6]" in layout
    settings = ("--robot", robot, "--format", tmp_path / "mine_hdf5.yaml", "--source-fps", 20, "--horizon", 2)
    assert run("convert", recording, tmp_path / "out", *settings, "--image-size", 64, "--local") == 0
    np.testing.assert_array_equal(
        matrix(read_table(tmp_path / "out", 1), "observation.state"), expected_state(1, range(4), 7)
    )
    np.testing.assert_array_equal(matrix(read_table(tmp_path / "out", 1), "action"), expected_action(1, range(4), 7))
    assert "Fold the towel." in (tmp_path / "out/meta/tasks.jsonl").read_text()


def test_a_rate_of_the_episodes_is_read(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first take, which holds nothing, does not keep the others from being read."""
    with h5py.File(recording, "a") as file:
        for take in range(2):
            file[f"sessions/take{take}"].attrs["fps"] = 20
        file.copy("sessions/take1", "sessions/take2")
        file["sessions/take0"].clear()
    layout = tmp_path / "mine_hdf5.yaml"
    assert run("robots", "new", "--from", recording, "--out", tmp_path / "mine.yaml") == 0
    assert "--source-fps" not in capsys.readouterr().out
    assert "color_order: rgb" in layout.read_text()
    dataset = open_source(recording, format=str(layout))
    assert (dataset.layout, dataset.fps) == ("HDF5, mine_hdf5.yaml", 20)
    assert [episode.index for episode in dataset.episodes] == [1, 2]
    with h5py.File(recording, "a") as file:
        file["sessions/take2"].attrs["fps"] = 10
    with pytest.raises(DatasetError, match=r"session.h5 of different rates: sessions/take1 20 Hz, .*take2 10 Hz"):
        open_source(recording, format=str(layout))
    assert open_source(recording, format=str(layout), fps=Fraction(10)).fps == 10


def test_files_without_an_action_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["lidar"] = np.zeros((4, 7))
    assert run("robots", "new", "--from", tmp_path, "--out", tmp_path / "mine.yaml") == 1
    assert "no key looks like the action. Numbers by frame: lidar" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("*.yaml"))


def test_a_shipped_layout_is_taken_where_it_fits(tmp_path: Path) -> None:
    from support.synthetic_hdf5 import write_demos

    write_demos(tmp_path / "source/demo.hdf5", "isaaclab", {0: 3})
    assert run("robots", "new", "--from", tmp_path / "source", "--out", tmp_path / "mine.yaml") == 0
    assert [path.name for path in tmp_path.glob("*.yaml")] == ["mine.yaml"]


def test_printed_commands_have_what_the_files_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from support.synthetic_hdf5 import write_demos

    monkeypatch.chdir(tmp_path)
    write_demos(tmp_path / "source/demo.hdf5", "isaaclab", {0: 3})
    shutil.copy(SHIPPED / "isaaclab.yaml", "my.yaml")
    draft, convert = inspect_dataset("source", format="my.yaml", fps=Fraction(30000, 1001)).robot.commands
    flags = "--format my.yaml --source-fps 30000/1001"
    assert draft == f"millrace robots new --from {tmp_path}/source --out robot.yaml {flags}"
    assert f" --robot robot.yaml {flags} " in convert
    assert run(*shlex.split(draft)[1:]) == 0
    assert f" --robot robot.yaml {flags} " in capsys.readouterr().out
    assert run(*shlex.split(convert)[1:], "--dry-run", "--horizon", 1) == 0


def test_a_rate_that_nobody_said_is_left_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.synthetic_hdf5 import write_demos

    for name, flag in (("isaaclab", " --source-fps HZ"), ("robomimic", "")):
        write_demos(tmp_path / name / "demo.hdf5", name, {0: 3})
        assert run("robots", "new", "--from", tmp_path / name, "--out", tmp_path / f"{name}.yaml") == 0
        assert f" --robot {tmp_path}/{name}.yaml{flag} --task" in " ".join(capsys.readouterr().out.split())


def test_a_draft_keeps_every_camera(tmp_path: Path) -> None:
    camera = SurveyedKey((4, 64, 64, 3), "uint8", "pixels", False)
    vector = SurveyedKey((4, 7), "float64", None, True)
    keys = dict.fromkeys(("cam 1", "cam_1", "left/top", "right/top", "wrist"), camera)
    survey = Hdf5Survey(tmp_path / "run.h5", "", {"qpos": vector, "action": vector, **keys}, {})
    lines = draft_layout(survey).text.splitlines()
    names = ("cam_1: cam 1", "cam_1_2: cam_1", "left_top: left/top", "right_top: right/top", "wrist: wrist")
    assert [line.strip() for line in lines[lines.index("cameras:") + 1 :]][: len(names)] == list(names)
