"""A dataset that Millrace did not make, with all that GR00T's loader allows: what the loader's tests read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS, register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.stats import generate_rel_stats, generate_stats
from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig

from conftest import IMAGE_SIZE
from support.synthetic import ExtraColumn, SyntheticVideo, write_dataset
from support.synthetic_rows import write_json

HORIZON = 8
TAG = EmbodimentTag.NEW_EMBODIMENT
LENGTHS = (41, 23, 30, 5, 17, 26)  # one shorter than an action chunk
GROUPS = ("arm", "hand", "eef", "base")
JOINT = (ActionType.NON_EEF, ActionFormat.DEFAULT)
ACTIONS = {
    "arm": ActionConfig(ActionRepresentation.RELATIVE, *JOINT),
    "hand": ActionConfig(ActionRepresentation.ABSOLUTE, *JOINT),
    "eef": ActionConfig(ActionRepresentation.RELATIVE, ActionType.EEF, ActionFormat.XYZ_ROTVEC, state_key="eef"),
    "base": ActionConfig(ActionRepresentation.ABSOLUTE, *JOINT),
}
# The tasks differ after GR00T has taken punctuation and capitals away.
TASKS = [
    ("Pick up the cube.", "valid", "Lift <image-2> it!"),
    "Pour",
    "Stack, then wait",
    "Pour",
    "Wipe",
    ("Pour", "Wipe"),
]


@dataclass(frozen=True)
class Flavour:
    """How one such dataset is filmed and read."""

    video: SyntheticVideo
    language: str = "annotation.human.task"
    video_deltas: tuple[int, ...] = (0,)
    state_deltas: tuple[int, ...] = (0,)
    action_deltas: tuple[int, ...] = tuple(range(HORIZON))


FLAVOURS = {
    "h264-b-frames-task-drawn": Flavour(SyntheticVideo("libx264", gop=12, bframes=3), language="task"),
    "hevc-full-range-history": Flavour(
        SyntheticVideo("libx265", gop=10, color_range="pc", colorspace="bt709"),
        video_deltas=(-3, 0),
        state_deltas=(-1, 0),
    ),
    "h264-10-bit": Flavour(SyntheticVideo("libx264", gop=6, pix_fmt="yuv420p10le")),
    "av1-gop-2": Flavour(SyntheticVideo(height=IMAGE_SIZE, width=IMAGE_SIZE), language="task"),
}


def modality_configs(flavour: Flavour) -> dict[str, ModalityConfig]:
    """Two cameras, four joint groups, every way to normalise."""
    return {
        "video": ModalityConfig(list(flavour.video_deltas), ["wrist", "front"]),
        "state": ModalityConfig(
            list(flavour.state_deltas), list(GROUPS), sin_cos_embedding_keys=["arm"], mean_std_embedding_keys=["hand"]
        ),
        "action": ModalityConfig(
            list(flavour.action_deltas),
            list(GROUPS),
            mean_std_embedding_keys=["hand"],
            action_configs=list(ACTIONS.values()),
        ),
        "language": ModalityConfig([0], [flavour.language]),
    }


def write_foreign(root: Path, flavour: Flavour, lengths: tuple[int, ...] = LENGTHS) -> None:
    """Two episodes a chunk, cameras and groups under other names than their columns, statistics by GR00T."""
    heights = ExtraColumn(lambda episode, frames: np.sin(episode + frames / 9))
    write_dataset(
        root,
        lengths=lengths,
        fps=20,
        cameras=("cam_high", "cam_wrist"),
        video=flavour.video,
        tasks=TASKS[: len(lengths)],
        chunks_size=2,
        extra_columns={"base.height": heights, "action.base": heights},
    )
    parts = {"arm": {"start": 0, "end": 6}, "hand": {"start": 6, "end": 8}, "eef": {"start": 8, "end": 14}}
    scalar = {"start": 0, "end": 1}
    cameras = {"front": "cam_high", "wrist": "cam_wrist"}
    modality = {
        "state": {**parts, "base": {**scalar, "original_key": "base.height"}},
        "action": {**parts, "base": {**scalar, "original_key": "action.base"}},
        "video": {name: {"original_key": f"observation.images.{camera}"} for name, camera in cameras.items()},
        "annotation": {"human.task": {"original_key": "task_index"}},
    }
    write_json(root / "meta/modality.json", modality)
    generate_stats(root)
    MODALITY_CONFIGS.pop(TAG.value, None)
    register_modality_config(modality_configs(flavour), TAG)
    generate_rel_stats(root, TAG)
