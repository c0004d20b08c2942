"""Inverse maps: a source robot's joints, read back from the joints of the target robot that carry them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments.errors import check_name
from millrace.embodiments.joint_map import CompiledMap, JointMap
from millrace.embodiments.robot import VECTORS, Robot, Vector

ReadBack = Literal["copy", "rescale", "mean", "rest"]


class Carrier(NamedTuple):
    """A joint of the target that is source * scale + offset; scale is never 0."""

    joint: str
    scale: float
    offset: float


@dataclass(frozen=True)
class InverseJoint:
    """How one joint of the source is read back; without carriers it stays at rest, in the source's unit."""

    joint: str
    carriers: tuple[Carrier, ...]
    rest: float

    @property
    def how(self) -> ReadBack:
        """copy: as it is; rescale: undone; mean: of several, each undone; rest: nothing carries it."""
        if not self.carriers:
            return "rest"
        if len(self.carriers) > 1:
            return "mean"
        (only,) = self.carriers
        return "copy" if (only.scale, only.offset) == (1, 0) else "rescale"


@dataclass(frozen=True, eq=False)
class InverseJointMap:
    """source = rest; source[:, owner] = mean of (target[:, carriers] - offset) / scale over the carriers of an owner.

    Args:
        carriers: Target column of each carrier, shape (K,) int64.
        owners: Source column that each gives back, shape (K,) int64, rising.
        scale: Shape (K,) float64, target unit per source unit, never 0.
        offset: Shape (K,) float64, target unit.
        rest: Source values of joints that nothing carries, shape (D,).
    """

    carriers: NDArray[np.int64]
    owners: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    rest: NDArray[np.float32]

    def __post_init__(self) -> None:
        shapes = {self.carriers.shape, self.owners.shape, self.scale.shape, self.offset.shape}
        if len(shapes) > 1 or self.carriers.ndim != 1:
            found = ", ".join(f"{field.name} {getattr(self, field.name).shape}" for field in fields(self))
            raise ValueError(f"carriers, owners, scale and offset must be (K,), got {found}")
        if np.any(np.diff(self.owners) < 0) or not np.all(self.scale):
            raise ValueError("owners must rise, and no scale may be 0")

    def __call__(self, target: NDArray[np.floating]) -> NDArray[np.float32]:
        """Read source vectors, shape (T, D), back from target vectors, shape (T, D'); NaN stays with its joint."""
        needed = self.carriers.max(initial=-1) + 1
        if target.ndim != 2 or target.shape[1] < needed:
            raise ValueError(f"target must be (T, D') with D' at least {needed}, got {target.shape}")
        source = np.tile(self.rest, (len(target), 1))
        if len(self.carriers):
            owners, starts, counts = np.unique(self.owners, return_index=True, return_counts=True)
            # In float64: six float32 copies of a value have exactly that mean.
            values = (target[:, self.carriers].astype(np.float64) - self.offset) / self.scale
            source[:, owners] = np.add.reduceat(values, starts, axis=1) / counts
        return source

    def restrict(self, columns: Iterable[int]) -> "InverseJointMap":
        """The same from some columns of the target alone; a joint that only others carry rests."""
        kept = np.isin(self.carriers, np.fromiter(columns, dtype=np.int64))
        return InverseJointMap(self.carriers[kept], self.owners[kept], self.scale[kept], self.offset[kept], self.rest)


@dataclass(frozen=True)
class InverseMap:
    """From the target robot back to the source robot.

    Args:
        source: The robot that is read back; the map's own source.
        target: The robot whose vectors are read.
        state: From the target's state, in its order, to the source's.
        action: Likewise; a joint of the target that only holds its state carries no action.
    """

    name: str
    source: Robot
    target: Robot
    state: InverseJointMap
    action: InverseJointMap

    def joints(self, vector: Vector) -> tuple[InverseJoint, ...]:
        """How each joint of the source is read back, in the order of its state or action."""
        found, layout = self._of(vector), self.source.layout(vector)
        names = self.target.layout(vector).joints
        carriers: dict[int, list[Carrier]] = {}
        wires = zip(found.owners.tolist(), found.carriers.tolist(), found.scale, found.offset, strict=True)
        for owner, column, scale, offset in wires:
            carriers.setdefault(owner, []).append(Carrier(names[column], float(scale), float(offset)))
        return tuple(
            InverseJoint(joint, tuple(carriers.get(column, ())), rest)
            for column, (joint, rest) in enumerate(zip(layout.joints, layout.rest.tolist(), strict=True))
        )

    @property
    def lost(self) -> Mapping[Vector, tuple[str, ...]]:
        """Joints of the source, by vector, that nothing of the target carries: they are given back at rest."""
        return {vector: tuple(joint.joint for joint in self.joints(vector) if not joint.carriers) for vector in VECTORS}

    @property
    def losses(self) -> tuple[str, ...]:
        """What it cannot give back, in words: a line for the state, the action or both; none where it loses nothing."""
        return tuple(self._describe_losses())

    def _describe_losses(self) -> Iterator[str]:
        lost = self.lost
        same = set(lost["state"]) == set(lost["action"])
        parts: Sequence[tuple[str, Vector]] = [("state and action", "action")] if same else [(v, v) for v in VECTORS]
        for name, vector in parts:
            rest = [f"{joint.joint} {joint.rest:g}" for joint in self.joints(vector) if not joint.carriers]
            if rest:
                yield (
                    f"map {self.name!r} loses joints of the {name} of {self.source.name!r}, which come back at rest: "
                    f"{', '.join(rest)}"
                )

    def _of(self, vector: Vector) -> InverseJointMap:
        return self.state if vector == "state" else self.action


def invert_map(compiled: CompiledMap, read_back: Mapping[str, Sequence[str]] | None = None) -> InverseMap:
    """The inverse of a map.

    Args:
        compiled: The map.
        read_back: Joints of the target that give a joint of the source back, where not all that carry it shall.

    Raises:
        WrongField: read_back names joints that do not exist, or do not carry that joint.
    """
    named = dict(read_back or {})
    for joint in named:
        known = [name for vector in VECTORS for name in compiled.source.layout(vector).joints]
        check_name(joint, f"joint of {compiled.source.name!r}", dict.fromkeys(known), key=("read_back", joint))
    state, action = (_invert(compiled, vector, named) for vector in VECTORS)
    return InverseMap(compiled.name, compiled.source, compiled.target, state, action)


def _invert(compiled: CompiledMap, vector: Vector, read_back: Mapping[str, Sequence[str]]) -> InverseJointMap:
    forward: JointMap = compiled.state if vector == "state" else compiled.action
    layout = compiled.source.layout(vector)
    # Beyond the action's own columns lie those of the observed state, which `hold` repeats.
    carries = (forward.gather < layout.width) & (forward.scale != 0)
    chosen = carries & _is_chosen(compiled, vector, forward, carries, read_back)
    order = np.flatnonzero(chosen)
    order = order[np.argsort(forward.gather[order], kind="stable")]
    return InverseJointMap(
        carriers=forward.driven[order],
        owners=forward.gather[order],
        scale=forward.scale[order],
        offset=forward.offset[order],
        rest=layout.rest,
    )


def _is_chosen(
    compiled: CompiledMap,
    vector: Vector,
    forward: JointMap,
    carries: NDArray[np.bool_],
    read_back: Mapping[str, Sequence[str]],
) -> NDArray[np.bool_]:
    """Whether a carrier gives its joint back: all do, but of a joint under `read_back` those that stand there."""
    chosen = np.ones_like(carries)
    theirs, ours = compiled.source.layout(vector).joints, compiled.target.layout(vector).joints
    for joint, names in read_back.items():
        if joint not in theirs:
            continue
        of_joint = carries & (forward.gather == theirs.index(joint))
        known = [ours[column] for column in forward.driven[of_joint].tolist()]
        kind = f"joint of {compiled.target.name!r} that carries the {vector} of {joint!r}"
        for i, name in enumerate(names if known else ()):
            check_name(name, kind, known, key=("read_back", joint, i))
        chosen[of_joint] = [name in names for name in known]
    return chosen
