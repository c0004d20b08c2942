"""How a checkpoint's datasets came from their robots: kept in it, so that training and robot cannot drift apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, Remedy, unknown_name
from millrace.engine.video.robot_control import Control, SourceControl, manifest_control
from millrace.train.checkpoint_files import open_checkpoint_files
from millrace.train.errors import ConfigError
from millrace.train.framings import NOTES

CONTROL = "millrace_control.json"


class _Controls(FrozenModel):
    """experiment_cfg/millrace_control.json."""

    datasets: tuple[Control, ...]


@dataclass(frozen=True)
class RobotControl:
    """One robot of a checkpoint: how its recordings became what the model was trained on."""

    control: Control
    source: SourceControl


def write_control(notes: Path, datasets: Iterable[Path]) -> None:
    """Write the control of a run's datasets into the folder that GR00T copies into every checkpoint."""
    found: list[Control] = []
    for control in map(manifest_control, datasets):
        if control is not None and control not in found:
            found.append(control)
    if found:
        text = _Controls(datasets=tuple(found)).model_dump_json(indent=2, by_alias=True, exclude_defaults=True)
        (notes / CONTROL).write_text(text + "\n", encoding="utf-8")


def read_control(checkpoint: str) -> tuple[Control, ...]:
    """Read the control in a checkpoint, a folder or a model on the Hub; empty where it has none.

    Raises:
        ConfigError: the file is there and is none.
    """
    path = open_checkpoint_files(checkpoint).path(f"{NOTES}/{CONTROL}")
    try:
        return () if path is None else _Controls.model_validate_json(path.read_bytes()).datasets
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{checkpoint}: {NOTES}/{CONTROL} cannot be read: {reason}", file=path) from error


def known_robots(checkpoint: str) -> tuple[str, ...]:
    """Robots that a checkpoint was trained with; none where it does not say, or cannot be read."""
    try:
        controls = read_control(checkpoint)
    except ConfigError:
        return ()
    return tuple(dict.fromkeys(source.robot.name for control in controls for source in control.sources))


def choose_robot(checkpoint: str, robot: str) -> RobotControl:
    """The control of a robot that a checkpoint was trained with.

    Raises:
        ConfigError: the checkpoint does not say how it came from a robot, or came from that one in several ways.
        UnknownName: it was not trained with that robot.
    """
    controls = read_control(checkpoint)
    if not controls:
        raise ConfigError(
            f"{checkpoint} does not say how its dataset came from a robot: it was finetuned by another program, or "
            "on a dataset of an earlier version. ",
            Remedy("Convert and finetune again, or serve it without a robot, in the joints that it was trained in"),
        )
    pairs = [RobotControl(control, source) for control in controls for source in control.sources]
    known = dict.fromkeys(pair.source.robot.name for pair in pairs)
    fitting = [pair for pair in pairs if pair.source.robot.name == robot]
    if not fitting:
        raise unknown_name(robot, f"robot of {checkpoint}", known)
    first, *others = fitting
    if any(_differs(first, other) for other in others):
        raise ConfigError(
            f"{checkpoint} was finetuned on recordings of {robot!r} that were converted in {len(fitting)} ways (maps "
            f"{', '.join(dict.fromkeys(pair.source.map.name for pair in fitting))}): none is the one for the robot"
        )
    return first


def _differs(one: RobotControl, other: RobotControl) -> bool:
    """Whether two ways from a robot lead to other joints, frames or rates; the rate of recordings does not matter."""
    facts = [
        (pair.source.map, pair.source.cameras, pair.control.fps, pair.control.crop, pair.control.sizes)
        for pair in (one, other)
    ]
    return facts[0] != facts[1]
