"""The rows of one episode of an HDF5 file: vectors, each made of the values of one key or several."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.layout import ACTION, STATE
from millrace.engine.sources.episode import Rows
from millrace.engine.sources.hdf5.chunk_reader import read_frames
from millrace.engine.sources.hdf5.hdf5_file import Hdf5Problem, find_dataset, find_object, has_object, open_hdf5

if TYPE_CHECKING:
    import h5py

# Of one row: a state has a few hundred.
MAX_WIDTH = 1 << 16
NUMBER_KINDS = "biuf"


@dataclass(frozen=True)
class Hdf5Rows:
    """Opens the rows of an episode.

    group: the episode's, empty for the file's own. vectors: name of each column, and the keys of its values.
    """

    group: str
    vectors: tuple[tuple[str, tuple[str, ...]], ...]

    def __call__(self, path: Path) -> Rows:
        """Check a file; each read opens it again, so that no process hands an open file to another."""
        return _OpenRows(path, self.group, dict(self.vectors))


class _OpenRows:
    """Rows of one episode, as many as state and action both have; the columns are those that it has."""

    def __init__(self, path: Path, group: str, vectors: dict[str, tuple[str, ...]]) -> None:
        self._path, self._group, self._vectors = path, group, vectors
        with open_hdf5(path, error=RowsError) as file:
            episode = find_object(file, group)
            self._lengths = {len(find_vector(episode, key)) for column in (STATE, ACTION) for key in vectors[column]}
            self.names = [name for name, keys in vectors.items() if all(has_object(episode, key) for key in keys)]
            self.num_rows = min(self._lengths)

    def close(self) -> None:
        """Nothing is open."""

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        """Those columns of rows [start, stop), as lists of numbers."""
        with open_hdf5(self._path, error=RowsError) as file:
            episode = find_object(file, self._group)
            for name in columns:
                self._check_length(episode, name)
            arrays = [_read_vector(episode, self._vectors[name], start, stop) for name in columns]
        return pa.table(arrays, names=list(columns))

    def _check_length(self, episode: "h5py.Group", column: str) -> None:
        """Check that a column is as long as state or action."""
        for key in self._vectors[column]:
            if (number := len(find_vector(episode, key))) not in self._lengths:
                message = f"'{key}' has {number} rows, but state and action have {self.num_rows}; "
                advice = Remedy("do without that column: ", Setting("without_columns", [column]))
                raise Hdf5Problem(message, advice, code=FaultCode.ROW_COUNT, got=number, expected=self.num_rows)


def find_vector(episode: "h5py.Group", key: str) -> "h5py.Dataset":
    """A dataset of a number or a list of numbers for each frame.

    Raises:
        Hdf5Problem: there is none, or it holds something else.
    """
    dataset = find_dataset(episode, key)
    if reason := why_no_vector(dataset):
        raise Hdf5Problem(f"'{key}' {reason}", code=FaultCode.NOT_NUMBERS)
    return dataset


def why_no_vector(dataset: "h5py.Dataset") -> str | None:
    """Why a dataset does not hold numbers by frame, as words after its name; None where it does."""
    if dataset.dtype.kind not in NUMBER_KINDS or dataset.dtype.shape:
        return f"holds {dataset.dtype}, not numbers"
    if not dataset.shape:
        return "holds no list of frames"
    if not 0 < (width := prod(dataset.shape[1:])) <= MAX_WIDTH:
        return f"has {width} values a frame, expected 1 to {MAX_WIDTH}"
    return None


def _read_vector(episode: "h5py.Group", keys: tuple[str, ...], start: int, stop: int) -> pa.Array:
    parts = [_to_matrix(read_frames(find_vector(episode, key), start, stop)) for key in keys]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _to_matrix(values: NDArray[Any]) -> NDArray[Any]:
    """Values as (T, D), in a type of this machine that pyarrow holds."""
    matrix = values.reshape(len(values), -1)
    native = matrix.dtype.newbyteorder("=")
    is_usual = native.kind != "f" or native.itemsize in (4, 8)
    return matrix.astype(native if is_usual else np.float64, copy=False)
