"""The record of one episode, which a worker sends to the driver and the ledger keeps."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, model_validator

from millrace.embodiments import Facts, FrozenModel
from millrace.embodiments.errors import list_facts
from millrace.embodiments.messages import list_parts, read_message
from millrace.engine.dataset.stats import ColumnSummary
from millrace.engine.errors import EpisodeError, FaultCode

BLOCK_BYTES = 1 << 20
# More than a camera takes in a century.
MAX_FRAMES = 1 << 41


def hash_file(path: Path) -> str:
    """A file's SHA-256, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class FileRecord(FrozenModel):
    """A finished file, its path relative to the dataset."""

    path: Path
    num_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, relative: Path) -> "FileRecord":
        """The file at a path, as it is now."""
        return cls(path=relative, num_bytes=path.stat().st_size, sha256=hash_file(path))


class SourceFile(FrozenModel):
    """A file of a source, its path relative to the source's folder; mtime_ns: its time of change."""

    path: Path
    num_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an episode was recorded first, also if it comes from a dataset that Millrace converted.

    source: a repository on the Hub, or a folder's name. digest: of that folder's metadata; None on the Hub.
    episode: its number there.
    """

    source: str
    digest: str | None
    episode: int


class EpisodeWarning(FrozenModel):
    """A warning about a converted episode.

    code: the kind, in the words of inspection's findings. camera: None where it concerns the whole episode.
    """

    code: str
    message: str
    camera: str | None = None


class Cut(FrozenModel):
    """Source frames [start, stop) that an episode of the output lacks.

    why: a still start or end, a pause within, or that their actions lie beyond the episode.
    """

    start: int = Field(ge=0)
    stop: int = Field(le=MAX_FRAMES)
    why: Literal["start", "end", "pause", "action"]

    @model_validator(mode="after")
    def _holds_frames(self) -> "Cut":
        if self.start >= self.stop:
            raise ValueError(f"[{self.start}, {self.stop}) holds no frames")
        return self

    @property
    def num_frames(self) -> int:
        """How many they are."""
        return self.stop - self.start


class EpisodeRecord(FrozenModel):
    """A converted episode.

    plan: digest of its EpisodePlan. index, first_index, tasks: its numbers in the output, which may change while
    that is not finished; tasks: with their texts, in order of appearance. files: its rows, then its clips.
    copied: cameras whose clips were not encoded again. redone: cameras whose clips a GPU should have made but the CPU
    did, and why. warnings: what is remarkable about its data. elsewhere: files in which its rows were found though
    the plan did not know of them. cuts: source frames that were left out, rising. stats: LeRobot's, by feature.
    levels: counts of its cameras' levels, where they are known, as texts (`camera_levels.py`). seconds: wall time by
    stage.
    """

    kind: Literal["done"] = "done"
    index: int
    plan: str
    binding: int
    source_episode: int
    num_source_frames: int
    num_frames: int
    first_index: int
    tasks: tuple[tuple[int, str], ...]
    files: tuple[FileRecord, ...]
    copied: tuple[str, ...] = ()
    redone: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[EpisodeWarning, ...] = ()
    elsewhere: tuple[SourceFile, ...] = ()
    cuts: tuple[Cut, ...] = ()
    stats: dict[str, ColumnSummary]
    levels: dict[str, str] = Field(default_factory=dict)
    seconds: dict[str, float]

    @property
    def key(self) -> tuple[int, int]:
        """Identifies the episode whatever its number in the output; see `EpisodePlan.key`."""
        return self.binding, self.source_episode


class EpisodeFailure(FrozenModel):
    """An episode that could not be converted; camera None: it concerns all of it.

    plan: digest of its EpisodePlan, which shows whether the episode was fixed since.
    """

    kind: Literal["failed"] = "failed"
    index: int
    plan: str
    binding: int
    source_episode: int
    camera: str | None
    code: FaultCode
    reason: Annotated[str, PlainValidator(read_message), PlainSerializer(list_parts, when_used="json")]
    facts: Annotated[Facts, PlainSerializer(list_facts, when_used="json")] = Facts()

    @property
    def key(self) -> tuple[int, int]:
        """Which episode it is; see `EpisodePlan.key`."""
        return self.binding, self.source_episode

    @property
    def error(self) -> EpisodeError:
        """The failure as an error."""
        return EpisodeError(self.source_episode, self.camera, self.reason).about(self.facts)

    def __str__(self) -> str:
        return str(self.error)


class Vacated(FrozenModel):
    """The files under a number are about to be replaced: records before this line no longer describe them."""

    kind: Literal["vacated"] = "vacated"
    index: int


class Skipped(FrozenModel):
    """All episodes that skip_bad skipped so far."""

    kind: Literal["skipped"] = "skipped"
    episodes: tuple[EpisodeFailure, ...]


LedgerLine = EpisodeRecord | EpisodeFailure | Vacated | Skipped
LEDGER_LINE: TypeAdapter[LedgerLine] = TypeAdapter(Annotated[LedgerLine, Field(discriminator="kind")])
EpisodeResult = Annotated[EpisodeRecord | EpisodeFailure, Field(discriminator="kind")]
RESULT: TypeAdapter[EpisodeRecord | EpisodeFailure] = TypeAdapter(EpisodeResult)
