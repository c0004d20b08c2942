"""Find the columns of a source that hold a robot's state or action, and the joints' order in them."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import JointMismatch, Match, Remedy, Robot, Vector, match_joints
from millrace.engine.errors import DatasetError
from millrace.engine.sources import Feature, SourceDataset

DRAFT = Remedy("`millrace robots new` drafts a robot file for this dataset")


@dataclass(frozen=True, eq=False)
class JointColumns:
    """The source columns that make up a vector, and the place of each of the robot's joints in them.

    gather (D,): places in the columns joined side by side. by: how each column was matched.
    """

    columns: tuple[str, ...]
    widths: tuple[int, ...]
    gather: NDArray[np.int64]
    by: tuple[str, ...]


class ColumnMisfit(DatasetError):
    """A column is missing, or its joints are others than the robot's; short: that in a few words."""

    def __init__(self, *parts: object, short: str = "", **facts: Any) -> None:
        super().__init__(*parts, **facts)
        self.short = short


def match_columns(source: SourceDataset, robot: Robot, vector: Vector) -> JointColumns:
    """Find the robot's joints in the source's columns, by name where they have names.

    Raises:
        ColumnMisfit: a column is missing, or its joints are others than the robot's.
    """
    columns: list[str] = []
    widths: list[int] = []
    gather: list[NDArray[np.int64]] = []
    matched: list[str] = []
    for wanted, joints in robot.layout(vector).columns.items():
        column = _find(source, robot, wanted, vector)
        feature = source.features[column]
        width = feature.num_values
        try:
            match = _match(feature, wanted, robot, vector)
        except JointMismatch as error:
            where = f"{source.address}, column '{column}' against robot '{robot.name}': "
            slices = robot.column_slices.get(wanted)
            expected = len(joints) if slices is None else slices.width
            raise ColumnMisfit(where, error, short=_misfit(column, feature, expected)) from error
        gather.append(match.gather + sum(widths))
        columns.append(column)
        widths.append(width)
        matched.append(match.by)
    return JointColumns(tuple(columns), tuple(widths), np.concatenate(gather), tuple(matched))


def _match(feature: Feature, column: str, robot: Robot, vector: Vector) -> Match:
    """Match by name; by position if the column has no names, or exactly names that the robot file lists for it."""
    width, stated, joints = feature.num_values, feature.stated_names, robot.layout(vector).columns[column]
    if width == 0:
        raise JointMismatch(
            "its shape in meta/info.json does not tell how many values it holds; ", Remedy("write it there")
        )
    if not stated and column in robot.column_slices:
        return _match_slices(robot, column, vector, width)
    if stated and stated in robot.column_names.get(column, ()) and width == len(joints):
        return Match(np.arange(width, dtype=np.int64), "name")
    if feature.unread_names is not None:
        raise JointMismatch(
            f"its names are not understood: {feature.unread_names}. Expected a list of {width} joint names in the "
            "order of the values, or their places, {joint: 0, ...}. ",
            Remedy("Correct them in meta/info.json; ", DRAFT),
            got=feature.unread_names,
            expected=f"{width} joint names",
        )
    return match_joints(feature.names, joints, width=width, aliases=robot.aliases, by_position=robot.by_position)


def _match_slices(robot: Robot, column: str, vector: Vector, width: int) -> Match:
    """Where the robot file says that the groups lie."""
    slices = robot.column_slices[column]
    if width != slices.width:
        message = f"it names nothing and is {width} wide, expected {slices.width}; "
        raise JointMismatch(message, DRAFT, got=width, expected=slices.width)
    groups = robot.state if vector == "state" else robot.action
    return Match(slices.gather(groups[column]), "position")


def _find(source: SourceDataset, robot: Robot, wanted: str, vector: Vector) -> str:
    known = [name for name, feature in source.features.items() if not feature.is_camera]
    column = robot.find_column(wanted, known)
    if column is not None:
        return column
    near = "".join(f" Did you mean {name!r}?" for name in get_close_matches(wanted, known, n=1))
    # A camera of that name is no column of joints, and is not listed as one.
    raise ColumnMisfit(
        f"{source.address} has no column '{wanted}' of joints, which robot '{robot.name}' reads its {vector} from."
        f"{near} Known: {', '.join(known) or 'none'}. ",
        Remedy("A robot file can name others under `column_aliases:`; ", DRAFT),
        short=f"no column '{wanted}' of joints",
        expected=wanted,
        known=tuple(known),
    )


def _misfit(column: str, feature: Feature, num_joints: int) -> str:
    if feature.num_values != num_joints and not feature.stated_names:
        return f"'{column}' is {feature.num_values} wide, not {num_joints}"
    return f"'{column}' names {'other' if feature.stated_names else 'no'} joints"
