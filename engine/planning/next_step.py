"""The next command for a dataset, ready to run."""

import shlex
from collections.abc import Sequence

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
    draft += ["--follow-links"] if _follows_links(dataset) else []
    return shlex.join(draft), convert_command(dataset, source, ["--robot", ROBOT_FILE])


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
    words = ["millrace", "convert", source, "OUT", *choice]
    if _follows_links(dataset):
        words.append("--follow-links")
    default_fps = Recipe.model_fields["fps"].default
    if dataset.fps < default_fps:
        words += ["--fps", "source"]
    if needs_task(dataset, dataset.episodes):
        words += ["--task", "SAY WHAT THE ROBOT DOES"]
    return shlex.join(words)


def _follows_links(dataset: SourceDataset) -> bool:
    """Whether it was opened with all of its links followed."""
    return dataset.files.bounds(dataset.root) != dataset.root
