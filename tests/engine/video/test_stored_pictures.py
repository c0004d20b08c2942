"""Pictures that lie in the rows, PNG or JPEG, are a clip like any video, in every layout; what is none is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from conftest import convert_here, data_path
from millrace.engine.errors import EpisodesFailed
from support.synthetic import edit_column, rewrite_parquet, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (12, 9, 11)
CAMERAS = ("top", "wrist")
COLUMN = "observation.images.top"
LAYOUTS: dict[str, dict[str, Any]] = {
    "v2.0": {"version": "v2.0"},
    "v2.1": {"version": "v2.1"},
    "v3.0": {"version": "v3.0", "episodes_per_data_file": 2},
    "v3.0, cut through episodes": {"version": "v3.0", "rows_per_data_file": 10},
    "v1.6": {"version": "v1.6"},
    "v1.6, cut through episodes": {"version": "v1.6", "num_shards": 3},
    "the guide's tree, cut through episodes": {"version": "hybrid", "num_shards": 3},
}
Picture = dict[str, Any]


@pytest.mark.parametrize("picture_format", ["png", "jpeg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_right_pictures_arrive(layout: str, picture_format: Literal["png", "jpeg"], tmp_path: Path) -> None:
    pictures = {"images_as": "image", "picture_format": picture_format}
    write_dataset(tmp_path / "source", lengths=LENGTHS, cameras=CAMERAS, **pictures, **LAYOUTS[layout])
    assert not list((tmp_path / "source").rglob("*.mp4"))
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", task="Pick.", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS, cameras=CAMERAS)


def test_pictures_of_rows_that_are_searched_are_those_of_the_rows(tmp_path: Path) -> None:
    """The metadata lacks the first episode, so that each other lies further on than it makes believe."""
    source = tmp_path / "source"
    write_dataset(source, version="v3.0", lengths=LENGTHS, images_as="image", rows_per_data_file=10)
    rewrite_parquet(source / "meta/episodes/chunk-000/file-000.parquet", lambda table: table.slice(1))
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS[1:], first_episode=1)


FAULTS: dict[str, tuple[Literal["png", "jpeg"], Callable[[Picture], object], str]] = {
    "truncated PNG": ("png", lambda picture: {**picture, "bytes": picture["bytes"][:200]}, "is corrupt"),
    "truncated JPEG": ("jpeg", lambda picture: {**picture, "bytes": picture["bytes"][:-300]}, "is truncated"),
    "another format": ("png", lambda picture: {**picture, "bytes": b"GIF89a" + bytes(50)}, "is neither PNG nor JPEG"),
    "nothing": ("png", lambda picture: {**picture, "bytes": b""}, "is neither PNG nor JPEG"),
    "only the name of a file": ("png", lambda picture: {**picture, "bytes": None}, "holds no image"),
    "null": ("png", lambda picture: None, "holds no image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_that_is_none_is_named(fault: str, tmp_path: Path) -> None:
    picture_format, spoil, told = FAULTS[fault]
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS, images_as="image", picture_format=picture_format)
    edit_column(data_path(source, 1), COLUMN, lambda pictures: [*pictures[:5], spoil(pictures[5]), *pictures[6:]])
    expected = rf"^episode 1, camera top: '{COLUMN}' in row 5 of .*episode_000001\.parquet {told}"
    with pytest.raises(EpisodesFailed, match=expected):
        convert_here(source, tmp_path / "out", horizon=4)
