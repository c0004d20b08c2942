"""`align_action` shifts the actions of a source as a whole; rows and frames without an action are left out together."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, convert_here, files_of, matrix, read_meta, read_table, recipe_for, video_path
from millrace.engine.convert import convert, estimate, plan_conversion
from millrace.engine.errors import MillraceError, OtherRecipe, RecipeError
from millrace.engine.inspection import inspect_dataset
from millrace.engine.layout import LEDGER
from millrace.engine.planning.resample import frame_indices
from support.barcode import Stamp
from support.lagging_states import write_lagging
from support.synthetic import expected_action, expected_state, read_stamps, write_dataset

ALOHA: dict[str, Any] = {"robot": "aloha", "horizon": 1}


@pytest.mark.parametrize("shift", [3, -3])
def test_rows_and_frames_without_an_action_are_left_out_together(tmp_path: Path, shift: int) -> None:
    write_dataset(tmp_path / "source", lengths=(31, 24))
    convert_here(tmp_path / "source", tmp_path / "out", **ALOHA, align_action=shift)
    for episode, length in enumerate((31, 24)):
        kept = np.arange(length)[3:] if shift > 0 else np.arange(length)[:-3]
        frames = kept[frame_indices(len(kept), source_fps=Fraction(50), target_fps=Fraction(20))]
        rows = read_table(tmp_path / "out", episode)
        np.testing.assert_array_equal(matrix(rows, "observation.state"), expected_state(episode, frames))
        np.testing.assert_array_equal(matrix(rows, "action"), expected_action(episode, frames - shift))
        expected = [Stamp(frame, episode) for frame in frames.tolist()]
        assert read_stamps(video_path(tmp_path / "out", episode)) == expected
    lengths = [line["length"] for line in read_meta(tmp_path / "out", "episodes.jsonl")]
    assert lengths == [episode.num_frames for episode in _plan(tmp_path / "source", align_action=shift).episodes]


def _plan(source: Path, **settings: Any) -> Any:
    return plan_conversion(recipe_for(source, **{**ALOHA, **settings}))


@pytest.mark.parametrize("lag", [4, 0, -3])
def test_auto_shifts_by_the_lag_that_inspect_measures_and_leaves_none(tmp_path: Path, lag: int) -> None:
    write_lagging(tmp_path / "source", lag=lag)
    assert inspect_dataset(tmp_path / "source").motion.lag_frames == lag
    convert_here(tmp_path / "source", tmp_path / "out", **ALOHA, fps="source", align_action="auto")
    assert inspect_dataset(tmp_path / "out").motion.lag_frames == 0
    by_hand = tmp_path / "by_hand"
    convert_here(tmp_path / "source", by_hand, **ALOHA, fps="source", align_action=lag)
    made, expected = files_of(tmp_path / "out"), files_of(by_hand)
    data = [name for name in expected if name.startswith(("data/", "videos/", "meta/"))]
    assert {name: made[name] for name in data} == {name: expected[name] for name in data}


def test_the_lineage_has_the_measured_shift(tmp_path: Path) -> None:
    write_lagging(tmp_path / "source", lag=-3)
    convert_here(tmp_path / "source", tmp_path / "out", **ALOHA, align_action="auto")
    manifest = json.loads((tmp_path / "out/millrace.json").read_text())
    assert manifest["recipe"]["align_action"] == "auto"
    assert [one["frames"] for one in manifest["align_action"]] == [-3]
    assert [one["cuts"] for one in manifest["episodes"]] == [
        [{"start": 77, "stop": 80, "why": "action"}],
        [{"start": 67, "stop": 70, "why": "action"}],
    ]
    [note] = [note for note in manifest["notes"] if "actions move" in note]
    assert "actions move 3 frames (60 ms) earlier; the last 3 of each episode have none" in note


def test_a_resumed_run_takes_the_lag_that_the_first_one_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lagging(tmp_path / "source", lag=2)
    recipe = recipe_for(tmp_path / "source", **ALOHA, align_action="auto")
    convert(recipe, tmp_path / "whole", workers=LOCAL)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(recipe, tmp_path / "out", workers=LOCAL, on_result=stop)
    monkeypatch.setattr("millrace.engine.inspection.dataset_lag._measure", lambda *_: pytest.fail("measured again"))
    convert(recipe, tmp_path / "out", workers=LOCAL)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    header = json.loads((tmp_path / "out" / LEDGER).read_text().splitlines()[0])
    assert header["frames by which actions are shifted"] == [2]
    with pytest.raises(OtherRecipe, match=r"align_action='auto'|align_action"):
        convert(recipe_for(tmp_path / "source", **ALOHA, align_action=2), tmp_path / "out", workers=LOCAL)


def test_auto_refuses_what_tells_no_lag(tmp_path: Path) -> None:
    write_lagging(tmp_path / "source", lag=None)
    with pytest.raises(MillraceError, match=r"cannot be measured: action and state do not go together.*align_action=2"):
        _plan(tmp_path / "source", align_action="auto")


def test_an_episode_as_short_as_the_shift_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40, 3))
    with pytest.raises(MillraceError, match=r"episode 1 .* has 3 frames, none left .* shifted by -3 frames"):
        _plan(tmp_path / "source", align_action=-3)


def test_a_positive_shift_says_what_it_does_to_a_policy(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40,))
    [note] = [note for note in _plan(tmp_path / "source", align_action=1).notes if "actions move" in note]
    assert "actions move 1 frame (20 ms) later" in note
    assert "actions that lead to a state belong before it" in note
    estimate(recipe_for(tmp_path / "source", **ALOHA, align_action=1), tmp_path / "out", workers=LOCAL)


def test_the_lag_of_steps_is_not_measured(tmp_path: Path) -> None:
    write_lagging(tmp_path / "source", lag=2)
    robot = tmp_path / "stepper.yaml"
    robot.write_text(
        (Path("embodiments/robots/aloha.yaml").read_text())
        .replace("name: aloha", "name: stepper", 1)
        .replace("action: relative", "action_kind: delta")
    )
    with pytest.raises(RecipeError, match=r"actions of 'stepper' are steps"):
        _plan(tmp_path / "source", robot=str(robot), align_action="auto")
