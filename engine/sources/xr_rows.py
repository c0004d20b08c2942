"""The rows of a recording: parts of the robot in its JSON as vectors of joints with names."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.layout import ACTION, STATE
from millrace.engine.sources.episode import MAX_FRAMES
from millrace.engine.sources.xr_json import ROWS, CutShort, read_pieces

FRAME_INDEX = "frame_index"
KINDS = {STATE: "states", ACTION: "actions"}
SIDES = ("left", "right")
# Each part, and what writers before left_ee and right_ee called it.
PARTS = {
    "left_arm": ("left_arm",),
    "right_arm": ("right_arm",),
    "left_ee": ("left_ee", "left_hand"),
    "right_ee": ("right_ee", "right_hand"),
    "body": ("body",),
}
BODY = "body"
# Names: xr_teleoperate, teleop/robot_control/robot_arm.py and robot_hand_unitree.py; order of the arms: as their files
# in `embodiments/robots/`. Robots with fewer joints an arm lack the last ones.
ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
ARM_WIDTHS = (4, 5, 7)
# The left Dex3 hand lists its middle finger before its index finger, the right one the other way round.
THUMB, INDEX, MIDDLE = ("thumb_0", "thumb_1", "thumb_2"), ("index_0", "index_1"), ("middle_0", "middle_1")
DEX3 = {"left": (*THUMB, *MIDDLE, *INDEX), "right": (*THUMB, *INDEX, *MIDDLE)}
# Legs and waist of a G1, then its arms: unitree_sdk2, G1JointIndex.
LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
LOWER_BODY = (*(f"{side}_{joint}" for side in SIDES for joint in LEG), "waist_yaw", "waist_roll", "waist_pitch")
# Motors of the body: those of a G1, or all that its messages have room for.
BODY_WIDTHS = (29, 35)
# Commands to the base, in m/s and rad/s: xr_teleoperate, teleop/teleop_hand_and_arm.py.
BASE_VELOCITY = ("base_velocity_x", "base_velocity_y", "base_velocity_yaw")
# How far arms move between the two times that a row reads them, rad.
MAX_ARM_GAP = 0.2


@dataclass(frozen=True)
class RecordedPart:
    """A part of the robot in every row. width: of its list of positions, of which the first are `names`."""

    part: str
    width: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class RecordedVectors:
    """How rows make state and action; opens the rows of an episode."""

    state: tuple[RecordedPart, ...]
    action: tuple[RecordedPart, ...]

    @property
    def parts(self) -> dict[str, tuple[RecordedPart, ...]]:
        """The parts of each vector."""
        return {STATE: self.state, ACTION: self.action}

    def names(self, vector: str) -> tuple[str, ...]:
        """The joints of a vector, in order."""
        return tuple(name for part in self.parts[vector] for name in part.names)

    def drop_body(self) -> "RecordedVectors":
        """Arms and hands only."""
        kept = (tuple(part for part in parts if part.part != BODY) for parts in (self.state, self.action))
        return RecordedVectors(*kept)

    def __call__(self, path: Path) -> "RecordedRows":
        """Open an episode."""
        return RecordedRows(path, self)


def read_vectors_of(row: Mapping[str, object]) -> RecordedVectors:
    """The vectors that a row holds, told by the widths of its parts: names in the file do not follow the hand."""
    return RecordedVectors(*(tuple(_read_parts(row, kind)) for kind in KINDS.values()))


def _read_parts(row: Mapping[str, object], kind: str) -> Iterator[RecordedPart]:
    for part in PARTS:
        values = find_positions(row, kind, part)
        if values:
            yield RecordedPart(part, len(values), _name_joints(row, kind, part, len(values)))


def _name_joints(row: Mapping[str, object], kind: str, part: str, width: int) -> tuple[str, ...]:
    side, _, what = part.partition("_")
    if what == "arm" and width in ARM_WIDTHS:
        return tuple(f"{side}_{joint}" for joint in ARM[:width])
    if what == "ee" and width == 1:
        return (f"{side}_gripper",)
    if what == "ee" and width == len(DEX3[side]):
        return tuple(f"{side}_hand_{joint}" for joint in DEX3[side])
    if part == BODY and width == len(BASE_VELOCITY) and kind == KINDS[ACTION]:
        return BASE_VELOCITY
    if part == BODY and width in BODY_WIDTHS and _is_of_g1(row, kind):
        return LOWER_BODY
    return tuple(f"{side}_hand_{place}" if what == "ee" else f"{part}_{place}" for place in range(width))


def _is_of_g1(row: Mapping[str, object], kind: str) -> bool:
    """Whether the arms stand where a G1's body has them."""
    body = find_positions(row, kind, BODY)
    arms = [*find_positions(row, kind, "left_arm"), *find_positions(row, kind, "right_arm")]
    there = body[len(LOWER_BODY) : len(LOWER_BODY) + len(arms)]
    pairs = list(zip(there, arms, strict=False))
    numbers = all(isinstance(value, (int, float)) for pair in pairs for value in pair)
    return len(arms) == 2 * len(ARM) and numbers and all(abs(one - other) <= MAX_ARM_GAP for one, other in pairs)


def find_positions(row: Mapping[str, object], kind: str, part: str) -> list[float]:
    """A part's positions in a row; empty where it has none.

    Returns:
        Values as the file has them, not checked to be numbers.
    """
    parts = row.get(kind)
    if not isinstance(parts, dict):
        return []
    found = (parts.get(name) for name in PARTS[part])
    positions = (one.get("qpos") if isinstance(one, dict) else one for one in found)
    for values in positions:
        if isinstance(values, list) and values:
            return values
        if isinstance(values, (int, float)):
            return [values]
    return []


class RecordedRows:
    """The rows of one episode, as numbers in memory; rows after its last whole one are not there.

    Raises:
        RowsError: a part has another width than in the first row, holds no numbers, or rows are missing between.
        Malformed, TooLarge, OSError: see `read_pieces`.
    """

    def __init__(self, path: Path, vectors: RecordedVectors) -> None:
        self._path, self._parts = path, vectors.parts
        self._values = {vector: array("d") for vector in self._parts}
        self._index = array("q")
        try:
            for key, row in read_pieces(path):
                if key == ROWS:
                    self._add(row)
        except CutShort:
            pass  # the episode says so, where that was not known when it was planned its length does
        self.names = [*self._parts, FRAME_INDEX]
        self.num_rows = len(self._index)

    def close(self) -> None:
        """Nothing is open."""

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        """Those columns of rows [start, stop)."""
        return pa.table([self._column(name, start, stop) for name in columns], names=list(columns))

    def _column(self, name: str, start: int, stop: int) -> pa.Array:
        if name == FRAME_INDEX:
            return _to_arrow(np.frombuffer(self._index, np.int64)[start:stop], pa.int64())
        width = sum(len(part.names) for part in self._parts[name])
        flat = np.frombuffer(self._values[name], np.float64)[start * width : stop * width]
        return pa.FixedSizeListArray.from_arrays(_to_arrow(flat, pa.float64()), width)

    def _add(self, row: object) -> None:
        number = len(self._index)
        where = f"row {number} of {self._path}"
        if number >= MAX_FRAMES:
            message = f"{self._path} has more than {MAX_FRAMES} rows"
            raise RowsError(message, code=FaultCode.TOO_LARGE, file=self._path, expected=MAX_FRAMES)
        index = read_index(row)
        if index is None or not isinstance(row, dict):
            raise RowsError(f"{where} has no idx", code=FaultCode.ROW_ORDER, file=self._path)
        if number and index != self._index[-1] + 1:
            raise RowsError(_describe_gap(self._index[-1], index, where), code=FaultCode.ROW_ORDER, file=self._path)
        self._index.append(index)
        for vector, parts in self._parts.items():
            taken = chain.from_iterable(self._take(row, KINDS[vector], part, where) for part in parts)
            try:
                self._values[vector].extend(taken)
            except (TypeError, OverflowError) as error:
                message = f"{where}: {KINDS[vector]} hold what is no number ({error})"
                raise RowsError(message, code=FaultCode.NOT_NUMBERS, file=self._path) from error

    def _take(self, row: Mapping[str, object], kind: str, part: RecordedPart, where: str) -> list[float]:
        values = find_positions(row, kind, part.part)
        if len(values) != part.width:
            message = f"{where}: {kind}.{part.part} has {len(values)} values, expected {part.width}"
            raise RowsError(message, code=FaultCode.WIDTH, file=self._path, got=len(values), expected=part.width)
        return values[: len(part.names)]


def read_index(row: object) -> int | None:
    """A row's number; None where it has none."""
    index = row.get("idx") if isinstance(row, dict) else None
    is_number = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < 1 << 62
    return index if is_number else None


def _describe_gap(before: int, after: int, where: str) -> str:
    missing = after - before - 1
    what = f"{missing} row{'s are' if missing > 1 else ' is'} missing" if missing > 0 else "the rows are not in order"
    return f"idx goes from {before} to {after} in {where}: {what}"


def _to_arrow(values: NDArray[np.float64] | NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """Without pandas, which pa.array imports."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
