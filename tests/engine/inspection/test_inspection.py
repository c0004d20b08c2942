"""`millrace inspect` tells what is wrong with a dataset, whatever is wrong with it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from conftest import REPOSITORY, data_path, video_path
from millrace import cli
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.inspection import (
    KINDS,
    inspect_dataset,
)
from millrace.engine.inspection.clip_findings import Shot
from millrace.engine.inspection.shared_videos import shared_video_findings
from millrace.engine.sources import open_source
from support.faulty_datasets import (
    BREAKS,
    COMES_WITH,
    EVERY,
    FPS,
    LAG,
    LAGS,
    LENGTHS,
    change,
    codes,
    freeze,
    held,
    held_at_the_end,
    inverted,
    move,
    noise,
    pictures,
    shown,
    with_nan,
    with_spike,
    write_many,
    write_pictures,
)
from support.synthetic import (
    ALOHA_JOINTS,
    ExtraColumn,
    corrupt_bytes,
    cut_by_edit_list,
    edit_json,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
)


def test_every_kind_of_finding_is_provoked() -> None:
    assert set(BREAKS) == set(KINDS)


@pytest.mark.parametrize("code", BREAKS)
def test_finding_is_told_and_nothing_else(code: str, root: Path) -> None:
    BREAKS[code](root)
    told = codes(inspect_dataset(root))
    assert told - (LAGS - {code}) == {code} | COMES_WITH.get(code, set())


@pytest.mark.parametrize("code", ["nan", "timestamp-gap", "frozen-video", "black-video", "unreadable-video", "idle"])
def test_finding_names_its_episode(code: str, root: Path) -> None:
    BREAKS[code](root)
    (finding,) = (finding for finding in inspect_dataset(root).findings if finding.code == code)
    assert finding.episode == 1
    assert finding.severity == KINDS[code].severity
    assert (finding.camera == "top") == code.endswith("video")


@pytest.mark.parametrize("column", ["state", "action"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_told_of_state_and_action(root: Path, column: str, value: float) -> None:
    def spoil(values: NDArray[Any]) -> NDArray[Any]:
        values[5:7, ALOHA_JOINTS.index("left_elbow")] = value
        return values

    change(root, **{column: spoil})
    (finding,) = (finding for finding in inspect_dataset(root).findings if finding.code == "nan")
    name = "observation.state" if column == "state" else column
    assert (finding.episode, finding.severity) == (1, "error")
    assert finding.message == f"'{name}': NaN, infinite or missing in left_elbow: 2 values, the first in row 5"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["timestamp", "frame_index"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bookkeeping_that_is_no_number_is_told(root: Path, name: str, value: float) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        numbers = pa.array(np.where(np.arange(70) >= 40, value, np.arange(70)), pa.float32())
        return table.set_column(table.column_names.index(name), name, numbers)

    rewrite_parquet(data_path(root, 1), spoil)
    assert f"'{name}': NaN, infinite or missing in {name}: 30 values, the first in row 40" in message(root, "nan")


@pytest.mark.filterwarnings("error")
def test_time_beyond_all_time_is_a_gap(root: Path) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        seconds = np.where(np.arange(70) == 40, 1e308, np.arange(70) / 20)
        return table.set_column(table.column_names.index("timestamp"), "timestamp", pa.array(seconds))

    rewrite_parquet(data_path(root, 1), spoil)
    assert "other than 0.05 s: 2 of 69" in message(root, "timestamp-gap")


def message(root: Path, code: str) -> str:
    return next(finding.message for finding in inspect_dataset(root).findings if finding.code == code)


def test_findings_say_where_and_how_much(root: Path) -> None:
    change(root, state=with_nan, timestamp=lambda seconds: seconds + 0.5 * (np.arange(70) >= 40))
    change(root, episodes=(0,), state=held_at_the_end, action=held_at_the_end)
    freeze(root)
    assert "missing in left_forearm_roll: 1 values, the first in row 5" in message(root, "nan")
    assert "other than 0.05 s: 1 of 69" in message(root, "timestamp-gap")
    assert "+0.55 s, to row 40" in message(root, "timestamp-gap")
    idle = message(root, "idle")
    assert "for 1.6 of 4.0 s (39%): 0.0 s at the start, 1.6 s at the end" in idle


def test_frozen_video_names_what_moved(root: Path) -> None:
    freeze(root)
    assert any(f"while {joint} moves" in message(root, "frozen-video") for joint in ALOHA_JOINTS)


@pytest.mark.parametrize("lag", [0, 1, 4])
def test_lag_is_measured_in_frames_and_seconds(root: Path, lag: int) -> None:
    move(root, lag=lag)
    # Exact copies are another finding: these are not quite.
    change(root, episodes=EVERY, action=lambda action: action + noise(action) * 1e-4)
    motion = inspect_dataset(root).motion
    assert motion.lag_frames == lag
    assert motion.lag_seconds == pytest.approx(lag / FPS)
    assert motion.lag_correlation is not None
    assert motion.lag_correlation > 0.9


def test_joint_in_one_direction_does_not_hide_the_lag(root: Path) -> None:
    drift = np.linspace(0, 50, max(LENGTHS))[:, None]
    change(root, episodes=EVERY, state=lambda x: x + drift[: len(x)], action=lambda x: x + drift[: len(x)])
    assert inspect_dataset(root).motion.lag_frames == LAG


def test_noise_of_a_parked_joint_is_no_motion(root: Path) -> None:
    def parked(values: NDArray[Any]) -> NDArray[Any]:
        values = held(values)
        values[:, 0] += 1e-4 * np.random.default_rng(0).normal(size=len(values))
        return values

    change(root, state=parked, action=held)
    assert "idle-episode" in codes(inspect_dataset(root))


# Bad data never ends in a traceback.


@pytest.mark.parametrize(
    ("files", "layout", "next_step"),
    [
        ({"meta/info.json": ""}, "unknown", "fix what the error names, or download the dataset again"),
        ({"meta/info.json": "{}", "meta/episodes.jsonl": ""}, "LeRobot v2, by its files", "fix what the error names"),
        ({"episode_0.hdf5": "x", "episode_1.hdf5": "x"}, "HDF5 recordings", "fix what the error names, or say how"),
        ({"episode_0.mcap": "x", "episode_1.mcap": "x"}, "unknown", "these are ROS bags: make a LeRobot dataset"),
        ({"a/meta/info.json": "{}", "a/meta/episodes.jsonl": ""}, "unknown", "millrace inspect "),
        ({}, "unknown", "name the folder that holds meta/info.json"),
    ],
)
def test_folder_that_cannot_be_opened_gets_a_report(
    files: dict[str, str], layout: str, next_step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    inspection = inspect_dataset(tmp_path)
    assert [(finding.code, finding.severity) for finding in inspection.findings] == [("not-opened", "error")]
    assert sum(facts.num_files for facts in inspection.files) == len(files)
    assert inspection.layout == layout
    assert (inspection.next_step or "").startswith(next_step)
    assert not json.loads(inspection.to_json())["is_open"]
    assert cli.main(["inspect", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "not-opened" in printed
    assert f"next: {next_step}" in printed.replace("\n", " ")


def test_strict_fails_on_what_is_wrong(root: Path) -> None:
    BREAKS["version-mismatch"](root)
    assert cli.main(["inspect", str(root), "--strict", "--json"]) == 0
    BREAKS["empty-task"](root)
    assert cli.main(["inspect", str(root), "--json"]) == 0
    assert cli.main(["inspect", str(root), "--strict", "--json"]) == 1
    severities = {finding.severity for finding in inspect_dataset(root).findings}
    assert severities == {"info", "warning"}
    assert cli.main(["inspect", str(root), "--strict", "error"]) == 0
    assert cli.main(["inspect", "--strict", "warning", str(root)]) == 1


CASES = REPOSITORY.parent / "shared/cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="NO ../shared/cases HERE: inputs that users reported are not tried")
@pytest.mark.parametrize(
    "case", ["empty_info", "v2_zero_length", "v3_null_camera", "numbers_as_names", "depth_png16", "image_key"]
)
def test_case_that_users_reported_ends_in_a_report(case: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, CASES / f"{case}.py", tmp_path / case], check=True, capture_output=True)
    inspection = inspect_dataset(tmp_path / case)
    assert inspection.findings
    assert inspection.is_open == (case != "empty_info")


def test_dataset_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        inspect_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("selection", ["7", "4:9", "a:b", "-9"])
def test_selection_of_no_episode_is_an_error(pristine: Path, selection: str) -> None:
    with pytest.raises(RecipeError, match=r"^episodes"):
        inspect_dataset(pristine, episodes=selection)


@pytest.mark.parametrize("path", [lambda root: data_path(root, 1), lambda root: video_path(root, 1)])
@pytest.mark.parametrize(
    "spoil",
    [
        replace_with_lfs_pointer,
        lambda path: path.write_bytes(b""),
        lambda path: truncate_file(path, 0.97),
        lambda path: corrupt_bytes(path, 0.0, 400),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_spoilt_file_becomes_a_finding(
    root: Path, path: Callable[[Path], Path], spoil: Callable[[Path], object]
) -> None:
    spoil(path(root))
    findings = [finding for finding in inspect_dataset(root).findings if finding.severity == "error"]
    assert findings
    assert {finding.episode for finding in findings} == {1}


def test_video_cut_by_an_edit_list_is_no_finding(root: Path) -> None:
    write_pictures(video_path(root, 1), [pictures()[0]] * 3 + pictures())
    cut_by_edit_list(video_path(root, 1), 3)
    assert not codes(inspect_dataset(root)) - LAGS


def test_video_that_can_no_longer_be_read_is_said_not_to_be_compared(tmp_path: Path) -> None:
    dataset = open_source(write_many(tmp_path, num_episodes=2, cameras=("top",)))
    shots = [Shot(episode, "top", episode.clips["top"]) for episode in dataset.episodes]
    shutil.copy(video_path(tmp_path, 0), video_path(tmp_path, 1))
    assert [finding.code for finding in shared_video_findings(dataset.files, shots)] == ["same-video"]
    for shot in shots:
        video_path(tmp_path, shot.episode.index).unlink()
    unread = list(shared_video_findings(dataset.files, shots))
    assert [(finding.code, finding.episode) for finding in unread] == [("unreadable-video", 0), ("unreadable-video", 1)]
    assert "was not compared" in unread[0].message


def test_camera_of_a_feature_called_observation_image_is_looked_at(root: Path) -> None:
    def rename(info: dict[str, Any]) -> dict[str, Any]:
        features = {name: feature for name, feature in info["features"].items() if "wrist" not in name}
        features["observation.image"] = features.pop("observation.images.top")
        return {**info, "features": features}

    edit_json(root / "meta/info.json", rename)
    top = video_path(root, 0).parent
    top.rename(top.with_name("observation.image"))
    assert [camera.name for camera in inspect_dataset(root).cameras] == ["image"]


def test_unchecked_columns_do_no_harm(tmp_path: Path) -> None:
    columns = {
        "language": ExtraColumn(lambda episode, frames: ["say"] * len(frames), dtype="string"),
        "tokens": ExtraColumn(lambda episode, frames: np.stack([frames, frames], 1), dtype="int64", shape=(2,)),
    }
    write_dataset(tmp_path, lengths=LENGTHS, cameras=(), extra_columns=columns, list_type="variable")
    assert not codes(inspect_dataset(tmp_path)) - LAGS


def test_text_of_the_dataset_cannot_command_the_terminal(tmp_path: Path) -> None:
    task = "[red]stop[/] \x1b[31m\x07\nnext: rm -rf /\u202e"
    write_dataset(tmp_path, lengths=(30,), cameras=(), tasks=task, names=["\x1b]0;x", *ALOHA_JOINTS[1:]])
    text = shown(tmp_path)
    assert not any(char in text for char in "\x1b\x07\u202e")
    assert "[red]stop[/] \\x1b[31m\\x07\\nnext: rm -rf /" in text


# What only the other episodes show.


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of a moving robot, without pictures; not to be changed."""
    return write_many(tmp_path_factory.mktemp("six") / "dataset")


def beyond(values: NDArray[Any]) -> NDArray[Any]:
    values[:, 3] += 9
    return values


@pytest.mark.parametrize(
    ("code", "columns", "told"),
    [
        ("outlier-episode", {"state": np.degrees, "action": np.degrees}, "in degrees, and the others in radians"),
        ("outlier-episode", {"state": np.radians, "action": np.radians}, "in radians, and the others in degrees"),
        ("outlier-episode", {"state": beyond}, "left_forearm_roll goes from"),
        ("spike", {"state": with_spike}, "left_forearm_roll jumps by +3"),
        ("flipped-joint", {"state": inverted, "action": inverted}, "left_gripper starts at"),
        ("flipped-joint", {"state": inverted}, "left_gripper: the state moves against the action"),
    ],
)
def test_episode_unlike_the_others_is_named_and_they_are_not_blamed(
    code: str, columns: dict[str, Any], told: str, six: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(six, tmp_path / "dataset"))
    assert not codes(inspect_dataset(root)) - LAGS
    change(root, episodes=(2,), **columns)
    findings = [finding for finding in inspect_dataset(root).findings if finding.code not in {*LAGS, "beyond-limits"}]
    assert {(finding.code, finding.episode) for finding in findings} == {(code, 2)}
    assert any(told in finding.message for finding in findings)
