"""An opened source dataset: everything that conversion needs to know before it reads a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from engine.errors import DatasetError
from engine.layout import CAMERA_PREFIX
from engine.sources.episode import BadEpisode, SourceEpisode
from engine.sources.files import LOCAL, SourceFiles

# Of a column or picture: lists of names are made for what the metadata says.
MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class Feature:
    """A column or camera as the metadata describes it; names None when it names no joints."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None

    def __post_init__(self) -> None:
        if not all(0 <= size <= MAX_SIZE for size in self.shape):
            raise DatasetError(f"a feature has the shape {list(self.shape)}, expected sizes of 0 to {MAX_SIZE}")

    @property
    def is_camera(self) -> bool:
        """Whether it is pictures rather than numbers."""
        return self.dtype in ("video", "image")


@dataclass(frozen=True)
class SourceDataset:
    """A dataset whose layout version no longer matters; layout is for display only.

    tasks: text by task index. Cameras are named by their feature without "observation.images.".
    revision: which state of the dataset this is, where its name has several. files: wherever they lie.
    bad: episodes that cannot be read, by number; none of them is among the episodes.
    """

    root: Path
    layout: str
    fps: Fraction
    robot_type: str | None
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    episodes: Sequence[SourceEpisode]
    revision: str | None = None
    files: SourceFiles = LOCAL
    bad: tuple[BadEpisode, ...] = ()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the metadata."""
        return tuple(camera_name(key) for key, feature in self.features.items() if feature.is_camera)


def camera_name(key: str) -> str:
    """A camera's name from its feature key."""
    return key.removeprefix(CAMERA_PREFIX)
