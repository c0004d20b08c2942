"""The next command for a dataset, ready to run but for what only the user knows, in capitals."""

import shlex
from collections.abc import Iterator, Sequence

from millrace.embodiments import EmbodimentMap, Robot
from millrace.engine.layout import META, MODALITY_CONFIG
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.tasks import needs_task
from millrace.engine.sources import SourceDataset

ROBOT_FILE = "robot.yaml"


def is_trainable(dataset: SourceDataset) -> bool:
    """Whether GR00T can train on it as it is: it has a modality.json and a config beside it."""
    root = dataset.root
    return (root / MODALITY_CONFIG).is_file() and (root / META / "modality.json").is_file()


def validate_command(source: str) -> str:
    """The command that checks a finished dataset."""
    return shlex.join(["millrace", "validate", source])


def draft_commands(dataset: SourceDataset, source: str) -> tuple[str, str]:
    """The commands for a robot that does not ship: draft its file, then convert."""
    draft = ["millrace", "robots", "new", "--from", source, "--out", ROBOT_FILE]
    return shlex.join([*draft, *_reading_flags(dataset)]), convert_command(dataset, source, ["--robot", ROBOT_FILE])


def shipped_command(
    dataset: SourceDataset, source: str, robot: Robot, embodiment_map: EmbodimentMap | None = None
) -> str:
    """The conversion with a shipped map, or without one to the robot itself."""
    if embodiment_map is None:
        return convert_command(dataset, source, ["--robot", robot.name])
    choice = ["--map", embodiment_map.name]
    for target, camera in embodiment_map.cameras.items():
        if robot.find_camera(camera, dataset.cameras) is None:
            choice += ["--camera", f"{target}={dataset.cameras[0]}" if dataset.cameras else f"-{target}"]
    return convert_command(dataset, source, choice)


def convert_command(dataset: SourceDataset, source: str, choice: Sequence[str]) -> str:
    """The conversion of a dataset by a map or robot, with the flags that the dataset needs."""
    words = ["millrace", "convert", source, "OUT", *choice, *_reading_flags(dataset)]
    default_fps = Recipe.model_fields["fps"].default
    if dataset.fps < default_fps:
        words += ["--fps", "source"]
    if needs_task(dataset, dataset.episodes):
        words += ["--task", "SAY WHAT THE ROBOT DOES"]
    return shlex.join(words)


def _reading_flags(dataset: SourceDataset) -> Iterator[str]:
    """What a command needs to open the dataset as it was opened."""
    options = dataset.options
    if dataset.files.bounds(dataset.root) != dataset.root:
        yield "--follow-links"
    if options.format is not None:
        yield from ("--format", options.format)
    if options.is_fps_assumed:
        yield from ("--source-fps", "HZ")
    elif options.fps == dataset.fps:  # where the files tell another, that counts
        yield from ("--source-fps", str(dataset.fps))
