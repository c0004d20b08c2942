"""Checkpoints are compared by errors that count every joint alike, and only as far as the episodes tell."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace.train.joint_ranges import GroupRange, read_joint_ranges
from millrace.train.scores import CheckpointScore, best_score, find_equals, pool_episodes, score_episode, score_group
from millrace.train.training_dataset import TrainingDataset
from support.demonstrator import GROUPS, write_checkpoint
from support.synthetic_rows import write_json

# An arm in radians, of which a joint never moves, and a hand in degrees.
RANGES = {
    "arm": GroupRange(("shoulder", "elbow", "wrist"), np.array([2.0, 4.0, 0.0])),
    "hand": GroupRange(("thumb", "index"), np.array([100.0, 50.0])),
}


def scored(name: str, *errors: dict[str, list[float]], num_steps: int = 10) -> CheckpointScore:
    """A checkpoint that is off by so much, for each joint, in every step of an episode; one for each episode."""
    episodes = []
    for number, by_group in enumerate(errors):
        groups = {}
        for group, offsets in by_group.items():
            recorded = np.zeros((num_steps, len(offsets)), np.float32)
            groups[group] = score_group(recorded, recorded + np.float32(offsets), recorded - 1, RANGES.get(group))
        episodes.append(score_episode(number, num_steps, groups))
    return pool_episodes(name, None, episodes)


def test_a_joint_counts_by_its_range_and_one_that_never_moves_not_at_all() -> None:
    score = scored("a", {"arm": [0.2, 0.4, 9.0], "hand": [10.0, 5.0]})
    assert score.total.range_mse == pytest.approx(0.01)
    assert score.total.range_error == pytest.approx(0.1)
    assert (score.total.num_moving, score.total.num_values) == (40, 50)
    assert score.groups["arm"].joints["wrist"].range_mse is None
    assert score.groups["arm"].joints["wrist"].mse == pytest.approx(81)
    assert score.total.mse == pytest.approx((0.04 + 0.16 + 81 + 100 + 25) / 5)
    assert score.groups["hand"].range_hold_mse == pytest.approx((1 / 100**2 + 1 / 50**2) / 2)


def test_the_best_is_not_chosen_by_the_unit_of_the_hands() -> None:
    lame = scored("lame", {"arm": [1.0, 2.0, 0.0], "hand": [1.0, 1.0]})
    clumsy = scored("clumsy", {"arm": [0.02, 0.04, 0.0], "hand": [2.0, 2.0]})
    assert lame.total.mse < clumsy.total.mse
    assert best_score([lame, clumsy]).checkpoint == "clumsy"


def test_without_ranges_the_error_in_the_datas_units_decides() -> None:
    near, far = (scored(name, {"leg": [error]}) for name, error in (("near", 0.1), ("far", 0.2)))
    assert near.total.range_mse is None
    assert best_score([near, far]).checkpoint == "near"
    assert near.groups["leg"].joints == {}


def test_joints_are_pooled_over_episodes_and_left_out_of_each() -> None:
    score = scored("a", {"arm": [0.2, 0.0, 0.0]}, {"arm": [0.4, 0.0, 0.0]})
    assert score.groups["arm"].joints["shoulder"].mae == pytest.approx(0.3)
    assert list(score.groups["arm"].joints) == ["shoulder", "elbow", "wrist"]
    assert all(not group.joints for episode in score.episodes for group in episode.groups.values())


def noisy(name: str, mean: float, spread: float, *, num_episodes: int = 20) -> CheckpointScore:
    draws = np.random.default_rng(len(name)).normal(mean, spread, num_episodes)
    return scored(name, *({"arm": [draw, 0.0, 0.0]} for draw in np.abs(draws)))


def test_a_difference_within_what_episodes_differ_is_none() -> None:
    best, alike, worse = noisy("best", 0.5, 0.1), noisy("alike", 0.51, 0.1), noisy("far worse", 0.8, 0.1)
    assert find_equals(best, [worse, best, alike]) == ("alike",)
    assert find_equals(best, [worse, best, alike]) == find_equals(best, [worse, best, alike])


def test_the_same_small_difference_in_each_episode_is_one() -> None:
    hard_and_easy = np.linspace(0.1, 2.0, 20)
    best, worse = (
        scored(name, *({"arm": [error + more, 0.0, 0.0]} for error in hard_and_easy))
        for name, more in (("best", 0.0), ("worse", 0.01))
    )
    assert find_equals(best, [best, worse]) == ()


def test_one_episode_shows_no_difference() -> None:
    best, worse = (scored(name, {"arm": [error, 0.0, 0.0]}) for name, error in (("best", 0.1), ("worse", 1.0)))
    assert find_equals(best, [best, worse]) == ("worse",)


def statistics(checkpoint: Path, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    left_arm = {"min": low.tolist(), "max": high.tolist()}
    write_json(checkpoint / "statistics.json", {"new_embodiment": {"action": {"left_arm": left_arm}}})


def test_ranges_are_those_of_the_checkpoints_own_statistics(aloha_gr1: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint-0")
    low, high = np.zeros(7), np.array([0.0, 1e-6, 0.5, 1.0, 2.0, 3.0, 4.0])
    statistics(checkpoint, low, high)
    dataset = TrainingDataset.open(aloha_gr1)
    found = read_joint_ranges(dataset, str(checkpoint), "new_embodiment")
    assert list(found) == ["left_arm"]
    assert found["left_arm"].ranges.tolist() == [0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
    assert found["left_arm"].names[0] == dataset.metadata.info.features["action"].value_name(0)


def test_a_servers_ranges_are_those_of_the_dataset(aloha_gr1: Path, tmp_path: Path) -> None:
    found = read_joint_ranges(TrainingDataset.open(aloha_gr1), None, None)
    assert {name: len(known.ranges) for name, known in found.items() if name in GROUPS} == GROUPS
    assert found["left_arm"].ranges.max() > 0
    assert not found["waist"].ranges.any()
