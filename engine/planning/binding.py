"""How a source's columns, cameras and tasks become the target robot's."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import CompiledMap
from millrace.engine.dataset.data_checks import SourceRate
from millrace.engine.planning.cut_rules import CutRules
from millrace.engine.planning.filter_rules import FilterRules
from millrace.engine.planning.joint_columns import JointColumns
from millrace.engine.planning.recipe import SourceSpec
from millrace.engine.sources import SourceDataset, public_name
from millrace.engine.stores.address import is_store_address

# Columns that every LeRobot dataset has; the output's are computed.
BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


@dataclass(frozen=True, eq=False)
class Binding:
    """How one source's rows and frames become the target's.

    root: the source's folder. revision: which state of it, where its name has several.
    cameras: target camera -> source camera. tasks: source task index -> output task index; None where
    all rows of an episode have the task that its plan names. task_column: names each row's task, by index, or as
    text; texts: the index of each such text. sizes: width and height of each source camera in use, by info.json.
    carried: columns beside state and action, in words. subtasks: source subtask index -> output subtask index; empty
    where the output lists none. cuts: which still stretches of episodes are cut; None: none.
    action_shift: by how many rows actions move to later ones. filter: which episodes are left out for their rows.
    """

    source: SourceSpec
    root: Path
    revision: str | None
    fps: Fraction
    state: JointColumns
    action: JointColumns
    map: CompiledMap
    cameras: Mapping[str, str]
    tasks: Mapping[int, int] | None
    task_column: str = "task_index"
    texts: Mapping[str, int] | None = None
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    carried: str = ""
    subtasks: Mapping[int, int] = field(default_factory=dict)
    cuts: CutRules | None = None
    action_shift: int = 0
    filter: FilterRules | None = None

    @property
    def used_columns(self) -> frozenset[str]:
        """Columns of state, action and instructions."""
        return frozenset((*self.state.columns, *self.action.columns, self.task_column))

    @property
    def address(self) -> str | None:
        """The source's address on the Hub or in a store; None: it is a folder."""
        is_remote = self.revision is not None or is_store_address(self.source.path)
        return public_name(self.source.path, self.revision) if is_remote else None

    @property
    def rate(self) -> SourceRate:
        """The rate of its rows."""
        return SourceRate(self.fps, is_sure=self.source.fps is not None)

    @property
    def is_judged_by_rows(self) -> bool:
        """Whether an episode's rows may leave it out, or all of its frames."""
        return self.filter is not None or self.cuts is not None

    @property
    def digest(self) -> str:
        """A digest of what decides an episode's content beside its files, its tasks and the recipe."""
        columns = [(vector.columns, vector.widths, vector.gather.tolist()) for vector in (self.state, self.action)]
        facts = (
            self.rate,
            columns,
            self.map.digest,
            dict(self.cameras),
            self.tasks is None,
            self.carried,
            dict(self.subtasks),
            *(() if self.cuts is None else self.cuts.facts),
            *((self.action_shift,) if self.action_shift else ()),
            *(() if self.filter is None else self.filter.facts),
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def dropped_features(source: SourceDataset, binding: Binding, carried: Collection[str]) -> Iterable[str]:
    """Columns and cameras of the source that the output does not use; carried: columns that it has besides."""
    keys = source.camera_features
    cameras = (key for camera in binding.cameras.values() for key in keys.get(camera, ()))
    used = {*binding.used_columns, *cameras, *carried, *BOOKKEEPING}
    return (name for name in source.features if name not in used)
