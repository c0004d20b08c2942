"""HDF5 files that are small and would fill the memory or never end are read within their bounds, or refused."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from millrace.engine.errors import DatasetError, UnknownLayout, VideoError
from millrace.engine.sources import open_source
from millrace.engine.sources.hdf5 import chunk_reader
from millrace.engine.sources.hdf5.hdf5_file import Hdf5Problem, read_attribute
from millrace.engine.sources.hdf5.hdf5_survey import survey_file
from millrace.engine.video.decode import decode_clip
from support.synthetic_hdf5 import write_demos

KEY = "observations/images/top"
ANY_LENGTH = h5py.vlen_dtype(np.uint8)


def test_a_group_that_many_links_lead_to_is_entered_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = np.zeros((4, 7))
        for name in ("left", "right", "top"):
            file[name] = file["/"]
    with pytest.raises(UnknownLayout, match=r"it holds x \[4, 7\] float64; "):
        open_source(tmp_path)
    assert list(survey_file(tmp_path / "run.h5", tmp_path).keys) == ["x"]


@pytest.mark.parametrize("is_fixed", [True, False], ids=["fixed length", "any length"])
def test_lists_of_splits_are_bounded(is_fixed: bool, tmp_path: Path) -> None:
    write_demos(tmp_path / "demo.hdf5", "robomimic", {0: 2})
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        if is_fixed:
            file.create_dataset("mask/train", (1000,), "S100000")  # never written, 100 MB once it is read
        else:
            file["mask/train"] = ["x" * (1 << 20)] * 17
    with pytest.raises(DatasetError, match=r"the names in '/mask/train' take \d+ bytes or more, at most 16777216"):
        open_source(tmp_path)


def make_rows(file: h5py.File, length: int, **options: Any) -> h5py.Dataset:
    return file.create_dataset(KEY, (5,), ANY_LENGTH, maxshape=(None,), chunks=(length,), compression="gzip", **options)


def write_stream(file: h5py.File) -> None:
    """2 kB that inflate to 2 MB, of references to files that there are not."""
    make_rows(file, 5).id.write_direct_chunk((0,), zlib.compress(bytes(2 << 20)))


ROWS: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "a declared size": (lambda file: make_rows(file, 1 << 26), "a chunk of '.*' takes 536870912 bytes"),
    "a stream": (write_stream, r"uncompressed it takes up to \d+ bytes \(1032 times as many\)"),
    "nothing": (lambda file: make_rows(file, 5), "were never written"),
}


@pytest.mark.parametrize("what", ROWS)
def test_chunks_of_files_of_any_length_are_bounded(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, reason = ROWS[what]
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["observations/qpos"] = file["action"] = np.zeros((5, 14))
        fill(file)
    monkeypatch.setattr(chunk_reader, "MAX_READ_BYTES", 1 << 20)
    with pytest.raises(VideoError, match=f"episode_0.hdf5: .*{reason}"):
        list(decode_clip(open_source(tmp_path).episodes[0].clips["top"], np.array([0])))


def test_an_attribute_of_many_texts_is_bounded(tmp_path: Path) -> None:
    """All texts may be one, as long as the file."""
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs["few"] = ["waist", "elbow"]
        file["filler"] = np.zeros(1 << 20, np.uint8)
        file.attrs["many"] = ["joint"] * 1100
    with h5py.File(tmp_path / "run.h5") as file:
        assert read_attribute(file, "few") == ["waist", "elbow"]
        with pytest.raises(Hdf5Problem, match=r"attribute 'many' may take \d+ bytes, at most 1073741824 are read"):
            read_attribute(file, "many")
