"""Group neighbouring joints by the dataset's own modality.json, else by their names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from millrace.embodiments import VECTORS, MillraceError, Vector
from millrace.embodiments.robot import ActionKind
from millrace.engine.dataset.metadata import JointSlice, ModalityFile
from millrace.engine.drafting.joints import JointColumn
from millrace.engine.planning.vector_columns import PartColumn, group_name
from millrace.engine.sources import SourceDataset, check_own_path
from millrace.engine.sources.lerobot_metadata import read_source_json

HAND = {"gripper", "hand", "finger", "thumb", "index", "middle", "ring", "pinky", "little"}
LEG = {"hip", "knee", "ankle"}
ARM = {"shoulder", "elbow", "forearm", "wrist"}
SPEED = {"vel", "velocity", "velocities", "rate"}
STEP = {"delta", "relative"}
# A pose of the hand in space rather than joints.
POSE = re.compile(
    r"[xyz]|r[wxyz]|q[wxyz]|roll|pitch|yaw|axis_?angle_?\d|(d|delta_)?(x|y|z|roll|pitch|yaw)", re.IGNORECASE
)

Slices = Mapping[str, tuple[int, int]]  # by group, [start, end) in a column


@dataclass(frozen=True)
class OwnModality:
    """What a dataset's own modality.json says: groups by column, cameras by feature; problems: what is not used."""

    slices: Mapping[tuple[Vector, str], Slices] = field(default_factory=dict)
    cameras: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_modality(dataset: SourceDataset, vectors: Mapping[Vector, tuple[PartColumn, ...]]) -> OwnModality:
    """Read the dataset's own meta/modality.json, as far as it fits the columns."""
    path = dataset.root / "meta" / "modality.json"
    if not path.is_file():
        return OwnModality()
    try:
        modality = read_source_json(check_own_path(path, dataset.root), ModalityFile)
    except MillraceError as error:
        return OwnModality(problems=(f"its groups are not taken: {error}",))
    slices: dict[tuple[Vector, str], Slices] = {}
    problems: list[str] = []
    for vector in VECTORS:
        for column in vectors[vector]:
            found = _slices(modality.groups[vector], vector, column)
            if problem := _slices_problem(found, column):
                problems.append(f"the {vector} groups of {path} are not taken: {problem}")
            elif found:
                slices[vector, column.name] = found
    cameras = {feature: name for name, feature in modality.cameras.items()}
    return OwnModality(slices, cameras, tuple(problems))


def _slices(groups: Mapping[str, JointSlice], vector: Vector, column: PartColumn) -> Slices:
    """The groups that lie in a column; those that name none lie in LeRobot's own."""
    found = {
        group_name(name): (part.start, part.end) for name, part in groups.items() if part.column(vector) == column.name
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _slices_problem(slices: Slices, column: PartColumn) -> str | None:
    end = 0
    for name, (start, stop) in slices.items():
        if not 0 <= start < stop <= column.feature.num_values:
            return f"'{name}' is [{start}, {stop}) of '{column.name}', which has {column.feature.num_values} values"
        if start < end:
            return f"'{name}' overlaps another group of '{column.name}'"
        end = stop
    return None


def group_joints(column: JointColumn, slices: Slices) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A label and the joints of each run of neighbours that belong together."""
    of_place = {place: name for name, (start, end) in slices.items() for place in range(start, end)}
    labels = [
        of_place.get(place) or _guess_limb(joint, column.part)
        for place, joint in zip(column.places, column.joints, strict=True)
    ]
    for label, run in groupby(zip(labels, column.joints, strict=True), lambda pair: pair[0]):
        yield label, tuple(joint for _, joint in run)


def guess_action_kind(joints: Iterable[str], part: str) -> ActionKind:
    """Guess from the names of a group's joints or of its column what its actions are.

    Args:
        joints: The group's.
        part: The part of the robot that its column's name tells.
    """
    words = [_words(joint) | _words(part) for joint in joints]
    if all(found & SPEED for found in words):
        return "velocity"
    return "delta" if all(found & STEP for found in words) else "target"


def _guess_limb(joint: str, part: str) -> str:
    """The limb that a joint's name tells: left_elbow and kLeftElbow are of the left arm."""
    words, of_part = _words(joint), _words(part)
    side = next((f"{side}_" for side in ("left", "right") if side in words), "")
    side = side or next((f"{side}_" for side in ("left", "right") if side in of_part), "")
    if words & SPEED:
        return f"{side}velocity"
    if words & HAND:
        return f"{side}hand"
    if words & LEG:
        return f"{side}leg"
    if part:
        return part
    if POSE.fullmatch(joint):
        return "eef"
    return f"{side}arm" if side or words & ARM else "body"


def _words(name: str) -> set[str]:
    return {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
