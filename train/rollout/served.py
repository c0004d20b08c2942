"""A policy that a server runs, such as `millrace serve CHECKPOINT --robot NAME`."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from millrace.client import PolicyClient
from millrace.embodiments import Remedy, Robot, Setting
from millrace.train.errors import RolloutError
from millrace.train.rollout.simulated_robot import Observation, Start, Vector


class ServedPolicy:
    """Asks a server for a chunk of joint targets whenever the last one is used up.

    Args:
        client: Of a server that speaks in the robot's own joints and cameras, at its control rate.
        robot: The robot.
        instruction: What it shall do.
        first_seed: Of the first episode's start; the next ones follow it.

    Raises:
        RolloutError: the server is of another robot.
    """

    num_episodes = None

    def __init__(self, client: PolicyClient, robot: Robot, *, instruction: str, first_seed: int) -> None:
        self.name = client.address
        self._client, self._instruction, self._first_seed = client, instruction, first_seed
        self._groups = {part: _slices(robot, part) for part in ("state", "action")}
        self._width = robot.layout("action").width
        self._pending: list[Vector] = []
        _check_names(client, robot)

    def start(self, episode: int) -> Start:
        """Tell the server that an episode begins."""
        self._client.reset()
        self._pending = []
        return Start(self._first_seed + episode)

    def act(self, observation: Observation, step: int) -> Vector:
        """The next targets of the chunk, or the first of a new one.

        Raises:
            ServerError: the server does not answer in time, or not with actions.
        """
        if not self._pending:
            state = {group: observation.state[place] for group, place in self._groups["state"].items()}
            chunk = self._client.act(images=observation.images, state=state, instruction=self._instruction)
            self._pending = list(self._join(chunk))
        return self._pending.pop(0)

    def _join(self, chunk: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        num_steps = min(len(values) for values in chunk.values())
        targets = np.empty((num_steps, self._width))
        for group, place in self._groups["action"].items():
            targets[:, place] = chunk[group][:num_steps]
        return targets


def _slices(robot: Robot, part: str) -> Mapping[str, slice]:
    return robot.layout("state" if part == "state" else "action").slices


def _check_names(client: PolicyClient, robot: Robot) -> None:
    names = client.names()
    for part in ("state", "action"):
        groups = robot.groups_of("state" if part == "state" else "action")
        if set(names.get(part, ())) != set(groups):
            raise RolloutError(
                f"the server at {client.address} has {part} groups {', '.join(names.get(part, ())) or 'none'}, and "
                f"{robot.name!r} has {', '.join(groups)}; ",
                Remedy("start it in this robot's joints: ", Setting("robot", robot.name, call="serve")),
                got=names.get(part, ()),
                expected=groups,
            )
