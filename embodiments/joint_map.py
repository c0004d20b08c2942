"""Compiled maps: one gather with scale and offset for a whole episode."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments.robot import VECTORS, Robot, Vector


@dataclass(frozen=True, eq=False)
class JointMap:
    """target = rest; target[:, driven] = source[:, gather] * scale + offset.

    Not a matrix product: 0 * NaN would spread one bad joint over the row.

    Args:
        gather: Source column of each driven joint, shape (K,) int64.
        driven: Target column of each driven joint, shape (K,) int64, none twice.
        scale: Shape (K,) float64, target unit per source unit.
        offset: Shape (K,) float64, target unit.
        limits: [low, high] that each driven joint's source is expected in, shape (K, 2) float64, source
            unit; infinite where nothing is known.
        rest: Target values of the joints that nothing drives, shape (D',).
    """

    gather: NDArray[np.int64]
    driven: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    limits: NDArray[np.float64]
    rest: NDArray[np.float32]

    def __post_init__(self) -> None:
        shapes = ", ".join(f"{field.name} {getattr(self, field.name).shape}" for field in fields(self))
        per_joint = {self.gather.shape, self.driven.shape, self.scale.shape, self.offset.shape, self.limits.shape[:1]}
        if self.driven.ndim != 1 or self.rest.ndim != 1 or len(per_joint) > 1:
            raise ValueError(f"gather, driven, scale and offset must be (K,), limits (K, 2), rest (D',), got {shapes}")
        columns = set(self.driven.tolist())
        if len(columns) < len(self.driven) or not columns <= set(range(len(self.rest))):
            raise ValueError(f"driven must be distinct columns of [0, {len(self.rest)}), got {self.driven}")
        if self.gather.min(initial=0) < 0:
            raise ValueError(f"gather must be columns from 0, got {self.gather}")

    def __call__(self, source: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a source vector per frame, shape (T, D), to target vectors, shape (T, D')."""
        needed = self.gather.max(initial=-1) + 1
        if source.ndim != 2 or source.shape[1] < needed:
            raise ValueError(f"source must be (T, D) with D at least {needed}, got {source.shape}")
        target = np.tile(self.rest, (len(source), 1))
        target[:, self.driven] = source[:, self.gather]
        # Joints that are merely moved stay bit-exact: -0.0 * 1 + 0 would be +0.0.
        scaled = (self.scale != 1) | (self.offset != 0)
        values = source[:, self.gather[scaled]] * self.scale[scaled] + self.offset[scaled]
        target[:, self.driven[scaled]] = values
        return target

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JointMap):
            return NotImplemented
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))


@dataclass(frozen=True)
class CompiledMap:
    """A map, ready to apply.

    Args:
        state: From the source's state, in the source robot's order.
        action: From the source's action and, beside it, the target's state, which `hold` repeats.
        cameras: The source's camera for each camera of the target.
        trained_state: Groups of the target whose state the policy sees, in the target's order.
        trained_action: Groups of the target whose action the policy learns, in the target's order.
        unused: Groups of the source that drive nothing.
        crop: How frames come to their size unless a recipe says otherwise; None: the map does not say.
        text: The map that was compiled, as JSON; see `parse_map`.
    """

    name: str
    source: Robot
    target: Robot
    state: JointMap
    action: JointMap
    cameras: Mapping[str, str]
    trained_state: tuple[str, ...]
    trained_action: tuple[str, ...]
    unused: tuple[str, ...]
    crop: Literal["center", "pad", "none"] | None = None
    text: str = field(default="", compare=False, repr=False)

    @property
    def trained(self) -> tuple[str, ...]:
        """Groups that the policy sees or learns, in the target's order; none that merely rests."""
        return tuple(dict.fromkeys((*self.trained_state, *self.trained_action)))

    @property
    def at_rest(self) -> Mapping[Vector, frozenset[str]]:
        """Joints of the target by vector that nothing drives; an action that holds such a state rests with it."""
        moving = set(self.state.driven.tolist())
        width = self.source.layout("action").width
        pairs = zip(self.action.gather.tolist(), self.action.driven.tolist(), strict=True)
        driven = {
            "state": moving,
            "action": {column for theirs, column in pairs if theirs < width or theirs - width in moving},
        }
        return {
            vector: frozenset(
                joint for column, joint in enumerate(self.target.layout(vector).joints) if column not in driven[vector]
            )
            for vector in VECTORS
        }

    @property
    def digest(self) -> str:
        """A digest of everything that decides mapped values and their names; equal for maps that do the same."""
        vectors = (self.state, self.action)
        arrays = [getattr(vector, field.name).tolist() for vector in vectors for field in fields(vector)]
        facts = [arrays, self.trained, dict(self.cameras), self.source.model_dump_json(), self.target.model_dump_json()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def apply(
        self, state: NDArray[np.floating], action: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map an episode.

        Args:
            state: Shape (T, D), in the source robot's order and units.
            action: Shape (T, D2), likewise.

        Returns:
            State (T, D') and action (T, D2') in the target robot's order and units.
        """
        num_frames = len(state)
        expected = [(num_frames, self.source.layout(vector).width) for vector in VECTORS]
        if [state.shape, action.shape] != expected:
            raise ValueError(
                f"state and action of {self.source.name!r} must be {expected}, got {[state.shape, action.shape]}"
            )
        mapped = self.state(state)
        return mapped, self.action(np.concatenate([action, mapped], axis=1))
