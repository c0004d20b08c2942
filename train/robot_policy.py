"""A model's policy in a robot's own joints, units, cameras and rate."""

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import InverseMap, MillraceError, Remedy, compile_map
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.fps import format_fps
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.live import LiveFramer, frame_all
from millrace.train.control_notes import RobotControl
from millrace.train.control_rate import Between, blend_chunks, count_ticks, resample_chunk
from millrace.train.errors import ConfigError, RequestError, SettingsError
from millrace.train.robot_request import LANGUAGE, RobotObservation, read_executed, read_observation

MAX_CLIENTS = 64  # whose last chunk is kept

Chunk = NDArray[np.float32]


class Model(Protocol):
    """What acts in the joints of the dataset, as GR00T's policies do."""

    def get_action(self, observation: dict[str, Any]) -> tuple[Mapping[str, Chunk], Any]:
        """Action chunks (B, H, D) by joint group of the dataset's robot."""

    def reset(self) -> Any:
        """Forget what was observed."""


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """How a robot is driven.

    control_hz: its controller's rate; None: that of its recordings. between: what targets do between two steps of the
    model. chunk_overlap: seconds of each chunk that are not given out, in which the next chunk goes over from the one
    before.
    """

    control_hz: Fraction | None = None
    between: Between = "interpolate"
    chunk_overlap: float = 0.0


class RobotPolicy:
    """A robot's observations in, its joint targets out.

    Args:
        model: Acts in the dataset's joints.
        config: The model's modality config.
        robot: How the robot's recordings became the dataset.
        settings: How the robot is driven.

    Raises:
        ConfigError: the model needs a camera or a joint group that the map does not give.
        SettingsError: the overlap leaves nothing of a chunk.
    """

    def __init__(
        self, model: Model, config: GrootConfig, robot: RobotControl, settings: ControlSettings = ControlSettings()
    ) -> None:
        self._model, self._config, self.settings = model, config, settings
        self.control, self.source = robot.control, robot.source
        self.robot = self.source.robot
        self._map = compile_map(self.source.map)
        self._target = self._map.target
        self._framers = {name: self._make_framer(name) for name in config.keys("video")}
        self.cameras = tuple(dict.fromkeys(self.source.cameras[name] for name in self._framers))
        for part in ("state", "action"):
            self._check_groups(part)
        self.inverse = self._restricted_inverse()
        self.control_hz = settings.control_hz or self.source.fps
        self._horizon = self._count_steps()
        self._num_ticks = count_ticks(self._horizon, fps=self.control.fps, control_hz=self.control_hz)
        self._overlap = self._count_overlap(settings.chunk_overlap)
        self._chunks: OrderedDict[Hashable, Chunk] = OrderedDict()  # the last of each client, as a whole

    @property
    def lines(self) -> tuple[str, ...]:
        """What is served, in words: names, rates, and the joints that the model cannot move."""
        taken = f"cameras {', '.join(self.cameras)}; state {', '.join(self.robot.groups_of('state'))}"
        between = {"interpolate": "interpolated", "hold": "held"}[self.settings.between]
        lost = [f"{joint.joint} {joint.rest:g}" for joint in self.inverse.joints("action") if not joint.carriers]
        return (
            f"{self.robot.name}, by map {self._map.name!r}: {taken}",
            f"actions: {self.num_ticks} at {format_fps(self.control_hz)} Hz of {self._horizon} at "
            f"{format_fps(self.control.fps)} Hz, {between} between, {self._overlap} kept back for the next chunk",
            *((f"joints that the model does not move, given at rest: {', '.join(lost)}",) if lost else ()),
        )

    @property
    def num_ticks(self) -> int:
        """Actions of each chunk that is given out."""
        return self._num_ticks - self._overlap

    def get_action(
        self, observation: object, options: object = None, *, client: Hashable = None
    ) -> tuple[dict[str, Chunk], dict[str, Any]]:
        """The next actions of the robot.

        Args:
            observation: As GR00T's policies take it, in the robot's names: `video` by camera, (B, T, H, W, 3) uint8 of
                any size; `state` by joint group, (B, T, D) in its unit; `language` with one key, a list of texts each.
            options: `num_executed`, the actions of the client's chunk before that were due when this was observed; by
                default all that were given. Others are ignored, as by GR00T's policies.
            client: Whose chunk before is blended into this one.

        Returns:
            Joint targets by group, (B, num_ticks, D) float32 in the robot's units, and facts of the chunk.

        Raises:
            RequestError: the observation is not of this robot, or the model gives no numbers.
        """
        seen, num_executed = read_observation(observation, self.robot, self.cameras), read_executed(options)
        actions, _ = self._model.get_action(self._observe(seen))
        chunk = resample_chunk(
            self._read_back(actions),
            fps=self.control.fps,
            control_hz=self.control_hz,
            kinds=self.robot.layout("action").action_kinds,
            between=self.settings.between,
        )
        chunk = self._blend(chunk, client, self.num_ticks if num_executed is None else num_executed)
        slices = self.robot.layout("action").slices
        given = {group: chunk[:, : self.num_ticks, place] for group, place in slices.items()}
        return given, {"control_hz": float(self.control_hz)}

    def reset(self, options: object = None, *, client: Hashable = None) -> dict[str, Any]:
        """Forget a client's last chunk, and what the model remembers: an episode begins."""
        self._chunks.pop(client, None)
        self._model.reset()
        return {}

    def describe(self) -> dict[str, tuple[Sequence[int], tuple[str, ...]]]:
        """By modality, the steps and the names of what is taken and given, as GR00T's modality config has them."""
        deltas = {part: self._config.modalities[part].delta_indices for part in ("video", "state", "language")}
        return {
            "video": (deltas["video"], self.cameras),
            "state": (deltas["state"], self.robot.groups_of("state")),
            "action": (range(self.num_ticks), self.robot.groups_of("action")),
            "language": (deltas["language"], (LANGUAGE,)),
        }

    def _count_overlap(self, seconds: float) -> int:
        num_ticks = round(seconds * float(self.control_hz)) if math.isfinite(seconds) else -1
        if not 0 <= num_ticks < self._num_ticks:
            whole = float(self._horizon / self.control.fps)
            problem = f"an overlap of {seconds:g} s with the next chunk: a chunk lasts {whole:g} s. "
            raise SettingsError(problem, Remedy("Give less than that"), got=seconds)
        return num_ticks

    def _count_steps(self) -> int:
        deltas = self._config.modalities["action"].delta_indices
        if deltas != tuple(range(len(deltas))):
            raise ConfigError(f"the model's chunks must hold each step from now on, got steps {[*deltas]}")
        return len(deltas)

    def _make_framer(self, name: str) -> LiveFramer:
        if name not in self.source.cameras or name not in self.control.sizes:
            raise ConfigError(f"the model sees a camera {name!r}, which no camera of {self.robot.name!r} gives")
        found = self.source.earlier.get(name)
        earlier = None if found is None else (found.crop, FrameSize(*found.size))
        return LiveFramer(crop=self.control.crop, size=FrameSize(*self.control.sizes[name]), earlier=earlier)

    def _check_groups(self, part: str) -> None:
        known = self._target.groups_of("state" if part == "state" else "action")
        if strange := [name for name in self._config.keys(part) if name not in known]:
            raise ConfigError(f"the model's {part} has {', '.join(strange)}, which {self._target.name!r} lacks")

    def _restricted_inverse(self) -> InverseMap:
        """The inverse of the map, of the groups that the model acts."""
        slices = self._target.layout("action").slices
        places = [slices[group] for group in self._config.keys("action")]
        columns = [column for place in places for column in range(place.start, place.stop)]
        inverse = self.source.map.inverse
        return replace(inverse, action=inverse.action.restrict(columns))

    def _observe(self, seen: RobotObservation) -> dict[str, Any]:
        """What the robot observes, as the model takes it."""
        shape = seen.state.shape[:2]
        state = self._map.state(seen.state.reshape(-1, seen.state.shape[-1])).reshape(*shape, -1)
        slices = self._target.layout("state").slices
        try:
            video = {
                name: frame_all(framer, seen.images[self.source.cameras[name]])
                for name, framer in self._framers.items()
            }
        except MillraceError as error:  # a frame that cannot become one of the dataset's
            raise RequestError(error) from error
        language, *_ = self._config.keys("language")
        return {
            "video": video,
            "state": {group: state[..., slices[group]] for group in self._config.keys("state")},
            "language": {language: [[text] for text in seen.texts]},
        }

    def _read_back(self, actions: Mapping[str, Chunk]) -> Chunk:
        """The model's action chunks as the robot's, (B, H, D), at the model's rate."""
        layout = self._target.layout("action")
        first = np.asarray(actions[self._config.keys("action")[0]])
        batch, steps = first.shape[:2]
        vector = np.tile(layout.rest, (batch, steps, 1))
        for group in self._config.keys("action"):
            vector[..., layout.slices[group]] = actions[group]
        given = self.inverse.action(vector.reshape(batch * steps, -1))
        if broken := np.flatnonzero(~np.isfinite(given).all(axis=0)).tolist():
            joints = self.robot.layout("action").joints
            raise RequestError(f"the model gives no number for {', '.join(joints[column] for column in broken)}")
        return given.reshape(batch, steps, -1)

    def _blend(self, chunk: Chunk, client: Hashable, num_executed: int) -> Chunk:
        """The chunk, which goes over from what was due next of the client's chunk before."""
        if not self._overlap:
            return chunk
        before = self._chunks.pop(client, None)
        due = None if before is None else before[:, num_executed : num_executed + self._overlap]
        self._chunks[client] = blended = blend_chunks(chunk, due)
        while len(self._chunks) > MAX_CLIENTS:
            self._chunks.popitem(last=False)
        return blended
