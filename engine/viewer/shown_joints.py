"""Which joints of a dataset the viewer shows together, and what is known of each group."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millrace.embodiments import VECTORS, Robot, load_robot
from millrace.engine.dataset.json_files import Unreadable, is_file, read_json
from millrace.engine.dataset.metadata import MODALITY, JointSlice, ModalityFile
from millrace.engine.dataset.modality_config import GrootConfig, read_config
from millrace.engine.inspection.columns import Columns, choose_columns, value_names
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.report.joint_groups import MAX_JOINTS, Place, PlottedGroup, plot_groups
from millrace.engine.sources import SourceDataset

UNKNOWN = "unknown"


@dataclass(frozen=True)
class ShownGroup:
    """Joints of one group: names and places of what is observed and what is commanded.

    unit: of the joints. action_kind: what the action holds and whether a policy learns it as it is or relative to the
    state. Both "unknown" where nothing says.
    """

    name: str
    unit: str
    action_kind: str
    state: tuple[tuple[str, Place], ...]
    action: tuple[tuple[str, Place], ...]

    @property
    def title(self) -> str:
        """Name and unit."""
        return self.name if self.unit == UNKNOWN else f"{self.name} ({self.unit})"


@dataclass(frozen=True)
class ShownJoints:
    """The joints of a dataset.

    robot: which one it was taken for; None: no shipped one. columns: to read. notes: which are left out, in words.
    """

    robot: str | None
    columns: Columns
    groups: tuple[ShownGroup, ...]
    notes: tuple[str, ...] = ()


def choose_joints(dataset: SourceDataset) -> ShownJoints:
    """The joints of a dataset by the groups of its modality.json, or of its robot, or else by columns."""
    guess = guess_robot(dataset)
    robot = None if guess.name is None else load_robot(guess.name)
    columns = choose_columns(dataset.features, robot)
    groups = tuple(_modality_groups(dataset, robot, columns))
    if groups:
        return ShownJoints(guess.name, columns, groups)
    groups = tuple(_plain_group(group, robot) for group in plot_groups(dataset, robot, columns))
    num_left = sum(len(columns.joints(name)) for name in columns.motion) - sum(len(group.state) for group in groups)
    is_cut = sum(len(group.state) for group in groups) == MAX_JOINTS and num_left > 0
    notes = (f"curves of {num_left} more values are left out, as no robot file tells their groups",) if is_cut else ()
    return ShownJoints(guess.name, columns, groups, notes)


def _modality_groups(dataset: SourceDataset, robot: Robot | None, columns: Columns) -> Iterator[ShownGroup]:
    """The groups that GR00T reads, where a dataset says them and they lie in its columns."""
    try:
        modality = read_json(dataset.root, MODALITY, ModalityFile) if is_file(dataset.root / MODALITY) else None
    except Unreadable:
        return
    if modality is None:
        return
    config = _read_config(dataset)
    for name in dict.fromkeys((*modality.state, *modality.action)):
        state, action = (_locate(modality.groups[vector].get(name), vector, columns) for vector in VECTORS)
        if state or action:
            yield ShownGroup(name, _unit(name, robot), _describe_action(name, robot, config), state, action)


def _read_config(dataset: SourceDataset) -> GrootConfig | None:
    try:
        return read_config(dataset.root) if is_file(dataset.root / MODALITY_CONFIG) else None
    except Unreadable:
        return None


def _locate(part: JointSlice | None, vector: str, columns: Columns) -> tuple[tuple[str, Place], ...]:
    column = "" if part is None else part.column(vector)
    if part is None or column not in columns.floats:
        return ()
    names = value_names(column, columns.floats[column])
    places = range(max(0, part.start), min(part.end, len(names)))
    return tuple((names[place], (column, place)) for place in places)


def _plain_group(group: PlottedGroup, robot: Robot | None) -> ShownGroup:
    return ShownGroup(
        group.name,
        group.unit or UNKNOWN,
        _describe_action(group.name, robot, None),
        tuple((joint.name, joint.state) for joint in group.joints if joint.state is not None),
        tuple((joint.name, joint.action) for joint in group.joints if joint.action is not None),
    )


def _unit(name: str, robot: Robot | None) -> str:
    return robot.groups[name].unit if robot is not None and name in robot.groups else UNKNOWN


def _describe_action(name: str, robot: Robot | None, config: GrootConfig | None) -> str:
    """Such as "target, learnt as relative"."""
    group = None if robot is None else robot.groups.get(name)
    learnt: str | None = None if group is None else group.action
    if config is not None:
        learnt = _representations(config).get(name)
    kind = UNKNOWN if group is None else group.action_kind
    return kind if learnt is None else f"{kind}, learnt as {learnt}"


def _representations(config: GrootConfig) -> Mapping[str, str]:
    configs = config.modalities["action"].action_configs if "action" in config.modalities else None
    return {key: one.rep.lower() for key, one in zip(config.keys("action"), configs or (), strict=False)}
