"""A conversion's actions are those in force where the recipe says; frames and states stay as they are."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import matrix, read_table, recipe_for, video_path
from millrace.engine.convert import plan_conversion
from millrace.engine.dataset import EpisodeRecord
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.planning.action_rule import action_indices
from millrace.engine.planning.resample import frame_indices
from support.barcode import Stamp
from support.synthetic import expected_action, expected_state, read_stamps, write_dataset

RATES = {"source_fps": Fraction(50), "target_fps": Fraction(20)}


def plan_for(source: Path, **settings: Any) -> Any:
    return plan_conversion(recipe_for(source, **{"robot": "aloha", "horizon": 1, **settings}))


@pytest.mark.parametrize("resample", ["nearest", "linspace"])
@pytest.mark.parametrize("rule", ["mid_interval", "end_of_interval"])
def test_actions_are_in_force_where_the_rule_says(tmp_path: Path, rule: Any, resample: Any) -> None:
    write_dataset(tmp_path / "source", lengths=(31,))
    plan = plan_for(tmp_path / "source", action=rule, resample=resample)
    (tmp_path / "out").mkdir()
    record = convert_episode(plan.episodes[0], plan.job, tmp_path / "out", tmp_path / "out")
    assert isinstance(record, EpisodeRecord), record
    frames = frame_indices(31, **RATES, resampler=resample)
    actions = action_indices(31, **RATES, resampler=resample, rule=rule)
    assert actions.tolist() != frames.tolist()
    rows = read_table(tmp_path / "out", 0)
    np.testing.assert_array_equal(matrix(rows, "action"), expected_action(0, actions))
    np.testing.assert_array_equal(matrix(rows, "observation.state"), expected_state(0, frames))
    assert read_stamps(video_path(tmp_path / "out", 0)) == [Stamp(frame) for frame in frames.tolist()]


def test_a_plan_says_where_the_rule_counts_and_where_not(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(31,))
    [held] = [note for note in plan_for(tmp_path / "source", action="mid_interval").notes if "in force" in note]
    assert held.endswith("each action is the one in force in the middle of its interval, not that of its frame")
    kept = plan_for(tmp_path / "source", action="mid_interval", fps="source").notes
    assert any("every frame is kept with its own action" in note for note in kept)
    assert not [note for note in plan_for(tmp_path / "source").notes if "action" in note]
