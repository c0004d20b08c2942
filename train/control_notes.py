"""How a checkpoint's datasets came from their robots: kept in it, so that training and robot cannot drift apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, Remedy, Setting, unknown_name
from millrace.engine.video.robot_control import Control, SourceControl, manifest_control
from millrace.train.checkpoint_files import open_checkpoint_files
from millrace.train.errors import ConfigError
from millrace.train.framings import NOTES

CONTROL = "millrace_control.json"


class TrainedControl(Control):
    """The control of a dataset that a model was trained on.

    tag: the embodiment tag that it was trained under, as files have it; None where an earlier version wrote the file.
    """

    tag: str | None = None


class _Controls(FrozenModel):
    """experiment_cfg/millrace_control.json."""

    datasets: tuple[TrainedControl, ...]


@dataclass(frozen=True)
class RobotControl:
    """One robot of a checkpoint: how its recordings became what the model was trained on.

    rates: of all its recordings, Hz.
    """

    control: TrainedControl
    source: SourceControl
    rates: tuple[Fraction, ...]


def write_control(notes: Path, tags: Mapping[Path, str]) -> None:
    """Write the control of a run's datasets into the folder that GR00T copies into every checkpoint.

    tags: the embodiment tag of each dataset, as files have it.
    """
    found: list[TrainedControl] = []
    for dataset, tag in tags.items():
        known = manifest_control(dataset)
        control = None if known is None else TrainedControl.model_validate({**dict(known), "tag": tag})
        if control is not None and control not in found:
            found.append(control)
    if found:
        text = _Controls(datasets=tuple(found)).model_dump_json(indent=2, by_alias=True, exclude_defaults=True)
        (notes / CONTROL).write_text(text + "\n", encoding="utf-8")


def read_control(checkpoint: str) -> tuple[TrainedControl, ...]:
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
    """Robots that a checkpoint was trained with; none where it does not say.

    Raises:
        ConfigError: it cannot be read.
    """
    return tuple(dict.fromkeys(source.robot.name for control in read_control(checkpoint) for source in control.sources))


def known_tags(checkpoint: str, robot: str) -> tuple[str, ...]:
    """Embodiment tags under which a checkpoint was trained with a robot; none where it does not say.

    Raises:
        ConfigError: it cannot be read.
    """
    fitting = [pair.control.tag for pair in _read_pairs(checkpoint) if pair.source.robot.name == robot]
    return tuple(dict.fromkeys(tag for tag in fitting if tag is not None))


def choose_robot(checkpoint: str, robot: str, tag: str | None = None) -> RobotControl:
    """The control of a robot that a checkpoint was trained with.

    Args:
        checkpoint: A folder, or a model on the Hub.
        robot: Its name.
        tag: The embodiment tag that the checkpoint acts under, as files have it; None: any.

    Raises:
        ConfigError: the checkpoint does not say how it came from a robot, came from that one in several ways, or under
            other tags alone, or its frames were made in steps that are not known.
        UnknownName: it was not trained with that robot.
    """
    pairs = _read_pairs(checkpoint)
    if not pairs:
        raise ConfigError(
            f"{checkpoint} does not say how its dataset came from a robot: it was finetuned by another program, or "
            "on a dataset of an earlier version. ",
            Remedy("Convert and finetune again, or serve it without a robot, in the joints that it was trained in"),
        )
    of_robot = [pair for pair in pairs if pair.source.robot.name == robot]
    if not of_robot:
        raise unknown_name(robot, f"robot of {checkpoint}", dict.fromkeys(pair.source.robot.name for pair in pairs))
    fitting = [pair for pair in of_robot if tag is None or pair.control.tag in (None, tag)]
    if not fitting:
        raise _trained_otherwise(checkpoint, of_robot, tag)
    first, *others = fitting
    if any(_differs(first, other) for other in others):
        raise ConfigError(
            f"{checkpoint} was finetuned on recordings of {robot!r} that were converted in {len(fitting)} ways (maps "
            f"{', '.join(dict.fromkeys(pair.source.map.name for pair in fitting))}): none is the one for the robot"
        )
    if unknown := [name for name, framing in first.source.earlier.items() if framing is None]:
        raise ConfigError(
            f"{checkpoint}: frames of {', '.join(unknown)} were cropped or padded by more than one conversion before "
            "the one of its dataset, so a robot's live frames cannot be made alike. ",
            Remedy("Convert the recordings themselves, and finetune again"),
        )
    return replace(first, rates=tuple(dict.fromkeys(pair.source.fps for pair in fitting)))


def _read_pairs(checkpoint: str) -> list[RobotControl]:
    controls = read_control(checkpoint)
    return [RobotControl(control, source, (source.fps,)) for control in controls for source in control.sources]


def _trained_otherwise(checkpoint: str, of_robot: Sequence[RobotControl], tag: str | None) -> ConfigError:
    tags = sorted({pair.control.tag for pair in of_robot if pair.control.tag is not None})
    return ConfigError(
        f"{checkpoint} was trained with {of_robot[0].source.robot.name!r} as {', '.join(tags)}, not as {tag}: it would "
        "act by a projector that never saw that robot. ",
        Remedy("Name the tag: ", Setting("embodiment_tag", tags[0])),
        got=tag,
        known=tuple(tags),
    )


def _differs(one: RobotControl, other: RobotControl) -> bool:
    """Whether two ways from a robot lead to other joints, frames or rates; the rate of recordings does not matter."""
    facts = [
        (
            *(pair.source.map, pair.source.cameras, pair.source.earlier),
            *(pair.control.fps, pair.control.crop, pair.control.sizes),
        )
        for pair in (one, other)
    ]
    return facts[0] != facts[1]
