"""However a file keeps its pictures, the same ones come out, upright; a file that is being written is refused."""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import REPOSITORY
from millrace.engine.errors import DatasetError, VideoError
from millrace.engine.sources import open_source
from millrace.engine.sources.hdf5 import chunk_reader
from millrace.engine.video.decode import decode_clip
from support.barcode import draw
from support.synthetic import encode_picture

KEY = "observations/images/top"
PICTURES = np.stack([draw(frame, 0, 0, 64, 80) for frame in range(5)])
FILES = [np.frombuffer(encode_picture(picture), np.uint8) for picture in PICTURES]
LAYOUT = (REPOSITORY / "engine/sources/hdf5/aloha_act.yaml").read_text().replace("jpeg_order: bgr", "jpeg_order: rgb")


def store(values: NDArray[Any] = PICTURES, **options: Any) -> Callable[[h5py.File], object]:
    return lambda file: file.create_dataset(KEY, data=values, **options)


def store_heap(file: h5py.File) -> None:
    """Rows of any length."""
    rows = file.create_dataset(KEY, (len(FILES),), dtype=h5py.vlen_dtype(np.uint8))
    for number, content in enumerate(FILES):
        rows[number] = content


def store_unfiltered(file: h5py.File) -> None:
    """A writer may leave the filter out for one chunk."""
    made = file.create_dataset(KEY, data=PICTURES, chunks=(1, 64, 80, 3), compression="gzip")
    made.id.write_direct_chunk((3, 0, 0, 0), PICTURES[3].tobytes(), filter_mask=1)


STORAGE: dict[str, Callable[[h5py.File], object]] = {
    "uncompressed": store(),
    "gzip, chunks of several frames and parts of them": store(compression="gzip", chunks=(2, 17, 33, 2)),
    "gzip and shuffle, a chunk larger than the dataset": store(
        compression="gzip", shuffle=True, chunks=(7, 64, 80, 3), maxshape=(None, 64, 80, 3)
    ),
    "gzip but for one chunk": store_unfiltered,
    "lzf": store(compression="lzf", chunks=(1, 64, 80, 3)),
    "gzip with checksums": store(compression="gzip", fletcher32=True),
    "checksums alone": store(chunks=(1, 64, 80, 3), fletcher32=True),
    "four channels": store(np.concatenate([PICTURES, PICTURES[..., :1]], axis=-1)),
    "channels first": store(PICTURES.transpose(0, 3, 1, 2)),
    "PNG rows of any length": store_heap,
    "PNG rows as texts": store(np.array([content.tobytes() for content in FILES])),
    "a link within the file": lambda file: file.update({"kept": PICTURES, KEY: h5py.SoftLink("/kept")}),
}


def write(path: Path, fill: Callable[[h5py.File], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "hdf5.yaml").write_text(LAYOUT)
    with h5py.File(path, "w") as file:
        file["observations/qpos"] = np.zeros((5, 14))
        file["action"] = np.zeros((5, 14))
        fill(file)


def read(root: Path, indices: list[int]) -> NDArray[np.uint8]:
    clip = open_source(root).episodes[0].clips["top"]
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decode_clip(clip, np.array(indices))])


@pytest.mark.parametrize("how", STORAGE)
def test_pictures_are_the_same_however_they_are_kept(how: str, tmp_path: Path) -> None:
    write(tmp_path / "episode_0.hdf5", STORAGE[how])
    np.testing.assert_array_equal(read(tmp_path, [0, 3, 4]), PICTURES[[0, 3, 4]])


@pytest.mark.parametrize("values", [PICTURES, np.array([content.tobytes() for content in FILES])], ids=["raw", "PNG"])
@pytest.mark.parametrize(
    ("flip", "turned"),
    [("vertical", PICTURES[:, ::-1]), ("horizontal", PICTURES[:, :, ::-1]), ("both", PICTURES[:, ::-1, ::-1])],
)
def test_a_layout_turns_pictures(flip: str, turned: NDArray[np.uint8], values: NDArray[Any], tmp_path: Path) -> None:
    write(tmp_path / "episode_0.hdf5", store(values))
    (tmp_path / "hdf5.yaml").write_text(
        LAYOUT.replace("observations/images/*", f"{{key: observations/images/*, flip: {flip}}}")
    )
    np.testing.assert_array_equal(read(tmp_path, [1]), turned[[1]])


@pytest.mark.parametrize("where", ["all cameras", "one"])
def test_a_layout_swaps_the_colours_of_arrays(where: str, tmp_path: Path) -> None:
    write(tmp_path / "episode_0.hdf5", store(PICTURES[..., ::-1]))
    own = {
        "all cameras": LAYOUT + "color_order: bgr\n",
        "one": LAYOUT.replace("observations/images/*", "{key: observations/images/*, color_order: bgr}"),
    }
    (tmp_path / "hdf5.yaml").write_text(own[where])
    np.testing.assert_array_equal(read(tmp_path, [1, 2]), PICTURES[[1, 2]])


def test_checksums_without_compression_add_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that is stored as it is takes its own size, however large it is."""
    write(tmp_path / "episode_0.hdf5", store(chunks=(5, 64, 80, 3), fletcher32=True))
    monkeypatch.setattr(chunk_reader, "MAX_READ_BYTES", 1 << 20)
    np.testing.assert_array_equal(read(tmp_path, [0, 4]), PICTURES[[0, 4]])


def test_a_chunk_that_is_damaged_is_named(tmp_path: Path) -> None:
    def damage(file: h5py.File) -> None:
        made = file.create_dataset(KEY, data=PICTURES, chunks=(1, 64, 80, 3), compression="gzip", fletcher32=True)
        made.id.write_direct_chunk((3, 0, 0, 0), made.id.read_direct_chunk((2, 0, 0, 0))[1][:-4] + b"\0\0\0\0")

    write(tmp_path / "episode_0.hdf5", damage)
    with pytest.raises(VideoError, match=r"episode_0\.hdf5 "):
        read(tmp_path, [0, 3])


def test_a_filter_that_cannot_be_bounded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "episode_0.hdf5", store(compression="lzf", chunks=(5, 64, 80, 3)))
    monkeypatch.setattr(chunk_reader, "MAX_READ_BYTES", 1 << 20)
    with pytest.raises(VideoError, match=r"takes up to \d+ bytes \(88 times as many\), at most 1048576 .*h5repack"):
        read(tmp_path, [0])


def test_a_file_that_is_being_written_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "episode_0.hdf5", store())
    with (tmp_path / "episode_0.hdf5").open("rb+") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)  # as the library does
        with pytest.raises(DatasetError, match=r"episode_0.hdf5 is open for writing; close it there"):
            open_source(tmp_path)
    (tmp_path / "episode_0.hdf5").chmod(0o444)
    assert open_source(tmp_path).episodes[0].num_frames == 5
