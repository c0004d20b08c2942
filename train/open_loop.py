"""Run a policy open loop over an episode: it predicts at every horizon-th step from what was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.modality_config import GrootConfig
from millrace.train.episodes import EpisodeReader, Observations, Recording
from millrace.train.errors import EvaluationError
from millrace.train.joint_ranges import JointRanges
from millrace.train.scores import EpisodeScore, score_episode, score_group


class Policy(Protocol):
    """A policy: observations to actions.

    name: as messages call it. batch_size: observations that it takes at once.
    """

    name: str
    config: GrootConfig
    batch_size: int

    def act(self, observations: Observations, *, seed: int) -> Mapping[str, NDArray[np.float32]]:
        """An action chunk for each observation, by joint group, (N, horizon, D); the same for the same seed."""

    def read_frames(self, path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames as the policy was trained on them, (N, H, W, 3) RGB."""


@dataclass(frozen=True, eq=False)
class GroupTrace:
    """One joint group over the compared rows, each (num_rows, D).

    held: the state at each prediction, repeated; None where there is no state of that name and width.
    """

    recorded: NDArray[np.float32]
    predicted: NDArray[np.float32]
    held: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode, predicted against recorded.

    horizon: steps taken of each chunk. steps: rows at which the policy predicted. rows: those that are compared,
    increasing.
    """

    episode: int
    horizon: int
    steps: NDArray[np.int64]
    rows: NDArray[np.int64]
    groups: Mapping[str, GroupTrace]

    def score(self, ranges: JointRanges = MappingProxyType({})) -> EpisodeScore:
        """The errors of predicted against recorded actions; for groups with ranges in these units, too."""
        groups = {
            name: score_group(group.recorded, group.predicted, group.held, ranges.get(name))
            for name, group in self.groups.items()
        }
        return score_episode(self.episode, len(self.rows), groups)


def trace_episode(policy: Policy, reader: EpisodeReader, episode: int, *, horizon: int) -> Trace:
    """Let a policy predict an episode; of each chunk the first `horizon` steps are taken.

    Raises:
        TrainingDataError: the episode is damaged.
        EvaluationError: the policy predicts other widths than are recorded, or no numbers.
    """
    recording = reader.read(episode)
    deltas = np.asarray(policy.config.modalities["action"].delta_indices[:horizon], dtype=np.int64)
    steps = np.arange(0, recording.num_rows, int(deltas[-1] - deltas[0]) + 1)
    chunks = _predict(policy, reader, recording, steps)
    targets = steps[:, None] + deltas
    is_there = targets < recording.num_rows
    groups = {}
    for name, recorded in recording.actions.items():
        predicted = chunks[name][:, :horizon]
        _check(policy, recorded, predicted, where=f"episode {episode}, action {name}")
        held = _held(recording, name, steps=steps, shape=predicted.shape)
        still = None if held is None else held[is_there]
        groups[name] = GroupTrace(recorded[targets[is_there]], predicted[is_there], still)
    return Trace(episode, len(deltas), steps, targets[is_there], groups)


def _predict(
    policy: Policy, reader: EpisodeReader, recording: Recording, steps: NDArray[np.int64]
) -> Mapping[str, NDArray[np.float32]]:
    """Chunks at all steps, (num_steps, H, D) by group."""
    parts = []
    for start in range(0, len(steps), policy.batch_size):
        some = steps[start : start + policy.batch_size]
        # Its own seed for each batch: diffusion begins with noise, whichever worker does it and when.
        seed = recording.episode * 100_003 + start
        parts.append(policy.act(reader.observe(recording, some), seed=seed))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check(policy: Policy, recorded: NDArray[np.float32], predicted: NDArray[np.float32], *, where: str) -> None:
    if predicted.shape[-1] != recorded.shape[-1]:
        widths = f"{predicted.shape[-1]} values, the dataset has {recorded.shape[-1]}"
        raise EvaluationError(f"{policy.name}, {where}: the policy predicts {widths}")
    if not np.isfinite(predicted).all():
        raise EvaluationError(f"{policy.name}, {where}: the policy predicts values that are no numbers")


def _held(
    recording: Recording, group: str, *, steps: NDArray[np.int64], shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    states = recording.states.get(group)
    if states is None or states.shape[-1] != shape[-1]:
        return None
    return np.broadcast_to(states[steps][:, None], shape)
