"""What became of one episode: the line that a worker hands to the driver."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from engine.stats import Summary


class FileRecord(BaseModel):
    """A finished file, its path relative to the dataset."""

    model_config = ConfigDict(frozen=True)

    path: Path
    num_bytes: int
    sha256: str


class EpisodeRecord(BaseModel):
    """A converted episode.

    plan: digest of its EpisodePlan.
    tasks: output task indices in order of appearance. files: its rows, then its clips. copied: cameras whose
    clips were not encoded anew. stats: LeRobot's, by feature. seconds: wall time by stage.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["done"] = "done"
    index: int
    plan: str
    binding: int
    source_episode: int
    num_source_frames: int
    num_frames: int
    tasks: tuple[int, ...]
    files: tuple[FileRecord, ...]
    copied: tuple[str, ...] = ()
    stats: dict[str, Summary]
    seconds: dict[str, float]


class EpisodeFailure(BaseModel):
    """An episode that could not be converted; camera None where all of it is concerned."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["failed"] = "failed"
    index: int
    binding: int
    source_episode: int
    camera: str | None
    code: str
    reason: str

    def __str__(self) -> str:
        camera = f", camera {self.camera}" if self.camera else ""
        return f"episode {self.source_episode}{camera}: {self.reason}"


EpisodeResult = Annotated[EpisodeRecord | EpisodeFailure, Field(discriminator="kind")]
RESULT: TypeAdapter[EpisodeRecord | EpisodeFailure] = TypeAdapter(EpisodeResult)
