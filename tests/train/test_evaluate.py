"""Open-loop evaluation: the right frames and rows, errors that mean what they say, alike from all workers."""

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import millrace
from conftest import REPOSITORY, read_meta
from millrace import cli
from millrace.commands.evaluate import print_evaluation
from millrace.train.episodes import EpisodeReader, joint_names
from millrace.train.errors import EvaluationError, SettingsError
from millrace.train.evaluate import evaluate, read_contenders
from millrace.train.evaluate_settings import EvaluateSettings
from millrace.train.installed import require_groot
from millrace.train.open_loop import GroupTrace, Trace, trace_episode
from millrace.train.plots import PlotFolder
from millrace.train.scores import Evaluation, Score, pool_scores
from millrace.train.training_dataset import TrainingDataset
from support.demonstrator import GROUPS, HORIZON, open_confused, open_demonstrator, recorded, write_checkpoint
from support.synthetic import edit_json, edit_jsonl

LENGTHS_20_HZ = (17, 13, 7)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "run/checkpoint-0")


def settings(dataset: Path, *checkpoints: Path, **options: Any) -> EvaluateSettings:
    named = tuple(map(str, checkpoints))
    return EvaluateSettings(**{"dataset": dataset, "checkpoints": named, "num_gpus": 0, "cpu": True, **options})


def run(asked: EvaluateSettings, open_policy: Any = open_demonstrator) -> Evaluation:
    return evaluate(asked, read_contenders(asked)[0], open_policy)


def expected_hold(dataset: Path, group: str, *, horizon: int) -> tuple[float, float]:
    """The errors of standing still since each prediction, written out."""
    differences = []
    for episode, num_rows in enumerate(LENGTHS_20_HZ):
        states, actions = (recorded(dataset, episode, part, group) for part in ("state", "action"))
        differences += [actions[row] - states[row - row % horizon] for row in range(num_rows)]
    return float(np.square(differences).mean()), float(np.abs(differences).mean())


def test_who_acts_as_recorded_has_no_error(aloha_gr1: Path, checkpoint: Path) -> None:
    """It sees only pictures: any other frame at any step would show."""
    found = run(settings(aloha_gr1, checkpoint))
    (scored,) = found.checkpoints
    assert scored.total.mse == scored.total.mae == 0
    assert [episode.num_steps for episode in scored.episodes] == list(LENGTHS_20_HZ)
    assert scored.total.num_values == sum(LENGTHS_20_HZ) * sum(GROUPS.values())


@pytest.mark.parametrize("horizon", [1, 3, HORIZON])
def test_holding_still_is_measured_from_the_state_at_each_prediction(
    aloha_gr1: Path, checkpoint: Path, horizon: int
) -> None:
    found = run(settings(aloha_gr1, checkpoint, horizon=horizon))
    assert found.horizon == horizon
    for group, score in found.checkpoints[0].groups.items():
        hold = expected_hold(aloha_gr1, group, horizon=horizon)
        np.testing.assert_allclose((score.hold_mse, score.hold_mae), hold, rtol=1e-5)


def test_errors_are_those_of_the_policy_and_the_best_checkpoint_is_named(aloha_gr1: Path, tmp_path: Path) -> None:
    named = [write_checkpoint(tmp_path / f"run/checkpoint-{number}") for number in (3, 1, 2)]
    found = run(settings(aloha_gr1, *named))
    assert found.best == str(named[1])
    for scored, offset in zip(found.checkpoints, (0.3, 0.1, 0.2), strict=True):
        assert set(scored.groups) == set(GROUPS)
        for score in (*scored.groups.values(), scored.total, *(episode.total for episode in scored.episodes)):
            np.testing.assert_allclose((score.mse, score.mae), (offset**2, offset), rtol=1e-4)


def test_gaps_between_the_steps_of_a_chunk_are_kept(aloha_gr1: Path, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-0", action={"delta_indices": [1, 3, 5]})
    asked = settings(aloha_gr1, folder)
    policy = open_demonstrator(asked, read_contenders(asked)[0][0])
    reader = EpisodeReader(TrainingDataset.open(aloha_gr1), policy.config, policy.read_frames)
    trace = trace_episode(policy, reader, 0, horizon=3)
    assert trace.steps.tolist() == [0, 5, 10, 15]
    assert trace.rows.tolist() == [1, 3, 5, 6, 8, 10, 11, 13, 15, 16]
    assert trace.score().total.mse == 0


def test_before_the_first_row_there_is_the_first_row(aloha_gr1: Path, tmp_path: Path) -> None:
    """GR00T's loader would take the episode's end, which no robot sees."""
    folder = write_checkpoint(
        tmp_path / "checkpoint-0", video={"delta_indices": [-2, 0]}, state={"delta_indices": [-1, 0]}
    )
    asked = settings(aloha_gr1, folder)
    policy = open_demonstrator(asked, read_contenders(asked)[0][0])
    reader = EpisodeReader(TrainingDataset.open(aloha_gr1), policy.config, policy.read_frames)
    seen = reader.observe(reader.read(0), np.array([0, 3]))
    frames = policy.read_frames(reader.dataset.video_path(0, "ego_view"), np.arange(4))
    np.testing.assert_array_equal(seen.images["ego_view"], frames[[[0, 0], [1, 3]]])
    states = recorded(aloha_gr1, 0, "state", "left_arm")
    np.testing.assert_array_equal(seen.states["left_arm"], states[[[0, 0], [2, 3]]])


def test_two_workers_find_the_same_as_this_process(
    aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"), prepend=os.pathsep)
    named = [write_checkpoint(tmp_path / f"run/checkpoint-{number}") for number in (2, 1)]
    alone = run(settings(aloha_gr1, *named))
    assert run(settings(aloha_gr1, *named, num_gpus=2)) == alone
    with pytest.raises(EvaluationError, match=r"episode 1, action left_hand: .*no numbers"):
        run(settings(aloha_gr1, *named, num_gpus=2), open_confused)


def test_a_checkpoint_that_is_named_twice_counts_once(aloha_gr1: Path, checkpoint: Path) -> None:
    (scored,) = run(settings(aloha_gr1, checkpoint, checkpoint)).checkpoints
    assert len(scored.episodes) == len(LENGTHS_20_HZ)


def test_a_policy_that_predicts_no_numbers_is_named(aloha_gr1: Path, checkpoint: Path) -> None:
    with pytest.raises(EvaluationError, match=r"checkpoint-0, episode 1, action left_hand: .*no numbers"):
        run(settings(aloha_gr1, checkpoint), open_confused)
    assert run(settings(aloha_gr1, checkpoint, episodes=(0, 2)), open_confused).checkpoints[0].total.mse == 0


def test_the_first_of_an_episodes_tasks_is_told(aloha_gr1: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(aloha_gr1, tmp_path / "data")
    task = read_meta(dataset, "tasks.jsonl")[0]["task"]
    edit_jsonl(dataset / "meta/tasks.jsonl", lambda rows: [*rows, {"task_index": 1, "task": "valid"}])
    edit_jsonl(dataset / "meta/episodes.jsonl", lambda rows: [{**row, "tasks": [task, "valid"]} for row in rows])
    for key in ("task", "annotation.human.task_description"):
        folder = write_checkpoint(tmp_path / f"{key}/checkpoint-0", language={"modality_keys": [key]})
        asked = settings(dataset, folder)
        policy = open_demonstrator(asked, read_contenders(asked)[0][0])
        recording = EpisodeReader(TrainingDataset.open(dataset), policy.config, policy.read_frames).read(1)
        assert recording.texts == (task,) * LENGTHS_20_HZ[1]


def test_a_group_without_a_state_has_nothing_to_hold() -> None:
    score = Score(num_values=1, mse=1.0, mae=1.0, hold_mse=3.0, hold_mae=2.0)
    wider = Score(num_values=3, mse=2.0, mae=1.5, hold_mse=4.0, hold_mae=1.0)
    assert pool_scores([score, wider]) == Score(num_values=4, mse=1.75, mae=1.375, hold_mse=3.75, hold_mae=1.25)
    assert pool_scores([score, Score(num_values=1, mse=0, mae=0)]).hold_mse is None


def test_a_picture_shows_every_joint_of_every_group(aloha_gr1: Path, tmp_path: Path) -> None:
    rows = np.arange(20)
    traces = {}
    for group, width in {"left_arm": 7, "left_hand": 6}.items():
        ones = np.ones((20, width), np.float32)
        traces[group] = GroupTrace(recorded=ones, predicted=0.5 * ones, held=0 * ones)
    dataset, name = TrainingDataset.open(aloha_gr1), "/runs/aloha/checkpoint-5"
    lengths = []
    for number, shown in enumerate((traces, {"left_hand": traces["left_hand"]})):
        path = PlotFolder(tmp_path, dataset).draw(name, Trace(number, 10, rows[::10], rows, shown))
        assert path == tmp_path / f"aloha_checkpoint-5/episode_00000{number}.png"
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        orange_and_blue = ((255, 127, 14), (31, 119, 180))  # predicted, holding still
        lengths.append([(np.abs(pixels - colour).max(axis=1) < 64).sum() for colour in orange_and_blue])
    assert min(lengths[1]) > 6 * 100
    np.testing.assert_allclose(np.divide(*lengths), (7 + 6) / 6, rtol=0.1)


def test_json_holds_all_that_is_printed(aloha_gr1: Path, tmp_path: Path) -> None:
    named = [write_checkpoint(tmp_path / f"run/checkpoint-{number}") for number in (9, 1)]
    found, dataset = run(settings(aloha_gr1, *named)), TrainingDataset.open(aloha_gr1)
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    shown = io.StringIO()
    print_evaluation(found, Console(file=shown, width=100))
    assert f"best: {named[1]}" in shown.getvalue().splitlines()
    assert "run/checkpoint-9 90.00% 0.81 0.9" in " ".join(shown.getvalue().split())
    assert (
        "share of each joint's range in the statistics of run/checkpoint-9; joints that never move" in shown.getvalue()
    )
    assert "no significant difference" not in shown.getvalue()
    assert tuple(found.checkpoints[0].groups["left_arm"].joints) == joint_names(dataset, "left_arm")
    assert "3 episodes, 37 steps, 4 of each chunk; units of the data, squared for MSE" in shown.getvalue()


def test_no_better_than_holding_still_is_said(aloha_gr1: Path, tmp_path: Path) -> None:
    shown = io.StringIO()
    print_evaluation(run(settings(aloha_gr1, write_checkpoint(tmp_path / "checkpoint-90"))), Console(file=shown))
    assert shown.getvalue().splitlines()[-1] == "warning: no better than holding still"


def test_a_dataset_that_lacks_what_the_checkpoint_takes_is_an_error(aloha_gr1: Path, checkpoint: Path) -> None:
    def reads(**modalities: Any) -> None:
        number = len(list(checkpoint.parent.iterdir()))
        read_contenders(settings(aloha_gr1, write_checkpoint(checkpoint.parent / f"checkpoint-{number}", **modalities)))

    told = r"^the policy's video keys are wrist: 'wrist' is not a camera of .* Known: ego_view"
    with pytest.raises(millrace.MillraceError, match=told):
        reads(video={"modality_keys": ["wrist"]})
    with pytest.raises(millrace.MillraceError, match=r"'left_hnd' is not a state group .* Did you mean 'left_hand'\?"):
        reads(state={"modality_keys": ["left_hnd"]})
    with pytest.raises(millrace.MillraceError, match="the policy's language is sub_task; evaluated are 'task' and"):
        reads(language={"modality_keys": ["sub_task"]})


def test_other_widths_than_in_the_statistics_are_an_error(aloha_gr1: Path, checkpoint: Path) -> None:
    edit_json(
        checkpoint / "statistics.json", lambda tags: tags["new_embodiment"]["action"]["left_hand"]["min"].append(0.0)
    )
    with pytest.raises(EvaluationError, match=r"checkpoint-0: action group left_hand has 7 values in its stat.*, 6 in"):
        read_contenders(settings(aloha_gr1, checkpoint))


def test_horizons_must_be_the_same_to_compare(aloha_gr1: Path, checkpoint: Path, tmp_path: Path) -> None:
    short = write_checkpoint(tmp_path / "checkpoint-1", action={"delta_indices": [0, 1]})
    with pytest.raises(SettingsError, match=r"horizons differ: 4 of .*, 2 of .*To compare alike pass --horizon 2"):
        read_contenders(settings(aloha_gr1, checkpoint, short))
    assert len(read_contenders(settings(aloha_gr1, checkpoint, short, horizon=2))[0]) == 2
    with pytest.raises(SettingsError, match=r"--horizon 3: .*checkpoint-1 predicts 2 steps"):
        read_contenders(settings(aloha_gr1, checkpoint, short, horizon=3))


def _has_groot() -> bool:
    try:
        require_groot()
    except millrace.MillraceError:
        return False
    return True


@pytest.mark.skipif(_has_groot(), reason="needs an environment without gr00t")
def test_without_gr00t_it_is_said_how_to_get_it(
    aloha_gr1: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["evaluate", str(checkpoint), str(aloha_gr1)], ["serve", str(checkpoint)]):
        assert cli.main(arguments) == 2
        assert "GR00T cannot be imported" in capfd.readouterr().err
