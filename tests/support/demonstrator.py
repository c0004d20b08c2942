"""A policy that tells from the picture alone which frame of which episode it sees, and acts as was recorded there.

Ray's processes import it by name. What it adds to the recorded actions stands in its checkpoint's name: checkpoint-3
adds 0.3 to each value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from conftest import LENGTHS, matrix, read_meta, read_table
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.planning.resample import frame_indices
from millrace.train.checkpoint import Checkpoint
from millrace.train.episodes import Observations
from millrace.train.evaluate_settings import Contender, EvaluateSettings
from support.barcode import Stamp, read
from support.synthetic_rows import write_json

GROUPS = {"left_arm": 7, "left_hand": 6, "right_arm": 7}
HORIZON = 4
ROWS = {
    (episode, frame): row
    for episode, length in enumerate(LENGTHS)
    for row, frame in enumerate(frame_indices(length, source_fps=Fraction(50), target_fps=Fraction(20)).tolist())
}


@dataclass
class Demonstrator:
    """Acts as recorded, plus an offset."""

    name: str
    config: GrootConfig
    dataset: Path
    offset: float
    batch_size: int = 3

    def act(self, observations: Observations, *, seed: int) -> Mapping[str, NDArray[np.float32]]:
        seen = [read(frames[-1]) for frames in observations.images["ego_view"]]
        return {
            group: np.stack([self.chunk(stamp, group) for stamp in seen]) + np.float32(self.offset)
            for group in self.config.keys("action")
        }

    def chunk(self, stamp: Stamp, group: str) -> NDArray[np.float32]:
        actions = recorded(self.dataset, stamp.episode, "action", group)
        rows = ROWS[stamp.episode, stamp.frame] + np.array(self.config.modalities["action"].delta_indices)
        return actions[np.minimum(rows, len(actions) - 1)]

    def read_frames(self, path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack([frames[index] for index in indices])


class Confused(Demonstrator):
    """Acts on the second episode by what is no number."""

    def chunk(self, stamp: Stamp, group: str) -> NDArray[np.float32]:
        chunk = super().chunk(stamp, group)
        return np.full_like(chunk, np.nan) if stamp.episode == 1 and group == "left_hand" else chunk


def open_demonstrator(settings: EvaluateSettings, contender: Contender) -> Demonstrator:
    return _open(Demonstrator, settings, contender)


def open_confused(settings: EvaluateSettings, contender: Contender) -> Demonstrator:
    return _open(Confused, settings, contender)


def _open(kind: type[Demonstrator], settings: EvaluateSettings, contender: Contender) -> Demonstrator:
    config = Checkpoint.open(contender.name).configs[str(contender.tag)]
    return kind(contender.name, config, settings.dataset, int(contender.name.rpartition("-")[2]) / 10)


def recorded(dataset: Path, episode: int, part: str, group: str) -> NDArray[np.float32]:
    """A joint group's values in every row, read with nothing of Millrace."""
    where = read_meta(dataset, "modality.json")[part][group]
    column = {"state": "observation.state", "action": "action"}[part]
    return matrix(read_table(dataset, episode), column)[:, where["start"] : where["end"]]


def write_checkpoint(folder: Path, *, tags: tuple[str, ...] = ("new_embodiment",), **changes: Any) -> Path:
    """The small files of a checkpoint finetuned for the first of some tags; changes replace a modality's fields."""
    modalities: dict[str, dict[str, Any]] = {
        "video": {"delta_indices": [0], "modality_keys": ["ego_view"]},
        "state": {"delta_indices": [0], "modality_keys": list(GROUPS)},
        "action": {"delta_indices": list(range(HORIZON)), "modality_keys": list(GROUPS)},
        "language": {"delta_indices": [0], "modality_keys": ["annotation.human.task_description"]},
    }
    for name, change in changes.items():
        modalities[name] |= change
    groups = {group: {"min": [0.0] * width, "max": [1.0] * width} for group, width in GROUPS.items()}
    (folder / "experiment_cfg").mkdir(parents=True)
    write_json(
        folder / "processor_config.json", {"processor_kwargs": {"modality_configs": dict.fromkeys(tags, modalities)}}
    )
    write_json(folder / "statistics.json", {tag: {"state": groups, "action": groups} for tag in tags})
    run = f"data:\n  datasets:\n  - embodiment_tag: {tags[0]}\n    mix_ratio: 1.0\n"
    (folder / "experiment_cfg/conf.yaml").write_text(run)
    return folder
