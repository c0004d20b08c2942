"""One camera's pictures of one episode of an HDF5 file: arrays, or a JPEG or PNG file in each row."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError
from millrace.engine.sources.episode import Flip, PixelOrder, RowRange, StoredImage
from millrace.engine.sources.hdf5.chunk_reader import read_frames, read_heap_rows
from millrace.engine.sources.hdf5.hdf5_file import Hdf5Problem, find_dataset, find_object, import_h5py, open_hdf5

if TYPE_CHECKING:
    import h5py

# Of frames that are read at once; the chunks of some files hold many.
BLOCK_BYTES = 32 << 20
CHANNELS = (1, 3, 4)
# Fewer bytes are no picture.
MIN_FILE_BYTES = 64
ImageKind = Literal["pixels", "planes", "files"]


@dataclass(frozen=True, slots=True)
class Hdf5Images:
    """A camera's pictures in one dataset.

    group: the episode's. key: of the pictures, below it. num_stored: how many there are. order: of the
    colours. root: the dataset's folder, which the file must lie in.
    """

    path: Path
    group: str
    key: str
    num_frames: int
    num_stored: int
    flip: Flip = "none"
    order: PixelOrder = "rgb"
    max_spare: int = 0
    root: Path | None = field(default=None, compare=False, repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, which is that of the rows, too."""
        return (self.path,)

    @property
    def video(self) -> None:
        """None."""
        return None

    def with_rows(self, rows: tuple[RowRange, ...]) -> "Hdf5Images":
        """The same: rows are found where they are expected."""
        return self

    def trim(self, num_frames: int, *, max_spare: int) -> "Hdf5Images":
        """The first images, of which `max_spare` more may follow."""
        return replace(self, num_frames=num_frames, max_spare=max_spare)

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        """Yield the images at `indices` (increasing, in [0, num_frames)), in order.

        Raises:
            VideoError: an image is missing or cannot be read.
            FrameCountMismatch: there are fewer or more images than frames.
        """
        with open_hdf5(self.path, self.root, error=VideoError) as file:
            images = find_images(find_object(file, self.group), self.key)
            if not self.num_frames <= len(images) <= self.num_frames + self.max_spare:
                message = f"{len(images)} images in '{images.name}' of {self.path}, expected {self.num_frames}"
                raise FrameCountMismatch(message, file=self.path, got=len(images), expected=self.num_frames)
            kind = image_kind(images)
            for index, value in _read_values(images, indices):
                where = f"image {index} of '{images.name}' in {self.path}"
                if kind == "files":
                    yield StoredImage(_file_content(value), where, self.flip, self.order)
                else:
                    yield StoredImage(_to_pixels(value, kind), where, self.flip, self.order)


def find_images(episode: "h5py.Group", key: str) -> "h5py.Dataset":
    """A dataset of pictures.

    Raises:
        Hdf5Problem: there is none, or it holds something else.
    """
    dataset = find_dataset(episode, key)
    if image_kind(dataset) is None:
        message = (
            f"'{key}' holds {dataset.dtype} of shape {list(dataset.shape or ())}, expected pictures as uint8 of shape "
            "(T, H, W, 3), or a JPEG or PNG file in each row"
        )
        raise Hdf5Problem(message, code=FaultCode.CORRUPT, got=str(dataset.dtype))
    return dataset


def image_kind(dataset: "h5py.Dataset") -> ImageKind | None:
    """How a dataset holds pictures: channels last, channels first, or as files; None: it holds none."""
    h5py = import_h5py()
    shape: tuple[int, ...] = tuple(dataset.shape or ())
    is_bytes = dataset.dtype == np.uint8
    if is_bytes and len(shape) == 4 and min(shape[1:]) > 0:
        return "pixels" if shape[3] in CHANNELS else "planes" if shape[1] in CHANNELS else None
    if is_bytes and len(shape) == 2 and shape[1] >= MIN_FILE_BYTES:
        return "files"
    is_text = dataset.dtype.kind == "S" and dataset.dtype.itemsize >= MIN_FILE_BYTES
    if len(shape) == 1 and (is_text or h5py.check_vlen_dtype(dataset.dtype) == np.uint8):
        return "files"
    return None


def image_shape(dataset: "h5py.Dataset") -> tuple[int, ...]:
    """Height, width and channels of a dataset's pictures; empty where only the files in it tell."""
    kind, shape = image_kind(dataset), tuple(map(int, dataset.shape))
    if kind == "files":
        return ()
    channels = shape[3] if kind == "pixels" else shape[1]
    return (*(shape[1:3] if kind == "pixels" else shape[2:4]), min(channels, 3))


def _read_values(images: "h5py.Dataset", indices: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Each index with its value; frames that share a chunk are read together."""
    step, held, block = _block_frames(images), -1, np.empty(0)
    for index in indices.tolist():
        if index // step != held:
            held = index // step
            block = _read_block(images, held * step, min((held + 1) * step, len(images)))
        yield index, block[index - held * step]


def _read_block(images: "h5py.Dataset", start: int, stop: int) -> NDArray[Any]:
    return (read_heap_rows if images.dtype.hasobject else read_frames)(images, start, stop)


def _block_frames(images: "h5py.Dataset") -> int:
    """Frames to read at once: those of a chunk, as far as they are small."""
    if images.chunks is None or images.dtype.hasobject:
        return 1
    num_bytes = max(1, prod(images.shape[1:]) * images.dtype.itemsize)
    return int(max(1, min(images.chunks[0], BLOCK_BYTES // num_bytes)))


def _file_content(value: Any) -> bytes:
    """A file without the zeros that fill its row; neither JPEG nor PNG ends in one."""
    return (value if isinstance(value, bytes) else value.tobytes()).rstrip(b"\0")


def _to_pixels(value: NDArray[np.uint8], kind: ImageKind | None) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 1), without transparency."""
    pixels = value if kind == "pixels" else value.transpose(1, 2, 0)
    return pixels[..., :3]
