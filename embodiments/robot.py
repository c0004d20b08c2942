"""Robots: named joints in groups, and the layout of their vectors; one YAML file each."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, Strict, model_validator

from millrace.embodiments.errors import RobotError, UnknownName, WrongField, check_name, unknown_name
from millrace.embodiments.matching import normalize_name
from millrace.embodiments.messages import Remedy
from millrace.embodiments.slices import ColumnSlices
from millrace.embodiments.yaml_file import FileModel, Name, Number, Range, Ranges, one_or_more, parse_yaml, read_yaml

ROBOTS = Path(__file__).parent / "robots"

Vector = Literal["state", "action"]
VECTORS: tuple[Vector, Vector] = ("state", "action")
# Other names of the two vectors in LeRobot datasets, from openpi's converters, robomimic's and ALOHA's HDF5.
COMMON_ALIASES = {
    "observation.state": (
        "state",
        "observation/state",
        "observation.qpos",
        "observations.qpos",
        "observations/qpos",
        "qpos",
    ),
    "action": ("actions",),
}
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
NameLists = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(lambda value: _as_lists(value))]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]  # GR00T: "state.left_arm"
Columns = Annotated[dict[str, Names], Field(min_length=1)]
ActionKind = Literal["target", "delta", "velocity"]
RADIANS = ("rad", "radian", "radians")
TWO_TURNS: Range = (-2 * np.pi, 2 * np.pi)  # no joint of these robots turns further
NO_LIMITS: Range = (-np.inf, np.inf)


class JointGroup(FileModel):
    """Joints that a policy treats as one: an arm, a hand.

    Args:
        joints: Names, in the robot's order.
        action_joints: The same in the order of the action, where that is another one.
        unit: Of every joint, e.g. "rad".
        limits: [low, high] of sound data, in unit; one for all, or one each. Values beyond
            them are reported, never clipped. Without it, radians are expected within two turns.
        rest: Value of a joint that nothing drives, in unit; one for all, or one each.
        action: Whether GR00T learns the action itself, or its difference from the state.
        action_kind: What the dataset's action holds, which decides how it is resampled to a lower rate:
            a target is kept with its frame, a delta (a step) is summed, a velocity averaged over the
            frames that one output frame stands for.
    """

    joints: Names
    action_joints: Names | None = None
    unit: Annotated[str, Field(min_length=1)]
    rest: Annotated[tuple[Number, ...], one_or_more(Number)] = (0.0,)
    limits: Ranges | None = None
    action: Literal["absolute", "relative"] = "absolute"
    action_kind: ActionKind = "target"
    description: str = ""

    @model_validator(mode="after")
    def _is_sound(self) -> "JointGroup":
        if double := _first_duplicate(self.joints):
            raise WrongField(("joints",), f"joint {double!r} stands twice in one group.", got=double)
        if len(self.rest) not in (1, len(self.joints)):
            message = f"rest has {len(self.rest)} values for {len(self.joints)} joints."
            raise WrongField(("rest",), message, got=len(self.rest), expected=len(self.joints))
        if self.action_joints is not None:
            self._check_action_joints(self.action_joints)
        if self.action == "relative" and self.action_kind != "target":
            raise WrongField(
                ("action",),
                f"GR00T makes an action relative from a target, not from a {self.action_kind}; ",
                Remedy("drop one."),
                got=self.action_kind,
                expected="target",
            )
        self._check_limits()
        return self

    def _check_limits(self) -> None:
        limits = self.limits or ()
        if len(limits) not in (0, 1, len(self.joints)):
            message = f"limits has {len(limits)} ranges for {len(self.joints)} joints."
            raise WrongField(("limits",), message, got=len(limits), expected=len(self.joints))
        for low, high in limits:
            if not low < high:
                raise WrongField(("limits",), f"limits [{low:g}, {high:g}] must rise.", got=[low, high])

    def _check_action_joints(self, order: tuple[str, ...]) -> None:
        if sorted(order) != sorted(self.joints):
            raise WrongField(
                ("action_joints",),
                f"action_joints must be the joints in another order, got {', '.join(order)}.",
                got=order,
                expected=self.joints,
            )
        if self.action == "relative":
            raise WrongField(("action_joints",), "an action relative to the state has the state's order.")

    def order(self, vector: Vector) -> tuple[str, ...]:
        """The joints in the order of the state or the action."""
        return self.action_joints or self.joints if vector == "action" else self.joints

    @property
    def rest_pose(self) -> dict[str, float]:
        """Rest value by joint, in unit."""
        rest = self.rest if len(self.rest) > 1 else self.rest * len(self.joints)
        return dict(zip(self.joints, rest, strict=True))

    @property
    def joint_limits(self) -> dict[str, Range]:
        """[low, high] by joint, in unit; infinite where nothing is known."""
        default = TWO_TURNS if self.unit.casefold() in RADIANS else NO_LIMITS
        limits = self.limits or (default,)
        return dict(zip(self.joints, limits if len(limits) > 1 else limits * len(self.joints), strict=True))


@dataclass(frozen=True, eq=False)
class Layout:
    """The order of the values in a robot's state or action vector, D of them.

    Args:
        columns: The joints that each dataset column holds; the vector is the columns side by side.
        slices: Where each group lies in the vector, half-open.
        rest: Rest pose, shape (D,), in each group's unit.
        limits: [low, high] of each value, shape (D, 2) float64, likewise; infinite where nothing is known.
        action_kinds: Of an action, what each value is, D of them; of a state, all "target".
    """

    columns: Mapping[str, tuple[str, ...]]
    slices: Mapping[str, slice]
    rest: NDArray[np.float32]
    limits: NDArray[np.float64]
    action_kinds: tuple[ActionKind, ...]

    @cached_property
    def joints(self) -> tuple[str, ...]:
        """Every joint, in the vector's order."""
        return tuple(joint for joints in self.columns.values() for joint in joints)

    @property
    def width(self) -> int:
        """Number of values, D."""
        return len(self.joints)


class Robot(FileModel):
    """An embodiment.

    Args:
        groups: Joint groups by name.
        state: The groups that each source column of the state holds, in order.
        action: The same for the action; it may hold other groups than the state.
        aliases: Other names under which datasets know a joint.
        column_aliases: Other names under which datasets know a source column.
        column_names: By source column, the names that datasets give its values where these do not tell joints apart
            (one name for all, a name twice, labels of groups): a column with exactly these, or with exactly one of
            several lists, is read by position.
        column_slices: By source column, where its groups lie in it, for datasets that name none of its values; without
            it they fill the column.
        by_position: Whether joints without names are in the order of this file.
        robot_types: What info.json's robot_type calls it beside its name; decides between robots of the same joints.
        cameras: Names without "observation.images.". Of a robot file, these and no others are converted.
        camera_aliases: Other names under which datasets know a camera: names of cameras or of whole features.
        horizon: Steps of an action chunk.
        tag: GR00T's embodiment tag for this robot, where GR00T has a modality config of its own for it.
    """

    name: Name
    description: str = ""
    groups: Annotated[dict[GroupName, JointGroup], Field(min_length=1)]
    state: Columns
    action: Columns
    aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    column_aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    column_names: dict[str, NameLists] = Field(default_factory=dict)
    column_slices: dict[str, ColumnSlices] = Field(default_factory=dict)
    by_position: Annotated[bool, Strict()] = True
    robot_types: tuple[str, ...] = ()
    cameras: tuple[Name, ...] = ()
    camera_aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    horizon: Annotated[int, Field(gt=0, strict=True)] = 16
    tag: Name | None = None

    def layout(self, vector: Vector) -> Layout:
        """The layout of the state or the action vector."""
        groups = [self.groups[name] for name in self.groups_of(vector)]
        ends = np.cumsum([len(group.joints) for group in groups]).tolist()
        return Layout(
            columns={
                column: tuple(joint for name in names for joint in self.groups[name].order(vector))
                for column, names in self._columns(vector).items()
            },
            slices={
                name: slice(end - len(group.joints), end)
                for name, group, end in zip(self.groups_of(vector), groups, ends, strict=True)
            },
            rest=np.array([group.rest_pose[joint] for group in groups for joint in group.order(vector)], np.float32),
            limits=np.array(
                [limits for name in self.groups_of(vector) for limits in self._limits(name, vector)], np.float64
            ),
            action_kinds=tuple(
                "target" if vector == "state" else group.action_kind for group in groups for _ in group.joints
            ),
        )

    def _limits(self, name: str, vector: Vector) -> list[Range]:
        """The limits of a group's joints in a vector; limits of a state do not apply to steps and velocities."""
        group = self.groups[name]
        is_rate = vector == "action" and group.action_kind != "target"
        if is_rate and (group.limits is None or name in self.groups_of("state")):
            return [NO_LIMITS] * len(group.joints)
        return [group.joint_limits[joint] for joint in group.order(vector)]

    def is_called(self, robot_type: str | None) -> bool:
        """Whether a dataset's robot_type names this robot."""
        names = {name.casefold() for name in (self.name, *self.robot_types)}
        return robot_type is not None and robot_type.casefold() in names

    def find_column(self, column: str, known: Container[str]) -> str | None:
        """The name among a dataset's columns (known) of one of this robot's source columns; None if it lacks it."""
        names = (column, *self.column_aliases.get(column, ()), *COMMON_ALIASES.get(column, ()))
        return next((name for name in names if name in known), None)

    def find_camera(self, camera: str, known: Container[str]) -> str | None:
        """The name among a dataset's cameras (known) of one of this robot's cameras; None if it lacks it."""
        names = (camera, *self.camera_aliases.get(camera, ()))
        return next((name for name in names if name in known), None)

    def groups_of(self, vector: Vector) -> tuple[str, ...]:
        """Names of the groups in the state or the action vector, in its order."""
        return tuple(name for names in self._columns(vector).values() for name in names)

    def _columns(self, vector: Vector) -> Columns:
        return self.state if vector == "state" else self.action

    @model_validator(mode="after")
    def _is_sound(self) -> "Robot":
        for vector in VECTORS:
            self._check_layout(vector)
        used = {*self.groups_of("state"), *self.groups_of("action")}
        for name, group in self.groups.items():
            if name not in used:
                raise WrongField(("groups", name), f"group {name!r} is in neither the state nor the action.")
            if group.action == "relative" and name not in self.groups_of("state"):
                raise WrongField(
                    ("groups", name, "action"),
                    f"the action of {name!r} is relative to its state, which the layout lacks.",
                )
        joints = sorted({joint for group in self.groups.values() for joint in group.joints})
        for joint in self.aliases:
            check_name(joint, f"joint of {self.name!r}", joints, key=("aliases", joint))
        for field in ("column_aliases", "column_names", "column_slices"):
            self._check_keys(field, f"column of {self.name!r}", [*self.state, *self.action])
        for vector in VECTORS:
            for column, names in self._columns(vector).items():
                if column in self.column_slices:
                    widths = {name: len(self.groups[name].joints) for name in names}
                    self.column_slices[column].check(widths, key=("column_slices", column))
        self._check_keys("camera_aliases", f"camera of {self.name!r}", self.cameras)
        if double := _first_duplicate(self.cameras):
            raise WrongField(("cameras",), f"camera {double!r} stands twice.", got=double)
        return self

    def _check_keys(self, field: str, kind: str, known: Iterable[str]) -> None:
        for name in getattr(self, field):
            check_name(name, kind, known, key=(field, name))

    def _check_layout(self, vector: Vector) -> None:
        kind = f"joint group of {self.name!r}"
        for column, names in self._columns(vector).items():
            for i, name in enumerate(names):
                check_name(name, kind, self.groups, key=(vector, column, i))
        if double := _first_duplicate(self.groups_of(vector)):
            raise WrongField((vector,), f"group {double!r} stands twice in the {vector}.", got=double)
        layout = self.layout(vector)
        if double := _first_duplicate(layout.joints):
            raise WrongField((vector,), f"joint {double!r} stands twice in the {vector}.", got=double)
        for column, joints in layout.columns.items():
            self._check_spellings(vector, column, joints)

    def _check_spellings(self, vector: Vector, column: str, joints: tuple[str, ...]) -> None:
        # Only within a column: per-part columns may call both arms' joints by the same names.
        # Joints may be spelt alike (joint_1_0 and joint_10), as they are found as written first; an alias may not be
        # another joint's name in any spelling.
        owner = {normalize_name(joint): joint for joint in joints}
        written: dict[str, str] = {}
        for joint in joints:
            for name in self.aliases.get(joint, ()):
                rivals = {owner.get(normalize_name(name), joint), written.setdefault(name, joint), joint}
                if len({normalize_name(rival) for rival in rivals}) > 1 or written[name] != joint:
                    either = " or ".join(repr(rival) for rival in sorted(rivals, key=joints.index))
                    raise WrongField(("aliases", joint), f"{normalize_name(name)!r} could be {either} in {column!r}.")


def load_robot(name_or_path: str | Path) -> Robot:
    """Load a robot that ships with Millrace, by name, or a user's own, by the path of its YAML file.

    Raises:
        UnknownName: No robot of that name ships.
        RobotError: The file is wrong; cites file and line.
    """
    path = find_file(name_or_path, ROBOTS, kind="robot")
    return read_robot(path) if is_path(name_or_path) else _read_shipped(path)


def read_robot(path: Path, text: str | None = None) -> Robot:
    """Read a robot file; text: its content, where it is not written yet.

    Raises:
        RobotError: The file is wrong; cites file and line.
    """
    file = read_yaml(path, error=RobotError, text=text)
    return parse_yaml(Robot, file, file.content)


_read_shipped = cache(read_robot)  # as most maps lead to the same few robots


def robot_names() -> tuple[str, ...]:
    """The robots that ship."""
    return file_names(ROBOTS)


def find_file(name_or_path: str | Path, folder: Path, *, kind: str) -> Path:
    """The file at a path, or the folder's file of that name."""
    if is_path(name_or_path):
        return Path(name_or_path)
    names = file_names(folder)
    if name_or_path not in names:
        unknown = unknown_name(str(name_or_path), kind, names)
        raise UnknownName(unknown, ". ", Remedy("Or give the path of a .yaml file."))
    return folder / f"{name_or_path}.yaml"


def is_path(name_or_path: str | Path) -> bool:
    """Whether it is a path, not a name: has a slash or ends in .yaml."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml"))


def file_names(folder: Path) -> tuple[str, ...]:
    """Names of a folder's YAML files, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def _as_lists(names: object) -> object:
    """Several lists of names; a file may hold one list by itself."""
    return (names,) if isinstance(names, list) and all(isinstance(name, str) for name in names) else names


def _first_duplicate(names: tuple[str, ...]) -> str | None:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)
