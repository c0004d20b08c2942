"""Whether a robot takes a source's actions for what they are, as that decides how they are brought to a lower rate."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from millrace.embodiments import CompiledMap, Remedy, Setting
from millrace.embodiments.robot import ActionKind
from millrace.engine.errors import DatasetError
from millrace.engine.fps import format_fps
from millrace.engine.planning.joint_columns import JointColumns
from millrace.engine.planning.recipe import SOURCE_RATE
from millrace.engine.sources import SourceDataset

WORDS: Mapping[ActionKind, str] = {"target": "a target", "delta": "a step", "velocity": "a velocity"}


def check_action_kinds(
    dataset: SourceDataset,
    action: JointColumns,
    mapping: CompiledMap,
    *,
    rates: tuple[Fraction, Fraction],
    drafted: bool,
) -> None:
    """Check that the source robot's kinds of actions are those that the files tell.

    Args:
        dataset: The source.
        action: Its columns.
        mapping: Its map.
        rates: The source's and the output's, Hz; where both are equal any kind is copied.
        drafted: Whether the robot was drafted from a dataset, so that nobody said what its actions are.

    Raises:
        DatasetError: the robot says otherwise than the files; or nobody says what the actions are.
    """
    if rates[1] == rates[0]:
        return
    fall = f"at {format_fps(rates[1])} Hz from {format_fps(rates[0])} Hz steps are summed, and targets are not"
    keep = (", or keep the source's rate: ", Setting("fps", SOURCE_RATE))
    known = list(_list_told(dataset, action, mapping))
    unknown = [joint for joint, _, told in known if told is None]
    if drafted and unknown:
        raise DatasetError(
            f"{dataset.address}: nothing tells whether actions are targets or steps: {fall}; ",
            Remedy("say it by `action_kind` in a robot file (`millrace robots new`): ", Setting("robot"), *keep),
            got=unknown,
        )
    for joint, ours, told in known:
        if told is not None and told != ours:
            raise DatasetError(
                f"{dataset.address}: the files tell that '{joint}' of the action is {WORDS[told]}, but for robot "
                f"'{mapping.source.name}' it is {WORDS[ours]}: {fall}; ",
                Remedy(f"use a robot file that says `action_kind: {told}` for its group", *keep),
                got=ours,
                expected=told,
            )


def _list_told(
    dataset: SourceDataset, action: JointColumns, mapping: CompiledMap
) -> Iterator[tuple[str, ActionKind, ActionKind | None]]:
    """Each joint of columns whose kinds are in question, the robot's kind, and what the files tell."""
    kinds: list[ActionKind | None] = []
    is_asked: list[bool] = []
    for column, width in zip(action.columns, action.widths, strict=True):
        told = dataset.features[column].kinds
        kinds += told or (None,) * width
        is_asked += [bool(told)] * width
    layout = mapping.source.layout("action")
    for joint, ours, place in zip(layout.joints, layout.action_kinds, action.gather.tolist(), strict=True):
        if is_asked[place]:
            yield joint, ours, kinds[place]
