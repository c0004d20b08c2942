"""GR00T's view of a robot: modality.json, and the modality config as data and as a .py file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from millrace.embodiments.joint_map import CompiledMap
from millrace.embodiments.robot import Layout, Robot

TEMPLATE = Path(__file__).with_name("modality_config.template")  # as the ALOHA guide's section 3.2, less its print
LANGUAGE = "human.task_description"
Entry = dict[str, int | str]


@dataclass(frozen=True)
class ModalityConfig:
    """What GR00T reads from a dataset, and what it learns.

    Args:
        name: Of the map that made the dataset.
        video_keys: Cameras.
        state_keys: Joint groups that the policy sees.
        action_keys: Joint groups that it learns to move.
        action_reps: For each of those, whether it learns the action or its difference from the
            state.
        horizon: Steps of an action chunk.
        language_key: Where the instruction is.
        own_tag: The tag under which GR00T has a config of its own for the robot, if it has one.
    """

    name: str
    video_keys: tuple[str, ...]
    state_keys: tuple[str, ...]
    action_keys: tuple[str, ...]
    action_reps: tuple[Literal["absolute", "relative"], ...]
    horizon: int
    language_key: str = f"annotation.{LANGUAGE}"
    own_tag: str | None = None

    def __post_init__(self) -> None:
        if len(self.action_reps) != len(self.action_keys):
            raise ValueError(f"{len(self.action_keys)} action keys but {len(self.action_reps)} representations")
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")
        for key, rep in zip(self.action_keys, self.action_reps, strict=True):
            if rep == "relative" and key not in self.state_keys:
                raise ValueError(f"relative action {key!r} needs the state of {key!r}; known: {self.state_keys}")


def modality_json(target: Robot, cameras: Iterable[str]) -> dict[str, dict[str, Entry]]:
    """The content of meta/modality.json: where each group lies, half-open, and other columns."""
    return {
        "state": _places(target.layout("state")),
        "action": _places(target.layout("action")),
        "video": {camera: {"original_key": f"observation.images.{camera}"} for camera in cameras},
        "annotation": {LANGUAGE: {"original_key": "task_index"}},
    }


def _places(layout: Layout) -> dict[str, Entry]:
    return {name: {"start": place.start, "end": place.stop} for name, place in layout.slices.items()}


def modality_config(compiled: CompiledMap, cameras: Sequence[str], horizon: int) -> ModalityConfig:
    """GR00T's modality config for a dataset that a map made.

    It lists the groups that the map drives or names under `also_train`: padding is not trained by default.

    Args:
        compiled: The map.
        cameras: Cameras of the dataset.
        horizon: Steps of an action chunk.
    """
    groups = compiled.target.groups
    return ModalityConfig(
        name=compiled.name,
        video_keys=tuple(cameras),
        state_keys=compiled.trained_state,
        action_keys=compiled.trained_action,
        action_reps=tuple(groups[group].action for group in compiled.trained_action),
        horizon=horizon,
        own_tag=compiled.target.tag,
    )


def modality_config_source(config: ModalityConfig) -> str:
    """The text of modality_config.py, which NVIDIA's launcher takes beside a dataset."""
    reps = zip(config.action_keys, config.action_reps, strict=True)
    return TEMPLATE.read_text(encoding="utf-8").format(
        title=_literal(f"GR00T N1.6 on a dataset made by Millrace with the map {config.name}."),
        video=_lines(f"{_literal(key)}," for key in config.video_keys),
        state=_lines(f"{_literal(key)}," for key in config.state_keys),
        action=_lines(f"{_literal(key)}," for key in config.action_keys),
        action_configs=_lines(_ACTION_CONFIG.format(key=_literal(key), rep=rep.upper()) for key, rep in reps),
        horizon=config.horizon,
        language=_literal(config.language_key),
        own_tag="" if config.own_tag is None else _OWN_TAG.format(tag=config.own_tag),
    )


def _literal(text: str) -> str:
    # Names come from users' files. JSON's strings are Python's, in the quotes that ruff asks for.
    return json.dumps(text, ensure_ascii=False)


def _lines(items: Iterable[str]) -> str:
    indent = " " * 12
    return "".join(f"{indent}{line}\n" for item in items for line in item.splitlines()).rstrip("\n")


_ACTION_CONFIG = """\
ActionConfig(  # {key}
    rep=ActionRepresentation.{rep},
    type=ActionType.NON_EEF,
    format=ActionFormat.DEFAULT,
),
"""

_OWN_TAG = """
# GR00T has a config of its own for this robot: to train with --embodiment-tag {tag}, leave this file out.
"""
