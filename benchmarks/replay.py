"""Does a converted dataset still do the task? Recordings of gym-aloha, converted to GR1 at 20 Hz, played back at 50 Hz.

    python -m benchmarks.replay --episodes 50
    python -m benchmarks.replay --episodes 5 --json replay.json

A script records demonstrations; they are converted by each rule, read back through the map's inverse, and played from
the recorded start. Success is gym-aloha's own; the error is how far the simulated arms' joints are from the recording's
at the same time. Frames are grey: only rows count here. Needs the extra `sim`.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import pyarrow.parquet as pq
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tyro.conf import arg

from benchmarks.aloha_recordings import ENVIRONMENT, record
from millrace.embodiments import load_robot
from millrace.engine.convert import Workers, convert
from millrace.engine.planning.recipe import Recipe
from millrace.train.control_rate import Between
from millrace.train.rollout.driving import Rollout, roll_out, wilson_interval
from millrace.train.rollout.gym_aloha import ROBOT, GymAloha
from millrace.train.rollout.replay import open_replay

# What is converted, and how; None is the recording itself, at its own rate and with its own joints.
CONVERSIONS: dict[str, dict[str, Any] | None] = {
    "the recording, 50 Hz": None,
    "nearest, at_frame": {},
    "nearest, mid_interval": {"action": "mid_interval"},
    "nearest, end_of_interval": {"action": "end_of_interval"},
    "linspace (the guide's)": {"resample": "linspace"},
}
FULL_REWARD = 4.0


@dataclass(frozen=True)
class Options:
    """Measure."""

    episodes: int = 20
    """Demonstrations, each with its cube elsewhere."""
    map: str = "aloha_to_gr1_rescaled"
    """From ALOHA to the robot that is converted to."""
    fps: int = 20
    """Rate of the converted dataset, Hz."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write the figures."""


@dataclass(frozen=True)
class Figures:
    """What one conversion, with targets in between made in one way, did.

    Args:
        held: Episodes in which the cube is still held by the left arm at the last step.
        error_rad: Mean distance of an arm's joint from the recording's.
        worst_error_rad: The largest, of any joint at any step.
    """

    conversion: str
    between: str
    num_successes: int
    num_episodes: int
    held: int
    error_rad: float
    worst_error_rad: float


def main() -> None:
    """Record, convert, replay, print."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        found = list(measure_replays(Path(folder), options))
    Console().print(_table(found))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figures) for figures in found], indent=2) + "\n")


def measure_replays(folder: Path, options: Options) -> Iterator[Figures]:
    """The figures of every conversion and way between its targets."""
    recording = folder / "recording"
    print(f"recording {options.episodes} demonstrations", file=sys.stderr)
    record(recording, range(options.episodes), blank=True)
    for number, (name, settings) in enumerate(CONVERSIONS.items()):
        print(f"replaying: {name}", file=sys.stderr)
        own = {"robot": ROBOT, "fps": "source"}
        recipe = Recipe.single(
            recording,
            image_size=32,
            **(own if settings is None else {"map": options.map, "fps": options.fps, **settings}),
        )
        out = folder / str(number)
        convert(recipe, out, workers=Workers(local=True))
        for between in ("hold",) if settings is None else get_args(Between):
            yield _replay(out, recording, name, between, options)


def _replay(dataset: Path, recording: Path, name: str, between: Between, options: Options) -> Figures:
    environment = GymAloha(ENVIRONMENT, with_images=False)
    policy = open_replay(dataset, ROBOT, map_name=None, control_fps=environment.control_fps, between=between)
    outcomes, errors, held = [], [], 0
    for trace in roll_out(environment, policy, range(options.episodes), max_steps=0, stops_at_success=False):
        outcomes.append(trace.outcome)
        held += trace.last_reward == FULL_REWARD
        errors.append(_tracking_errors(trace.states, recording, trace.outcome.episode))
    found = Rollout(environment=ENVIRONMENT, policy=policy.name, episodes=tuple(outcomes))
    return Figures(
        conversion=name,
        between=between,
        num_successes=found.num_successes,
        num_episodes=len(outcomes),
        held=held,
        error_rad=float(np.mean([error.mean() for error in errors])),
        worst_error_rad=float(max(error.max() for error in errors)),
    )


def _tracking_errors(states: NDArray[np.float64], recording: Path, episode: int) -> NDArray[np.float64]:
    """Distance of each joint in rad from the recording's at each control step, (T, 12); grippers have no unit."""
    table = pq.read_table(recording / f"data/chunk-000/episode_{episode:06d}.parquet", columns=["observation.state"])
    recorded = np.stack(table["observation.state"].to_numpy())
    is_angle = [not joint.endswith("gripper") for joint in load_robot(ROBOT).layout("state").joints]
    num_steps = min(len(states), len(recorded))
    return np.abs(states[:num_steps] - recorded[:num_steps])[:, is_angle]


def _table(found: list[Figures]) -> Table:
    table = Table("converted", "between targets", "success", "95 %", "held at the end", "error, rad", "worst, rad")
    for one in found:
        low, high = wilson_interval(one.num_successes, one.num_episodes)
        table.add_row(
            one.conversion,
            one.between,
            f"{one.num_successes} of {one.num_episodes}",
            f"{low:.0%} to {high:.0%}",
            str(one.held),
            f"{one.error_rad:.4f}",
            f"{one.worst_error_rad:.3f}",
        )
    return table


if __name__ == "__main__":
    main()
