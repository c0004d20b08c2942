"""A converted dataset in a model's place: it acts what was recorded, and keeps what it was shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conftest import matrix, read_table
from millrace.engine.dataset.modality_config import GrootConfig, read_config
from millrace.train.control_notes import RobotControl, choose_robot, write_control
from millrace.train.framings import NOTES

TAG = "gr1"


@dataclass
class ReplayedModel:
    """Gives the actions of one episode, from its row `at` on, by joint group of the dataset's robot."""

    dataset: Path
    slices: dict[str, slice]
    config: GrootConfig
    at: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    num_resets: int = 0

    def get_action(self, observation: dict[str, Any]) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        self.seen.append(observation)
        rows = matrix(read_table(self.dataset, 0), "action")
        steps = rows[self.at : self.at + (self.config.horizon or 0)]
        return {group: steps[None, :, self.slices[group]] for group in self.config.keys("action")}, {}

    def reset(self) -> None:
        self.num_resets += 1


def replay(dataset: Path, robot: RobotControl, **changes: Any) -> ReplayedModel:
    slices = dict(robot.source.map.target.layout("action").slices)
    return ReplayedModel(dataset, slices, read_config(dataset), **changes)


def control_of(dataset: Path, folder: Path, robot: str = "aloha") -> RobotControl:
    """What a checkpoint in this folder says of the dataset."""
    (folder / NOTES).mkdir(parents=True)
    write_control(folder / NOTES, {dataset: TAG})
    return choose_robot(str(folder), robot)
