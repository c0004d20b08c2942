"""Draft a robot file for a dataset of a robot that does not ship, for its owner to check."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from millrace.embodiments import VECTORS, MillraceError, Robot, Vector
from millrace.embodiments.robot import ActionKind, read_robot
from millrace.engine.drafting.draft_cameras import DraftedCameras, name_cameras
from millrace.engine.drafting.groups import OwnModality, group_joints, guess_action_kind, read_modality
from millrace.engine.drafting.joints import JointColumn, name_joints, number_name
from millrace.engine.drafting.robot_text import DraftedGroup, RobotText
from millrace.engine.drafting.units import Extent, guess_unit, read_extents
from millrace.engine.errors import DatasetError
from millrace.engine.planning.joint_columns import match_columns
from millrace.engine.planning.vector_columns import PartColumn, find_vectors, unused_columns
from millrace.engine.sources import SourceDataset
from millrace.engine.text import join_names, printable

# A group of steps is called so, as the state may have one of the same joints.
OF_KIND: Mapping[ActionKind | None, str] = {"delta": "_step", "velocity": "_velocity"}


@dataclass(frozen=True)
class RobotDraft:
    """The text of a robot file, the robot that it describes, and what of the dataset it skips, in words.

    unused: of what it skips, the columns that are neither state nor action.
    """

    text: str
    robot: Robot
    skipped: tuple[str, ...]
    unused: tuple[str, ...]


def draft_robot(dataset: SourceDataset, source: str | None = None) -> RobotDraft:
    """Draft a robot file that fits a dataset: each value of its columns is found by the file that is returned.

    Args:
        dataset: The dataset; rows of a few episodes are read for the range of each joint.
        source: What the user calls it, for the commands in the file.

    Raises:
        DatasetError: no column holds a state, or none an action, or no file can describe them.
    """
    facts = _Facts.read(dataset, source or dataset.address)
    problem: MillraceError | None = None
    for by_name in (True, False):
        draft = _Draft(facts, by_name=by_name)
        try:
            robot = read_robot(dataset.root / "robot.yaml", draft.text)
            draft.check(robot)
        except MillraceError as error:
            problem = problem or error
            continue
        return RobotDraft(draft.text, robot, facts.skipped, facts.unused)
    raise DatasetError(f"no robot file can be drafted for {dataset.address}: {problem}") from problem


@dataclass(frozen=True)
class _Facts:
    """What a dataset says of its robot."""

    dataset: SourceDataset
    source: str
    vectors: Mapping[Vector, tuple[PartColumn, ...]]
    modality: OwnModality
    cameras: DraftedCameras
    extents: Mapping[str, Sequence[Extent]]

    @classmethod
    def read(cls, dataset: SourceDataset, source: str) -> "_Facts":
        vectors = find_vectors(dataset)
        modality = read_modality(dataset, vectors)
        columns = dict.fromkeys(column.name for vector in VECTORS for column in vectors[vector])
        return cls(
            dataset=dataset,
            source=source,
            vectors=vectors,
            modality=modality,
            cameras=name_cameras(dataset, modality.cameras),
            extents=read_extents(dataset, list(columns)),
        )

    @property
    def skipped(self) -> tuple[str, ...]:
        """What the draft skips, in words."""
        words = (*self.modality.problems, *(f"no camera is made of: {text}" for text in self.cameras.skipped))
        return (*self.unused, *map(printable, words))

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that are neither state nor action, in words."""
        columns = unused_columns(self.dataset, self.vectors)
        return (printable(f"columns of numbers that are no part of it: {join_names(columns, 20)}"),) if columns else ()


@dataclass
class _Draft:
    """The parts of a drafted robot file."""

    facts: _Facts
    by_name: bool
    groups: dict[str, DraftedGroup] = field(default_factory=dict)
    columns: dict[Vector, dict[str, list[str]]] = field(default_factory=dict)
    places: dict[Vector, list[tuple[int, ...]]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    column_names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for vector in VECTORS:
            self.columns[vector], self.places[vector] = {}, []
            for column in name_joints(self.facts.vectors[vector], by_name=self.by_name):
                self._add(vector, column)

    def _add(self, vector: Vector, column: JointColumn) -> None:
        slices = self.facts.modality.slices.get((vector, column.name), {})
        runs = list(self._split_by_kind(column, group_joints(column, slices)))
        self.columns[vector][column.name] = [
            self._group(label, joints, kind, column, vector) for label, joints, kind in runs
        ]
        self.places[vector].append(column.places)
        if column.stated:
            self.column_names[column.name] = list(column.stated)
        for joint, name in column.aliases.items():
            if name not in self.aliases.setdefault(joint, []):
                self.aliases[joint].append(name)

    def _split_by_kind(
        self, column: JointColumn, runs: Iterable[tuple[str, tuple[str, ...]]]
    ) -> Iterator[tuple[str, tuple[str, ...], ActionKind | None]]:
        """Runs of joints of one kind each, as far as the dataset tells what its actions are."""
        kinds = self.facts.dataset.features[column.name].kinds
        place_of = dict(zip(column.joints, column.places, strict=True))
        for label, joints in runs:
            for kind, alike in groupby(joints, lambda joint: kinds[place_of[joint]] if kinds else None):
                yield f"{label}{OF_KIND.get(kind, '')}", tuple(alike), kind

    def _group(
        self, label: str, joints: tuple[str, ...], told: ActionKind | None, column: JointColumn, vector: Vector
    ) -> str:
        """The name of the group of these joints, which state and action share where both have it."""
        name = number_name(label, lambda free: free in self.groups and self.groups[free].joints != joints)
        extent = self._extent(joints, column)
        if name in self.groups:
            extent |= self.groups[name].extent
        kind = told or guess_action_kind(joints, column.part)
        unit, seen = guess_unit(name, extent, is_speed=kind == "velocity")
        unit = "of a step" if told == "delta" else unit
        shown = kind if vector == "action" else None
        self.groups[name] = DraftedGroup(joints, column.check, extent, unit, seen, shown)
        return name

    def _extent(self, joints: Iterable[str], column: JointColumn) -> Extent:
        seen, extent = self.facts.extents.get(column.name, ()), Extent()
        place_of = dict(zip(column.joints, column.places, strict=True))
        for joint in joints:
            extent |= seen[place_of[joint]] if place_of[joint] < len(seen) else Extent()
        return extent

    @property
    def text(self) -> str:
        """The file's text."""
        return RobotText(
            dataset=self.facts.dataset,
            source=self.facts.source,
            groups=self.groups,
            columns=self.columns,
            aliases=self.aliases,
            column_names=self.column_names,
            cameras=self.facts.cameras,
            skipped=self.facts.skipped,
        ).render()

    def check(self, robot: Robot) -> None:
        """Check that each joint of the draft is found at its place in the dataset.

        Raises:
            DatasetError: one is not.
        """
        for vector in VECTORS:
            found = match_columns(self.facts.dataset, robot, vector)
            starts = np.cumsum([0, *found.widths[:-1]])
            expected = [
                place + start for places, start in zip(self.places[vector], starts, strict=True) for place in places
            ]
            if found.gather.tolist() != expected:
                raise DatasetError(f"the names of {', '.join(found.columns)} do not tell its values apart")
