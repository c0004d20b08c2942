"""How well actions at a lower rate follow the recording, by each rule of `action:`; see docs/resampling.md.

    python -m benchmarks.held_actions                          # examples/, and smooth movements
    python -m benchmarks.held_actions data/aloha data/g1 --fps 20 10

Each output action is held until the next one is due, and compared with the recording at 20 instants of each source
frame: with the recorded action in force then, and with straight lines between recorded actions. Beside the rules: the
frames' own actions when the controller interpolates them. Errors are means over instants and over the joints in
radians whose actions are targets; other joints are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.runs import EXAMPLE
from millrace.embodiments import Robot, load_robot
from millrace.engine.dataset.rows import read_vectors
from millrace.engine.fps import format_fps
from millrace.engine.planning.action_rule import ACTION_RULES, action_indices
from millrace.engine.planning.joint_columns import match_columns
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import RowReader, SourceDataset, open_source

Floats = NDArray[np.float64]
INSTANTS = 20
INTERPOLATED = "at_frame, interpolated"
REFERENCES = ("in force", "straight lines")
# Smooth movements: sums of sines up to this many Hz, seconds long, so many joints.
MAX_HZ, SMOOTH_SECONDS, NUM_SMOOTH = 1.0, 20, 14


@dataclass(frozen=True)
class Options:
    """Measure how well held actions follow the recording."""

    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional] = (EXAMPLE,)
    """Datasets of robots that Millrace knows."""
    fps: tuple[int, ...] = (20, 10)
    """Target rates, Hz; those above a dataset's rate are left out."""


def main() -> None:
    """Measure and print a table."""
    options = tyro.cli(Options, description=__doc__)
    table = Table("recording", "rates, Hz", "action", *(f"error against {name}, rad" for name in REFERENCES))
    recordings = [(str(path), *read_recording(path)) for path in options.datasets]
    recordings += [(f"smooth, up to {MAX_HZ:g} Hz", Fraction(rate), [smooth_actions(rate)]) for rate in (50, 30)]
    for name, source_fps, episodes in recordings:
        for target_fps in (Fraction(fps) for fps in options.fps if fps <= source_fps):
            rates = f"{format_fps(source_fps)} to {format_fps(target_fps)}"
            for rule, errors in mean_errors(episodes, source_fps, target_fps).items():
                table.add_row(name, rates, rule, *(f"{error:.4f}" for error in errors))
            table.add_section()
    Console(width=160).print(table)


def read_recording(path: Path) -> tuple[Fraction, list[Floats]]:
    """A dataset's rate, and the targets in radians of each episode, (T, D)."""
    dataset = open_source(path)
    guess = guess_robot(dataset, str(path))
    if guess.name is None:
        raise SystemExit(f"{path}: of no robot that Millrace knows")
    return dataset.fps, list(_targets(dataset, load_robot(guess.name)))


def _targets(dataset: SourceDataset, robot: Robot) -> Iterator[Floats]:
    joints = match_columns(dataset, robot, "action")
    layout = robot.layout("action")
    units = [robot.groups[name].unit for name in robot.groups_of("action") for _ in robot.groups[name].joints]
    kinds = zip(units, layout.action_kinds, strict=True)
    used = joints.gather[[unit == "rad" and kind == "target" for unit, kind in kinds]]
    for episode in dataset.episodes:
        _, table = RowReader().read(episode, joints.columns)
        values = [read_vectors(table, column, where=str(dataset.address)) for column in joints.columns]
        yield np.concatenate(values, axis=1)[:, used].astype(np.float64)


def smooth_actions(fps: int) -> Floats:
    """Movements of sums of sines with amplitudes of up to a third of a radian, (T, D); the same at every rate."""
    random = np.random.default_rng(0)
    seconds = np.arange(SMOOTH_SECONDS * fps)[:, np.newaxis, np.newaxis] / fps
    shape = (1, NUM_SMOOTH, 3)
    hz, phase, size = (random.uniform(0, most, shape) for most in (MAX_HZ, 2 * np.pi, 1 / 3))
    return np.asarray((size * np.sin(2 * np.pi * hz * seconds + phase)).sum(axis=2))


def mean_errors(
    episodes: Sequence[Floats], source_fps: Fraction, target_fps: Fraction
) -> dict[str, tuple[float, float]]:
    """By rule, the mean error in rad against the recorded actions in force, and against lines between them."""
    parts = [episode_errors(actions, source_fps, target_fps) for actions in episodes]
    lengths = [len(actions) for actions in episodes]
    return {
        rule: (
            float(np.average([part[rule][0] for part in parts], weights=lengths)),
            float(np.average([part[rule][1] for part in parts], weights=lengths)),
        )
        for rule in parts[0]
    }


def episode_errors(actions: Floats, source_fps: Fraction, target_fps: Fraction) -> dict[str, tuple[float, float]]:
    """The errors of one episode, from its first to its last recorded action; actions (T, D) in rad."""
    step = float(source_fps / target_fps)
    # In source frames, at the middle of each part, so that none lies where actions change.
    instants = (np.arange((len(actions) - 1) * INSTANTS) + 0.5) / INSTANTS
    references = actions[instants.astype(np.int64)], _interpolate(actions, instants)
    followed: dict[str, Floats] = {}
    for rule in ACTION_RULES:
        indices = action_indices(len(actions), source_fps=source_fps, target_fps=target_fps, rule=rule)  # type: ignore[arg-type]
        interval = np.minimum((instants / step).astype(np.int64), len(indices) - 1)
        followed[rule] = actions[indices[interval]]
    own = action_indices(len(actions), source_fps=source_fps, target_fps=target_fps)
    followed[INTERPOLATED] = _interpolate(actions[own], instants / step)
    return {
        rule: (float(np.abs(values - references[0]).mean()), float(np.abs(values - references[1]).mean()))
        for rule, values in followed.items()
    }


def _interpolate(actions: Floats, places: Floats) -> Floats:
    """Straight lines between actions (T, D) at places in rows, (N, D); the last one holds on."""
    before = np.minimum(places.astype(np.int64), len(actions) - 1)
    after = np.minimum(before + 1, len(actions) - 1)
    return actions[before] + (places - before)[:, np.newaxis] * (actions[after] - actions[before])


if __name__ == "__main__":
    main()
