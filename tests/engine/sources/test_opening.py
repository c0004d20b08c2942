"""Opening a dataset reads its metadata and the footers of its parquet files: neither rows nor videos."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from millrace.engine.errors import DatasetError
from millrace.engine.sources import SourceDataset, open_source
from support.synthetic import blank_columns, write_dataset

LENGTHS = (12, 9, 11, 8)
OPTIONS: dict[str, dict[str, Any]] = {
    "v2.0": {"version": "v2.0"},
    "v2.1": {"version": "v2.1"},
    "v3.0": {"version": "v3.0", "episodes_per_data_file": 2, "episodes_per_video_file": 3},
    "v3.0, rows cut through episodes": {"version": "v3.0", "rows_per_data_file": 10},
    "v3.0, images in parquet": {"version": "v3.0", "images_as": "image"},
    "v1.6 of the Hub": {"version": "v1.6", "num_shards": 2},
    "v1.6, images in parquet": {"version": "v1.6", "images_as": "image"},
    "v1.6, lists of any length": {"version": "v1.6", "list_type": "variable"},
    "the guide's tree": {"version": "hybrid", "num_shards": 2},
}
# Neither of these layouts says where an episode begins, and the Hub's v1 not how long its lists are.
INDEX_READ = {layout: ("episode_index",) for layout in OPTIONS if layout.startswith(("v1.6", "the guide"))}
READ = {**INDEX_READ, "v1.6, lists of any length": ("episode_index", "observation.state", "action")}


@pytest.mark.parametrize("layout", OPTIONS)
def test_opening_reads_no_row_and_no_video(layout: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, **OPTIONS[layout])
    whole = open_source(tmp_path)
    for path in tmp_path.glob("data/**/*.parquet"):
        blank_columns(path, keep=READ.get(layout, ()))
    for path in tmp_path.glob("videos/**/*.mp4"):
        path.write_bytes(b"")
    opened = open_source(tmp_path)
    assert list(opened.episodes) == list(whole.episodes)
    assert opened.features == whole.features
    assert [episode.num_frames for episode in opened.episodes] == list(LENGTHS)


@pytest.mark.parametrize("layout", INDEX_READ)
def test_v1_is_told_by_its_column_episode_index(layout: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, **OPTIONS[layout])
    for path in tmp_path.glob("data/*.parquet"):
        blank_columns(path, keep=[name for name in READ[layout] if name != "episode_index"])
    with pytest.raises(DatasetError, match=r"\.parquet is truncated or corrupt"):
        open_source(tmp_path)


def test_v2_opens_without_its_data_folder(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, version="v2.1")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert len(open_source(tmp_path).episodes) == len(LENGTHS)


class Opened:
    """The files below a folder that Python opens while it is watched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths, self.is_watched = str(folder), [], True
        sys.addaudithook(self._note)  # for good: Python takes no hook back

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.is_watched and event == "open" and str(args[0]).startswith(self.folder):
            self.paths.append(str(args[0]).removeprefix(f"{self.folder}/"))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    watched = Opened(tmp_path)
    yield watched
    watched.is_watched = False


def test_v2_opens_three_files_however_many_episodes(tmp_path: Path, opened: Opened) -> None:
    write_dataset(tmp_path, lengths=(2,) * 30, version="v2.1", cameras=())
    opened.paths.clear()
    open_source(tmp_path)
    assert sorted(set(opened.paths)) == ["meta/episodes.jsonl", "meta/info.json", "meta/tasks.jsonl"]
    assert len(opened.paths) <= 2 * 3  # a second look tells an LFS pointer


def paths_of(source: SourceDataset) -> list[Path]:
    return [clip.path for episode in source.episodes for clip in episode.clips.values() if hasattr(clip, "path")]


def test_v3_keeps_one_path_for_all_episodes_of_a_video(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(2,) * 12, version="v3.0", episodes_per_video_file=4)
    paths = paths_of(open_source(tmp_path))
    assert len(paths) == 12
    assert len({id(path) for path in paths}) == len(set(paths)) == 3


def test_blanked_columns_cannot_be_read(tmp_path: Path) -> None:
    """What the tests above rest on."""
    write_dataset(tmp_path, lengths=LENGTHS, cameras=())
    path = next(tmp_path.glob("data/**/*.parquet"))
    num_rows = pq.read_metadata(path).num_rows
    blank_columns(path, keep=["episode_index"])
    assert pq.read_metadata(path).num_rows == num_rows
    assert len(pq.ParquetFile(path).read(["episode_index"])) == num_rows
    for column in ("action", "timestamp", "index"):
        with pytest.raises(OSError, match="deserialize"):
            pq.ParquetFile(path).read([column])
