"""Which episodes share a file of a LeRobot v3.0 dataset, and what the file is called."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
MB = 1 << 20
FILES_A_CHUNK = 1000  # LeRobot's default
# LeRobot compares times in float32, to 1e-4 s: from 1024 s on neighbours lie further apart than that.
MAX_SECONDS = Fraction(1024)


@dataclass(frozen=True)
class FileSizes:
    """Bytes of a parquet file and of an mp4, at most where it has several episodes; by default LeRobot's."""

    data: int = 100 * MB
    video: int = 200 * MB


@dataclass(frozen=True)
class Load:
    """What an episode adds to a file. kind: episodes of different kinds cannot share one."""

    num_bytes: int
    seconds: Fraction = Fraction(0)
    kind: Hashable = None


@dataclass(frozen=True)
class SharedFile:
    """A file, and the episodes in it: a range of their numbers."""

    number: int
    episodes: range

    @property
    def place(self) -> dict[str, int]:
        """chunk_index and file_index, as path templates and meta/episodes name them."""
        return {"chunk_index": self.number // FILES_A_CHUNK, "file_index": self.number % FILES_A_CHUNK}

    def path(self, template: str, **names: str) -> Path:
        """Its path, relative to the dataset."""
        return Path(template.format(**self.place, **names))


def share_files(loads: Iterable[Load], *, max_bytes: int) -> list[SharedFile]:
    """Fill files with episodes in their order; a file has one at least, however large.

    Args:
        loads: What each episode adds, in the order of the episodes.
        max_bytes: Sum of the loads of a file.
    """
    starts: list[int] = []
    number, num_bytes, seconds, kind = -1, 0, Fraction(0), None
    for number, load in enumerate(loads):
        num_bytes, seconds = num_bytes + load.num_bytes, seconds + load.seconds
        if not starts or num_bytes > max_bytes or seconds > MAX_SECONDS or load.kind != kind:
            starts.append(number)
            num_bytes, seconds, kind = load.num_bytes, load.seconds, load.kind
    stops = [*starts[1:], number + 1] if starts else []
    return [SharedFile(place, range(*bounds)) for place, bounds in enumerate(zip(starts, stops, strict=True))]
