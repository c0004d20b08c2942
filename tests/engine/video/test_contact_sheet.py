"""A contact sheet shows the pictures of the right frames, episodes and cameras."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from conftest import video_path
from millrace.embodiments.errors import MillraceError
from millrace.engine.inspection import (
    make_contact_sheet,
)
from support.barcode import Stamp, read
from support.synthetic import (
    rewrite_parquet,
    truncate_file,
    write_dataset,
)


def decode_png(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        image: NDArray[np.uint8] = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)
    return image


def cells(sheet: NDArray[np.uint8], *, num_pictures: int) -> Iterator[list[NDArray[np.uint8]]]:
    """The pictures of each row of a sheet, parted by its background."""
    is_row = (sheet != sheet[0, 0]).any(axis=(1, 2))
    starts = np.flatnonzero(np.diff(is_row.astype(int)) == 1) + 1
    for start in starts:
        row = sheet[start : start + 120]
        is_column = (row != sheet[0, 0]).any(axis=(0, 2))
        edges = np.flatnonzero(np.diff(is_column.astype(int))) + 1
        assert len(edges) == 2 * num_pictures
        yield [row[:, left:right] for left, right in edges.reshape(-1, 2)]


def test_contact_sheet_shows_every_camera_of_some_episodes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(9, 21, 30), cameras=("top", "wrist"))
    sheet = make_contact_sheet(tmp_path / "source", tmp_path / "sheet.png", max_episodes=2, num_images=5)
    assert (sheet.episodes, sheet.cameras) == ((0, 2), ("top", "wrist"))
    rows = list(cells(decode_png(tmp_path / "sheet.png"), num_pictures=5))
    stamps = [[read(picture) for picture in row] for row in rows]
    assert stamps == [
        [Stamp(frame, episode, camera) for frame in np.linspace(0, length - 1, 5).round().astype(int)]
        for episode, length in ((0, 9), (2, 30))
        for camera in (0, 1)
    ]


def test_contact_sheet_shows_the_right_episode_of_rows_that_lie_elsewhere(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=(9, 21), images_as="image")
    # Another order in the file than in meta/episodes.
    path = tmp_path / "data/chunk-000/file-000.parquet"
    rewrite_parquet(path, lambda table: pa.concat_tables([table.slice(9), table.slice(0, 9)]))
    make_contact_sheet(tmp_path, tmp_path / "sheet.png", num_images=3)
    rows = list(cells(decode_png(tmp_path / "sheet.png"), num_pictures=3))
    assert [[read(picture) for picture in row] for row in rows] == [
        [Stamp(frame, 0, 0) for frame in (0, 4, 8)],
        [Stamp(frame, 1, 0) for frame in (0, 10, 20)],
    ]


def test_contact_sheet_is_made_of_what_can_be_read(root: Path) -> None:
    truncate_file(video_path(root, 1), 0.5)
    make_contact_sheet(root, root / "sheet.png", num_images=4)
    good, bad, _ = cells(decode_png(root / "sheet.png"), num_pictures=4)
    assert np.ptp(bad[0], axis=(0, 1)).max() == 0
    assert np.ptp(good[0], axis=(0, 1)).max() > 100


def test_contact_sheet_without_cameras_or_folder_is_an_error(pristine: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "blind", lengths=(9,), cameras=())
    with pytest.raises(MillraceError, match="no camera"):
        make_contact_sheet(tmp_path / "blind", tmp_path / "sheet.png")
    with pytest.raises(MillraceError, match="cannot be written"):
        make_contact_sheet(pristine, tmp_path / "nowhere/sheet.png")
