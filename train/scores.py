"""How far predicted actions lie from recorded ones, by joint group and joint, and from holding still."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace.embodiments import FrozenModel
from millrace.train.joint_ranges import GroupRange

# Of the comparison of checkpoints by samples of the episodes.
NUM_SAMPLES, SEED, SHARE_BELOW = 2000, 0, 0.025


class Score(FrozenModel):
    """Mean errors over some values.

    mse, mae: In the dataset's own units (radians, for joints), squared for MSE.
    hold_mse, hold_mae: Of staying where the robot stood at each prediction; None where an action has no state of the
        same name and width.
    num_moving: How many of the values are of joints that move in the checkpoint's training data.
    range_mse, range_hold_mse: The same of these alone, in units of each joint's range there: hands in degrees and arms
        in radians count alike. None where no joint moves, or no range is known.
    """

    num_values: int
    mse: float
    mae: float
    hold_mse: float | None = None
    hold_mae: float | None = None
    num_moving: int = 0
    range_mse: float | None = None
    range_hold_mse: float | None = None

    @property
    def against_hold(self) -> float | None:
        """MSE as a share of holding still's, in units of ranges where they are known: below 1 the policy is better."""
        if self.range_mse is not None and self.range_hold_mse:
            return self.range_mse / self.range_hold_mse
        return self.mse / self.hold_mse if self.hold_mse else None

    @property
    def range_error(self) -> float | None:
        """The root of the mean squared error, as a share of the joints' ranges."""
        return None if self.range_mse is None else math.sqrt(self.range_mse)

    @property
    def deciding_error(self) -> float:
        """The squared error by which checkpoints are compared: in units of ranges where they are known."""
        return self.mse if self.range_mse is None else self.range_mse


class GroupScore(Score):
    """A joint group's errors, and those of each joint by name; none where no ranges were given."""

    joints: dict[str, Score] = Field(default_factory=dict)


class EpisodeScore(FrozenModel):
    """One episode's errors, over all groups and by group."""

    episode: int
    num_steps: int
    total: Score
    groups: dict[str, GroupScore]


class CheckpointScore(FrozenModel):
    """One checkpoint's errors over all values of all episodes, by group, and by episode.

    Of an episode the joints are left out.
    """

    checkpoint: str
    embodiment_tag: str | None
    total: Score
    groups: dict[str, GroupScore]
    episodes: tuple[EpisodeScore, ...]


class Evaluation(FrozenModel):
    """What `millrace evaluate --json` writes.

    best: the checkpoint with the lowest error in units of the joints' ranges; see `best_score`.
    no_difference: checkpoints that as many other episodes may as well have made the best.
    ranges_of: whose statistics the ranges are, for all checkpoints: the first one's, or the dataset's.
    """

    dataset: str
    horizon: int
    best: str
    no_difference: tuple[str, ...] = ()
    ranges_of: str | None = None
    checkpoints: tuple[CheckpointScore, ...]


def read_best(report: Path) -> Path:
    """The best checkpoint of an evaluation's file."""
    return Path(Evaluation.model_validate_json(report.read_bytes()).best)


def score_group(
    recorded: NDArray[np.float32],
    predicted: NDArray[np.float32],
    held: NDArray[np.float32] | None,
    known: GroupRange | None = None,
) -> GroupScore:
    """The errors of one group; all arrays (num_steps, D)."""
    num_steps, num_joints = recorded.shape
    errors = _errors(recorded, predicted)
    holding = [None] * num_joints if held is None else _errors(recorded, held)
    ranges = np.zeros(num_joints) if known is None else known.ranges
    joints = [_score_joint(num_steps, *found) for found in zip(errors, holding, ranges.tolist(), strict=True)]
    named = {} if known is None else dict(zip(known.names, joints, strict=True))
    return GroupScore(**pool_scores(joints).model_dump(), joints=named)


def pool_scores(scores: Iterable[Score]) -> Score:
    """The errors over the values of all scores together, each value counting the same."""
    parts = list(scores)
    counts = [part.num_values for part in parts]
    moving = [part for part in parts if part.num_moving]
    num_moving = [part.num_moving for part in moving]
    return Score(
        num_values=sum(counts),
        mse=_mean([part.mse for part in parts], counts),
        mae=_mean([part.mae for part in parts], counts),
        hold_mse=_mean_where_all([part.hold_mse for part in parts], counts),
        hold_mae=_mean_where_all([part.hold_mae for part in parts], counts),
        num_moving=sum(num_moving),
        range_mse=_mean_where_all([part.range_mse for part in moving], num_moving),
        range_hold_mse=_mean_where_all([part.range_hold_mse for part in moving], num_moving),
    )


def score_episode(episode: int, num_steps: int, groups: Mapping[str, GroupScore]) -> EpisodeScore:
    """An episode's score from those of its groups."""
    return EpisodeScore(episode=episode, num_steps=num_steps, total=pool_scores(groups.values()), groups=dict(groups))


def pool_episodes(checkpoint: str, tag: str | None, episodes: Iterable[EpisodeScore]) -> CheckpointScore:
    """A checkpoint's score by those of its episodes, which are brought into order."""
    ordered = sorted(episodes, key=lambda episode: episode.episode)
    groups = {name: _pool_groups([episode.groups[name] for episode in ordered]) for name in ordered[0].groups}
    return CheckpointScore(
        checkpoint=checkpoint,
        embodiment_tag=tag,
        total=pool_scores(groups.values()),
        groups=groups,
        episodes=tuple(map(_leave_out_joints, ordered)),
    )


def best_score(scores: Sequence[CheckpointScore]) -> CheckpointScore:
    """The score with the lowest squared error in units of ranges, or else of the data; of equals the later one."""
    return min(reversed(scores), key=lambda one: one.total.deciding_error)


def find_equals(best: CheckpointScore, scores: Iterable[CheckpointScore]) -> tuple[str, ...]:
    """The checkpoints of which the episodes do not show that they are worse than the best; see `is_shown_worse`."""
    least = [episode.total for episode in best.episodes]
    others = (one for one in scores if one.checkpoint != best.checkpoint)
    return tuple(
        one.checkpoint for one in others if not is_shown_worse([episode.total for episode in one.episodes], least)
    )


def is_shown_worse(totals: Sequence[Score], best: Sequence[Score]) -> bool:
    """Whether the episodes show that a checkpoint is worse than the best.

    A bootstrap: of samples of the episodes, drawn with replacement and alike for both, fewer than one in 40 has the
    other checkpoint at least as good. One episode shows nothing.

    Args:
        totals: The checkpoint's errors in each episode.
        best: The best one's, in the same episodes.
    """
    num_episodes = len(best)
    if num_episodes < 2:
        return False
    drawn = np.random.default_rng(SEED).integers(num_episodes, size=(NUM_SAMPLES, num_episodes))
    return bool(np.quantile(_sample_errors(totals, drawn) - _sample_errors(best, drawn), SHARE_BELOW) > 0)


def _sample_errors(totals: Sequence[Score], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """The squared error of each sample of episodes, (num_samples,)."""
    counts = np.array([total.num_moving or total.num_values for total in totals])
    sums = np.array([total.deciding_error for total in totals]) * counts
    errors: NDArray[np.float64] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return errors


def _pool_groups(parts: Sequence[GroupScore]) -> GroupScore:
    joints = {name: pool_scores(part.joints[name] for part in parts) for name in parts[0].joints}
    return GroupScore(**pool_scores(parts).model_dump(), joints=joints)


def _leave_out_joints(episode: EpisodeScore) -> EpisodeScore:
    groups = {name: group.model_copy(update={"joints": {}}) for name, group in episode.groups.items()}
    return episode.model_copy(update={"groups": groups})


def _score_joint(
    num_steps: int, errors: tuple[float, float], holding: tuple[float, float] | None, size: float
) -> Score:
    """The score of one joint by its squared and absolute error, those of holding still, and its range."""
    hold_mse, hold_mae = holding or (None, None)
    is_moving = size > 0
    return Score(
        num_values=num_steps,
        mse=errors[0],
        mae=errors[1],
        hold_mse=hold_mse,
        hold_mae=hold_mae,
        num_moving=num_steps if is_moving else 0,
        range_mse=errors[0] / size**2 if is_moving else None,
        range_hold_mse=hold_mse / size**2 if is_moving and hold_mse is not None else None,
    )


def _errors(recorded: NDArray[np.float32], predicted: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Squared and absolute error of each joint."""
    difference = predicted.astype(np.float64) - recorded
    squared, absolute = np.mean(difference**2, axis=0), np.mean(np.abs(difference), axis=0)
    return list(zip(squared.tolist(), absolute.tolist(), strict=True))


def _mean(values: Sequence[float], counts: Sequence[int]) -> float:
    # fsum: the same whatever the order in which episodes came in.
    return math.fsum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)


def _mean_where_all(values: Sequence[float | None], counts: Sequence[int]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known, counts) if values and len(known) == len(values) else None
