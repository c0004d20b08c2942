"""`robots new` of HDF5 files of unknown keys: a layout and a robot that `convert` takes, and what is not known."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import matrix, read_table
from millrace import cli
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
    assert (
        "could not tell: the names of the values of state and action, the rate, whether pictures stand upright" in shown
    )
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
