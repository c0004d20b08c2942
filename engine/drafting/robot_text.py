"""A drafted robot file as text."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.embodiments import Vector
from millrace.embodiments.robot import ActionKind
from millrace.embodiments.yaml_file import dump_flow
from millrace.engine.drafting.draft_cameras import DraftedCameras
from millrace.engine.drafting.units import Extent
from millrace.engine.sources import SourceDataset
from millrace.engine.text import printable

TEMPLATE = Path(__file__).with_name("robot.template")
GROUP = """\
  {name}:
    joints: {joints}{check}
    unit: {unit}  # CHECK: {seen}
    rest: 0.0
    action: absolute  # CHECK
{kind}"""
COLUMN_NAMES = """\
# What the dataset says of these columns in place of joint names. A column that says exactly this is read by position.
column_names:
"""
CAMERA_ALIASES = """\
# What the dataset calls these cameras.
camera_aliases:
"""


@dataclass(frozen=True)
class DraftedGroup:
    """A group of a drafted robot.

    check: what the user is to check in its joints. seen: the values from which its unit was guessed. kind: of its
    actions; None: the action lacks it.
    """

    joints: tuple[str, ...]
    check: str
    extent: Extent
    unit: str
    seen: str
    kind: ActionKind | None


@dataclass(frozen=True)
class RobotText:
    """All that a drafted file says."""

    dataset: SourceDataset
    source: str
    groups: Mapping[str, DraftedGroup]
    columns: Mapping[Vector, Mapping[str, Sequence[str]]]
    aliases: Mapping[str, Sequence[str]]
    column_names: Mapping[str, Sequence[str]]
    cameras: DraftedCameras
    skipped: Sequence[str]

    def render(self) -> str:
        """The text of the file."""
        camera_aliases = {name: [theirs] for name, theirs in self.cameras.aliases.items()}
        robot = self.dataset.robot_type or "robot"
        return TEMPLATE.read_text(encoding="utf-8").format(
            source=printable(shlex.quote(self.source)),
            skipped="".join(f"#\n# Skipped: {text}\n" for text in self.skipped),
            name=dump_flow(_name(self.dataset)),
            description=dump_flow(printable(f"{robot}, as {self.dataset.root.resolve().name} holds it")),
            groups="".join(_group(name, group) for name, group in self.groups.items()),
            state=_lines(self.columns["state"]),
            action=_lines(self.columns["action"]),
            aliases=_section("aliases:\n", self.aliases),
            column_names=_section(COLUMN_NAMES, self.column_names),
            cameras=dump_flow(list(self.cameras.names)),
            camera_aliases=_section(CAMERA_ALIASES, camera_aliases),
        )


def _name(dataset: SourceDataset) -> str:
    """The robot's name, from info.json or else from the dataset's folder."""
    text = dataset.robot_type or dataset.root.resolve().name
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-") or "robot"


def _group(name: str, group: DraftedGroup) -> str:
    # A comment cannot follow a list that goes on in the next line.
    check = f"\n    # CHECK: {group.check}" if group.check else ""
    joints = dump_flow(list(group.joints), indent=14)
    kind = f"    action_kind: {group.kind}  # CHECK\n" if group.kind else ""
    return GROUP.format(name=name, joints=joints, check=check, unit=dump_flow(group.unit), seen=group.seen, kind=kind)


def _section(head: str, entries: Mapping[str, Sequence[str]]) -> str:
    return f"{head}{_lines(entries)}\n" if entries else ""


def _lines(entries: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"  {dump_flow(key)}: {dump_flow(list(values), indent=4)}" for key, values in entries.items())
