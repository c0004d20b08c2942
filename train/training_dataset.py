"""What training reads of a GR00T dataset's meta/: where episodes lie, and which values are which."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from millrace.embodiments import unknown_name
from millrace.engine.dataset.metadata import JointSlice, Metadata, ModalityFile
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.validate.info import template_problems
from millrace.train.errors import TrainError


class TrainingDataError(TrainError):
    """A dataset lacks something that training needs of it; the message says which dataset, and where in it."""


@dataclass(frozen=True, eq=False)
class TrainingDataset:
    """A dataset on disk as training sees it: paths and names, no rows and no pictures."""

    root: Path
    metadata: Metadata
    modality: ModalityFile

    @classmethod
    def open(cls, root: str | Path) -> "TrainingDataset":
        """Read meta/, but for statistics.

        Raises:
            TrainingDataError: a file is missing or malformed; `millrace validate` tells all that is wrong.
        """
        folder = Path(root)
        metadata, problems = read_metadata(folder)
        if metadata is not None and metadata.modality is not None:
            problems = list(template_problems(metadata))
            if not problems:
                return cls(folder, metadata, metadata.modality)
        raise TrainingDataError(f"{folder}: {problems[0]}")

    @cached_property
    def lengths(self) -> Mapping[int, int]:
        """Rows of each episode, as episodes.jsonl promises them."""
        return dict(zip(self.metadata.indices.tolist(), self.metadata.lengths.tolist(), strict=True))

    def rows_path(self, episode: int) -> Path:
        """The episode's parquet file."""
        return self.root / self.metadata.data_path(episode)

    def video_path(self, episode: int, camera: str) -> Path:
        """The episode's mp4 of a camera, as modality.json names it."""
        cameras = self.modality.cameras
        if camera not in cameras:
            raise unknown_name(camera, f"camera of {self.root}", cameras)
        return self.root / self.metadata.video_path(episode, cameras[camera])

    def joint_slice(self, modality: str, group: str) -> JointSlice:
        """Where a joint group lies; modality is "state" or "action"."""
        groups = self.modality.groups[modality]
        if group not in groups:
            raise unknown_name(group, f"{modality} group of {self.root}", groups)
        return groups[group]

    def annotation_column(self, key: str) -> str:
        """The column of task indices behind a language key such as "annotation.human.task_description"."""
        annotations = {f"annotation.{name}": column for name, column in self.modality.annotations.items()}
        if key not in annotations:
            raise unknown_name(key, f"annotation of {self.root}", annotations)
        return annotations[key]

    def task(self, task_index: int) -> str:
        """The text of a task."""
        tasks = self.metadata.tasks or {}
        if task_index not in tasks:
            raise TrainingDataError(f"{self.root}: task_index {task_index} is not in meta/tasks.jsonl")
        return tasks[task_index]
