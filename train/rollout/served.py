"""A policy that speaks in a robot's own joints: of a `millrace serve --robot`, or of a checkpoint in this process."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, Remedy, Robot, Setting
from millrace.engine.fps import format_fps
from millrace.train.errors import RolloutError
from millrace.train.robot_policy import RobotPolicy
from millrace.train.robot_request import make_observation
from millrace.train.rollout.simulated_robot import Image, Observation, Start, Vector


class ChunkSource(Protocol):
    """What gives chunks of joint targets, as `millrace.client.PolicyClient` does.

    address: how results call it. control_hz: rate of the last chunk, Hz; None where it does not say.
    """

    address: str
    control_hz: float | None

    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Joint groups of its state and action, by these words."""
        ...

    def reset(self) -> None:
        """Begin an episode."""
        ...

    def act(
        self, *, images: Mapping[str, Image], state: Mapping[str, Vector], instruction: str
    ) -> Mapping[str, NDArray[np.float32]]:
        """Joint targets by group, (N, D)."""
        ...


class OwnPolicy:
    """A policy in this process, asked as a client asks a server."""

    def __init__(self, policy: RobotPolicy, address: str) -> None:
        self.address = address
        self.control_hz: float | None = float(policy.control_hz)
        self._policy = policy

    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of its cameras, joint groups and instruction."""
        return {part: names for part, (_, names) in self._policy.describe().items()}

    def reset(self) -> None:
        """Begin an episode."""
        self._policy.reset()

    def act(
        self, *, images: Mapping[str, Image], state: Mapping[str, Vector], instruction: str
    ) -> dict[str, NDArray[np.float32]]:
        """Joint targets by group, (N, D)."""
        observation = make_observation(images=images, state=state, instruction=instruction)
        actions, _ = self._policy.get_action(observation)
        return {group: values[0] for group, values in actions.items()}


class ServedPolicy:
    """Asks for a chunk of joint targets whenever the last one is used up.

    Args:
        source: Speaks in the robot's own joints and cameras, at its control rate.
        robot: That it drives.
        control_fps: Targets a second that the robot takes, Hz.
        instruction: What it shall do.
        first_seed: Of the first episode's start; the next ones follow it.

    Raises:
        RolloutError: the source is of another robot.
    """

    num_episodes = None

    def __init__(
        self, source: ChunkSource, robot: Robot, *, control_fps: Fraction, instruction: str, first_seed: int
    ) -> None:
        self.name = source.address
        self._source, self._control_fps, self._robot = source, control_fps, robot
        self._instruction, self._first_seed = instruction, first_seed
        self._pending: list[Vector] = []
        self._check_names()

    def start(self, episode: int) -> Start:
        """Tell the source that an episode begins."""
        self._source.reset()
        self._pending = []
        return Start(self._first_seed + episode)

    def act(self, observation: Observation, step: int) -> Vector:
        """The next targets of the chunk, or the first of a new one.

        Raises:
            ServerError: the server does not answer in time, or not with actions.
            RolloutError: its actions are of another rate or shape than the robot's.
        """
        if not self._pending:
            slices = self._robot.layout("state").slices
            state = {group: observation.state[place] for group, place in slices.items()}
            chunk = self._source.act(images=observation.images, state=state, instruction=self._instruction)
            self._check_rate()
            self._pending = list(self._join(chunk))
        return self._pending.pop(0)

    def _join(self, chunk: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        slices = self._robot.layout("action").slices
        wanted = {group: place.stop - place.start for group, place in slices.items()}
        found = {group: values.shape for group, values in chunk.items()}
        num_steps = min((shape[0] for shape in found.values() if shape), default=0)
        if not num_steps or found != {group: (num_steps, width) for group, width in wanted.items()}:
            raise RolloutError(f"{self.name} gives actions of {found}, expected (N, D) with D of {wanted}")
        targets = np.empty((num_steps, self._robot.layout("action").width))
        for group, place in slices.items():
            targets[:, place] = chunk[group]
        return targets

    def _check_rate(self) -> None:
        given = self._source.control_hz
        if given is not None and abs(given - float(self._control_fps)) < 1e-3:
            return
        told = "does not say the rate of its actions" if given is None else f"gives actions at {given:g} Hz"
        rate = format_fps(self._control_fps)
        raise RolloutError(
            f"{self.name} {told}, and this environment takes {rate} a second; ",
            Remedy(
                "start it at that rate: ",
                Setting("robot", self._robot.name, call="serve"),
                " ",
                Setting("control_hz", rate, call="serve"),
            ),
            got=given,
            expected=rate,
        )

    def _check_names(self) -> None:
        names = self._source.names()
        for vector in VECTORS:
            groups, found = self._robot.groups_of(vector), names.get(vector, ())
            if set(found) != set(groups):
                raise RolloutError(
                    f"{self.name} has {vector} groups {', '.join(found) or 'none'}, and {self._robot.name!r} has "
                    f"{', '.join(groups)}; ",
                    Remedy("start it in this robot's joints: ", Setting("robot", self._robot.name, call="serve")),
                    got=found,
                    expected=groups,
                )
