"""One episode of a source dataset, in any layout."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.embodiments import Facts
from millrace.engine.errors import DatasetError, FaultCode
from millrace.engine.sources.parquet_rows import ParquetRows

# Two days at 50 Hz: metadata that says more is wrong, and memory is taken for what it says.
MAX_FRAMES = 10_000_000

# How a picture is turned to stand upright: rows from last to first, columns from last to first, or both.
Flip = Literal["none", "vertical", "horizontal", "both"]
PixelOrder = Literal["rgb", "bgr"]
# What of a picture is a camera's, where it holds the views of two beside each other.
View = Literal["all", "left", "right"]


class Rows(Protocol):
    """The rows of one open file."""

    names: list[str]
    num_rows: int

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        """Those columns, in that order, of rows [start, stop)."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows [start, stop) of one file; stop None: to its end.

    group: where in the file they lie, where it holds several episodes' rows. root: the dataset that the file must lie
    in; None where that is known. open: how its file is opened.
    """

    path: Path
    start: int = 0
    stop: int | None = None
    root: Path | None = field(default=None, compare=False, repr=False)
    open: Callable[[Path], Rows] = field(default=ParquetRows, compare=False, repr=False)
    group: str = ""

    @property
    def num_rows(self) -> int:
        """Rows of a range whose end is known."""
        assert self.stop is not None, "a range to the end of a file has no known length"
        return self.stop - self.start

    def __str__(self) -> str:
        place = f"{self.path}, '{self.group}'" if self.group else str(self.path)
        return place if self.stop is None else f"{place} [{self.start}, {self.stop})"


@dataclass(frozen=True, slots=True)
class Clip:
    """One camera's frames of one episode: a whole mp4, or a part of one.

    fps: of the file, which says where in it the clip ends. start_seconds None: the file holds this clip alone, so every
    frame in it counts. stop_seconds: where the metadata says that the clip ends; None where it does not.
    max_spare: frames that may follow in a file of its own, and are left out.
    root: the dataset that the file must lie in; None where that is known.
    """

    path: Path
    num_frames: int
    fps: Fraction
    start_seconds: float | None = None
    stop_seconds: float | None = None
    max_spare: int = 0
    root: Path | None = field(default=None, compare=False, repr=False)

    @property
    def num_stored(self) -> None:
        """None: a header tells, or the place in a shared file."""
        return None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its file."""
        return (self.path,)

    @property
    def video(self) -> "Clip":
        """Itself; images have none."""
        return self

    def with_rows(self, rows: tuple[RowRange, ...]) -> "Clip":
        """Itself: it lies in no rows."""
        return self

    def trim(self, num_frames: int, *, max_spare: int) -> "Clip":
        """Its first frames, of which `max_spare` more may follow."""
        return replace(self, num_frames=num_frames, max_spare=max_spare)


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """An image as it is stored: a PNG or JPEG file, not decoded, or pixels, (H, W, 3) or (H, W, 1) uint8.

    where: its place, for errors. flip: how it is turned to stand upright. order: of its colours, once it is decoded.
    view: what of it is used.
    """

    content: bytes | NDArray[np.uint8]
    where: str
    flip: Flip = "none"
    order: PixelOrder = "rgb"
    view: View = "all"


class Images(Protocol):
    """One camera's images of one episode, a PNG or JPEG file or an array each, wherever a format keeps them."""

    @property
    def num_frames(self) -> int:
        """Number of images."""

    @property
    def num_stored(self) -> int | None:
        """Number of images that there are; None: it shows when they are read."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files of the images; empty where they lie in the rows."""

    @property
    def video(self) -> None:
        """None: nothing can be copied, and no header tells rate or size."""

    def with_rows(self, rows: tuple[RowRange, ...]) -> "Images":
        """The same images where the episode's rows were found at another place."""

    def trim(self, num_frames: int, *, max_spare: int) -> "Images":
        """The first images, of which `max_spare` more may follow."""

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        """Yield the images at `indices` (increasing, in [0, num_frames)), in order.

        Raises:
            VideoError: an image is missing or cannot be read.
            FrameCountMismatch: there are fewer or more images than frames.
        """


# One camera's frames of one episode; engine/video/ decodes both kinds, and other modules ask for `video` at most.
Camera = Clip | Images


class Repository(Protocol):
    """Where files are fetched from that are not on this machine."""

    def fetch(self, paths: Iterable[Path]) -> None:
        """Fetch files that are not on this machine."""

    def fetch_rows(self, folder: Path) -> None:
        """Fetch all parquet files below a folder that are not on this machine."""

    def fetch_first(self, candidates: Iterable[Sequence[Path]]) -> None:
        """For each group of paths, fetch the first that the repository has, unless it is here already."""

    def has_suffix(self, suffixes: tuple[str, ...]) -> bool:
        """Whether any of its files has such a suffix, in lower case."""

    def content_state(self, path: Path) -> str:
        """Text that changes if a file's content does."""

    def holding_files(self) -> AbstractContextManager[None]:
        """Keep files that are fetched within this block on this machine until it ends; else until the process ends."""


@dataclass(frozen=True)
class SourceFault:
    """A fault of an episode that metadata alone shows; camera None: it concerns all of it. facts: see `Facts`."""

    code: FaultCode
    reason: str
    camera: str | None = None
    facts: Facts = field(default=Facts(), compare=False, repr=False)  # an episode's digest holds the others


@dataclass(frozen=True)
class BadEpisode:
    """An episode that the metadata lists but does not describe well enough to read it."""

    index: int
    fault: SourceFault


# One of each for all episodes that have none.
NO_LENGTHS: Mapping[str, int] = {}
NO_DEPTH: Mapping[str, Clip] = {}


@dataclass(frozen=True, slots=True)
class SourceEpisode:
    """Where one episode's rows and frames lie, and what is known of it before they are read.

    search: the folder of parquet files shared by several episodes, where the rows are looked for should
    `rows` turn out to be another episode's; None where the episode has a file of its own.
    repository: what its files are fetched from; None where they are here.
    max_spare: rows that may follow at its end, and are left out. trimmed: what was left out, in words.
    faults: what metadata alone shows to be wrong; a camera with a fault may have no clip.
    lengths: of the parts of its rows, where these differ. depth: clips of depth cameras, which only v3.0 keeps.
    """

    index: int
    num_frames: int
    rows: tuple[RowRange, ...]
    clips: Mapping[str, Camera]
    tasks: tuple[str, ...]
    search: Path | None = None
    repository: Repository | None = None
    faults: tuple[SourceFault, ...] = ()
    max_spare: int = 0
    trimmed: str | None = None
    lengths: Mapping[str, int] = field(default_factory=lambda: NO_LENGTHS)
    depth: Mapping[str, Clip] = field(default_factory=lambda: NO_DEPTH)

    def __post_init__(self) -> None:
        if not 0 < self.num_frames <= MAX_FRAMES:
            message = f"episode {self.index}: {self.num_frames} frames, expected 1 to {MAX_FRAMES}"
            raise DatasetError(message, episode=self.index, got=self.num_frames, expected=f"1 to {MAX_FRAMES}")

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that it is read from."""
        return tuple(self.path_texts.values())

    @property
    def path_texts(self) -> dict[str, Path]:
        """The same by their text, which the path itself would keep: of a million episodes it takes 250 MB."""
        return {str(Path(path)): path for path in self._paths(self.clips)}

    def fetch(self, cameras: Iterable[str]) -> None:
        """Fetch the files of its rows and of these cameras that are not on this machine.

        Raises:
            HubError, StoreError: one cannot be had.
        """
        if self.repository is not None:
            self.repository.fetch(self._paths(cameras))

    def holding_files(self) -> AbstractContextManager[None]:
        """Keep files that are fetched within this block on this machine until it ends."""
        return nullcontext() if self.repository is None else self.repository.holding_files()

    def _paths(self, cameras: Iterable[str]) -> Iterator[Path]:
        yield from (rows.path for rows in self.rows)
        for camera in cameras:
            yield from self.clips[camera].paths if camera in self.clips else ()
