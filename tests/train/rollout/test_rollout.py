"""Rollouts by an adapter of the user's: what is counted, printed and shown, and what is refused."""

import json
from pathlib import Path

import av
import pytest

from conftest import REPOSITORY, convert_here
from millrace.cli import main
from millrace.train.rollout.driving import wilson_interval
from support.recordings_with_seeds import write_recording

ADAPTER = REPOSITORY / "tests/support/point_robot.py"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollout")
    convert_here(write_recording(folder / "recording"), folder / "out", map="aloha_to_gr1_rescaled")
    return folder / "out"


def roll_out(policy: str, *flags: object) -> int:
    return main(["rollout", "--env", "point", "--policy", policy, "--adapter", str(ADAPTER), *map(str, flags)])


def test_a_converted_dataset_is_played_back_in_the_robots_own_joints(
    converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GR1's hands open from 1.5 to -1.5: only the inverse map makes grippers of them again."""
    assert roll_out(f"replay:{converted}", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["is_success"] for one in found["episodes"]] == [True, False, True]
    assert [one["seed"] for one in found["episodes"]] == [7, 8, 9]
    assert (found["num_successes"], found["success_rate"]) == (2, pytest.approx(2 / 3))


def test_the_map_that_is_named_is_the_one_that_reads_back(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the map that copies grippers, open hands are closed grippers: nothing succeeds."""
    assert roll_out(f"replay:{converted}", "--json", "--map", "aloha_to_gr1", "--between", "hold") == 0
    assert json.loads(capsys.readouterr().out)["num_successes"] == 0


def test_the_success_rate_is_printed_with_its_confidence(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert roll_out(f"replay:{converted}", "--episodes", 1) == 0
    told = f"replay:{converted} in point: 1 of 1 episode succeeded, 100% (95 % confidence: 21% to 100%)"
    assert told in capsys.readouterr().out.splitlines()


def test_videos_show_every_episode_and_a_grid_of_all(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "episode_0_failure.mp4").touch()  # of a rollout before
    assert roll_out(f"replay:{converted}", "--video", tmp_path) == 0
    names = ["episode_0_success.mp4", "episode_1_failure.mp4", "episode_2_success.mp4", "grid.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert f"wrote {tmp_path / 'grid.mp4'}" in capsys.readouterr().out
    with av.open(str(tmp_path / "grid.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (2 * (24 + 8), 2 * (32 + 8), 3)
    red, green = frames[-1][2, 42], frames[-1][2, 2]
    assert red[0] > red[1]
    assert green[1] > green[0]


def test_a_recording_without_a_seed_is_refused(aloha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert_here(aloha, tmp_path / "out")
    assert roll_out(f"replay:{tmp_path / 'out'}") == 2
    assert "has no column 'simulator_seed', so it is unknown where the objects lay" in capsys.readouterr().err


def test_an_episode_with_two_seeds_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert_here(write_recording(tmp_path / "recording", [[1], [2, 3], [4]]), tmp_path / "out")
    assert roll_out(f"replay:{tmp_path / 'out'}", "--map", "aloha_to_gr1") == 2
    assert "episode 1: simulator_seed has 2 values; an episode begins with one seed" in capsys.readouterr().err


def test_the_manifest_holds_the_map_that_reads_back(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a whole: neither its name nor a path in the manifest is looked up."""
    manifest = converted / "millrace.json"
    text = manifest.read_text()
    try:
        manifest.write_text(text.replace('"map": "aloha_to_gr1_rescaled"', '"map": "/etc/passwd"'))
        assert roll_out(f"replay:{converted}", "--json") == 0
    finally:
        manifest.write_text(text)
    assert json.loads(capsys.readouterr().out)["num_successes"] == 2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--map", "g1_dex3_to_inspire"), "leads from 'g1_dex3', and this environment's robot is 'aloha'"),
        (("--episodes", "4"), "--episodes 4: replay:"),
        (("--episodes", "0"), "--episodes 0: at least one episode is rolled out"),
        (("--max-steps", "0"), "--max-steps 0: at least one step is rolled out"),
        (("--adapter", "nowhere.py"), "there is no adapter at nowhere.py"),
    ],
)
def test_what_cannot_be_played_is_refused(
    converted: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert roll_out(f"replay:{converted}", *flags) == 2
    assert told in capsys.readouterr().err


def test_an_unknown_environment_and_policy_are_refused(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "--env", "gym_pusht/PushT-v0", "--policy", f"replay:{converted}"]) == 2
    assert "no adapter ships for 'gym_pusht/PushT-v0'. Known: gym_aloha/..." in capsys.readouterr().err
    assert roll_out(f"{converted}_none") == 2
    told = "name a dataset, a checkpoint's folder or a server: --policy replay:DATASET, CHECKPOINT or HOST:PORT"
    assert f"there is no policy '{converted}_none'; {told}" in capsys.readouterr().err


def test_a_folder_that_is_no_checkpoint_is_refused(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert roll_out(str(converted), "--instruction", "go") == 2
    assert f"{converted} is no checkpoint: it has no processor_config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("num_successes", "num_trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(num_successes: int, num_trials: int, low: float, high: float) -> None:
    """Known values, as statsmodels gives them (proportion_confint, method wilson)."""
    assert wilson_interval(num_successes, num_trials) == pytest.approx((low, high), abs=5e-5)
