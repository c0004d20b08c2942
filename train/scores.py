"""How far predicted actions lie from recorded ones, by joint group, and from holding still."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import FrozenModel


class Score(FrozenModel):
    """Mean errors over some values, in the dataset's own units (radians, for joints), squared for MSE.

    hold_mse, hold_mae: of staying where the robot stood at each prediction; None where an action has no state of the
    same name and width.
    """

    num_values: int
    mse: float
    mae: float
    hold_mse: float | None = None
    hold_mae: float | None = None

    @property
    def against_hold(self) -> float | None:
        """MSE as a share of holding still's: below 1 the policy is better."""
        return self.mse / self.hold_mse if self.hold_mse else None


class EpisodeScore(FrozenModel):
    """One episode's errors, over all groups and by group."""

    episode: int
    num_steps: int
    total: Score
    groups: dict[str, Score]


class CheckpointScore(FrozenModel):
    """One checkpoint's errors over all values of all episodes, by group, and by episode."""

    checkpoint: str
    embodiment_tag: str | None
    total: Score
    groups: dict[str, Score]
    episodes: tuple[EpisodeScore, ...]


class Evaluation(FrozenModel):
    """What `millrace evaluate --json` writes; best: the checkpoint with the lowest MSE over all values."""

    dataset: str
    horizon: int
    best: str
    checkpoints: tuple[CheckpointScore, ...]


def score_group(
    recorded: NDArray[np.float32], predicted: NDArray[np.float32], held: NDArray[np.float32] | None
) -> Score:
    """The errors of one group; all arrays (num_steps, D)."""
    mse, mae = _errors(recorded, predicted)
    hold_mse, hold_mae = (None, None) if held is None else _errors(recorded, held)
    return Score(num_values=recorded.size, mse=mse, mae=mae, hold_mse=hold_mse, hold_mae=hold_mae)


def pool_scores(scores: Iterable[Score]) -> Score:
    """The errors over the values of all scores together, each value counting the same."""
    parts = list(scores)
    return Score(
        num_values=sum(part.num_values for part in parts),
        mse=_mean([part.mse for part in parts], parts),
        mae=_mean([part.mae for part in parts], parts),
        hold_mse=_mean_where_all([part.hold_mse for part in parts], parts),
        hold_mae=_mean_where_all([part.hold_mae for part in parts], parts),
    )


def pool_episodes(checkpoint: str, tag: str | None, episodes: Iterable[EpisodeScore]) -> CheckpointScore:
    """A checkpoint's score by those of its episodes, which are brought into order."""
    ordered = tuple(sorted(episodes, key=lambda episode: episode.episode))
    groups = {name: pool_scores(episode.groups[name] for episode in ordered) for name in ordered[0].groups}
    return CheckpointScore(
        checkpoint=checkpoint, embodiment_tag=tag, total=pool_scores(groups.values()), groups=groups, episodes=ordered
    )


def score_episode(episode: int, num_steps: int, groups: Mapping[str, Score]) -> EpisodeScore:
    """An episode's score from those of its groups."""
    return EpisodeScore(episode=episode, num_steps=num_steps, total=pool_scores(groups.values()), groups=dict(groups))


def best_score(scores: Sequence[CheckpointScore]) -> CheckpointScore:
    """The score with the lowest MSE over all values; of equals the later one."""
    return min(reversed(scores), key=lambda one: one.total.mse)


def _errors(recorded: NDArray[np.float32], predicted: NDArray[np.float32]) -> tuple[float, float]:
    difference = predicted.astype(np.float64) - recorded
    return float(np.mean(difference**2)), float(np.mean(np.abs(difference)))


def _mean(values: Sequence[float], parts: Sequence[Score]) -> float:
    weighted = (value * part.num_values for value, part in zip(values, parts, strict=True))
    # fsum: the same whatever the order in which episodes came in.
    return math.fsum(weighted) / sum(part.num_values for part in parts)


def _mean_where_all(values: Sequence[float | None], parts: Sequence[Score]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known, parts) if len(known) == len(values) else None
