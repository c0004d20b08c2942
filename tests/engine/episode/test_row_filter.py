"""What leaves an episode out for its rows is measured exactly, by the rows and the settings alone."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import recipe_for
from millrace.embodiments import compile_map, load_map
from millrace.engine.episode.row_filter import check_motion, highest_jerk, idle_share, measure_motion
from millrace.engine.errors import EpisodeDataError, FaultCode
from millrace.engine.planning.filter_rules import FilterRules, choose_filter_rules
from support.synthetic import expected_action, expected_state

FPS = Fraction(50)
MAP = compile_map(load_map("aloha_to_gr1"))


def rules_for(**chosen: Any) -> FilterRules:
    recipe = recipe_for("source", filter=chosen)  # type: ignore[arg-type]
    found = choose_filter_rules(recipe, recipe.sources[0], MAP)
    assert found is not None
    return found


def rows(length: int) -> tuple[np.ndarray, np.ndarray]:
    return expected_state(0, np.arange(length)), expected_action(0, np.arange(length))


@given(cubic=st.floats(-5, 5), fps=st.sampled_from([10, 30, 50]), length=st.integers(4, 60))
def test_the_jerk_of_a_cubic_path_is_its_third_derivative(cubic: float, fps: int, length: int) -> None:
    seconds = np.arange(length)[:, np.newaxis] / fps
    paths = np.concatenate([cubic * seconds**3 + seconds**2 - seconds, 0 * seconds], axis=1)
    assert highest_jerk(paths, Fraction(fps)) == pytest.approx(abs(6 * cubic), rel=1e-3, abs=1e-3)


def test_too_few_frames_have_no_jerk() -> None:
    assert highest_jerk(np.zeros((3, 2)), FPS) == 0


@given(still=st.integers(0, 120), moving=st.integers(1, 40))
def test_idle_is_the_share_of_stretches_of_a_second_or_longer(still: int, moving: int) -> None:
    # A constant position, then steps of two widths a frame.
    path = np.concatenate([np.zeros(still), 2.0 * np.arange(1, moving + 1)])[:, np.newaxis]
    expected = still if still >= 50 else 0
    assert idle_share(path, FPS) == Fraction(expected, still + moving)


def test_extents_are_by_joint_group_in_its_unit() -> None:
    state, action = rows(60)
    motion = measure_motion(state, action, rules_for(min_motion={"left_arm": 0.1, "right_arm": 0.1}), FPS)
    spans = np.ptp(state.astype(np.float64), axis=0)
    assert motion.extents == {"left_arm": spans[:6].max(), "right_arm": spans[7:13].max()}
    assert motion.idle_share is None


@given(length=st.integers(4, 80), share=st.floats(0.01, 0.99))
def test_an_episode_is_kept_up_to_exactly_what_was_measured(length: int, share: float) -> None:
    state, action = rows(length)
    measured = measure_motion(state, action, rules_for(min_motion=0.1, max_jerk=1), FPS)
    most, jerk = measured.extents["left_arm"], measured.jerks["left_arm"]
    check_motion(state, action, rules_for(min_motion={"left_arm": most}, max_jerk={"left_arm": jerk}), FPS)
    for chosen in ({"min_motion": {"left_arm": most / share}}, {"max_jerk": {"left_arm": jerk * share}}):
        with pytest.raises(EpisodeDataError) as raised:
            check_motion(state, action, rules_for(**chosen), FPS)
        assert raised.value.code is FaultCode.FILTERED


def test_the_reason_says_what_was_measured_and_what_was_asked() -> None:
    state = np.zeros((100, 14), np.float32)
    with pytest.raises(EpisodeDataError) as raised:
        check_motion(state, state, rules_for(max_idle=0.5, min_motion=0.1), FPS)
    assert str(raised.value) == (
        "the robot stands still in 100.0% of its frames (max_idle 50%) and nothing moves far: left_arm goes 0 rad "
        "(min_motion 0.1)"
    )


def test_a_filter_of_metadata_alone_needs_no_rows() -> None:
    recipe = recipe_for("source", filter={"min_length": 1})  # type: ignore[arg-type]
    assert choose_filter_rules(recipe, recipe.sources[0], MAP) is None
