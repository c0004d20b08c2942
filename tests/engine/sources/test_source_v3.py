"""LeRobot v3.0: rows are found by their own episode index, wherever the metadata says; what contradicts is named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from conftest import convert_here, read_meta
from millrace.engine.errors import EpisodesFailed
from millrace.engine.sources import RowRange, open_source
from millrace.engine.sources.parquet import episode_ranges
from support.synthetic import edit_column, rewrite_parquet, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (12, 9, 11, 8, 10)
META = "meta/episodes/chunk-000/file-000.parquet"
TWO_AN_EPISODE = {"episodes_per_data_file": 2}
CUT = {"rows_per_data_file": 10}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a v3.0 dataset; episodes share its one mp4."""

    def write(**options: Any) -> Path:
        write_dataset(tmp_path / "source", **{"version": "v3.0", "lengths": LENGTHS, **options})
        return tmp_path / "source"

    return write


def data_file(source: Path, number: int) -> Path:
    return source / f"data/chunk-000/file-{number:03d}.parquet"


def ranges(source: Path) -> dict[int, tuple[RowRange, ...]]:
    """Where each episode's rows really lie."""
    found: dict[int, tuple[RowRange, ...]] = {}
    for path in sorted(source.glob("data/*/*.parquet")):
        for index, rows in episode_ranges(path):
            found[index] = (*found.get(index, ()), rows)
    return found


def test_an_episode_may_lie_across_two_or_three_files(make: Make, tmp_path: Path) -> None:
    source = make(rows_per_data_file=7)
    assert [len(rows) for rows in ranges(source).values()] == [2, 2, 2, 2, 3]
    assert {episode.index: episode.rows for episode in open_source(source).episodes} == ranges(source)
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS)


@pytest.mark.parametrize("place", ["meta/episodes/episodes.parquet", "meta/episodes.parquet"])
def test_episodes_may_be_listed_in_one_file_without_chunk_folders(make: Make, place: str) -> None:
    source = make()
    expected = open_source(source).episodes
    (source / META).rename(source / place)
    (source / META).parent.rmdir()
    assert open_source(source).episodes == expected


def test_copy_beside_the_chunk_folders_lists_no_episode_twice(make: Make) -> None:
    source = make()
    shutil.copy(source / META, source / "meta/episodes/copy.parquet")
    assert [episode.index for episode in open_source(source).episodes] == list(range(len(LENGTHS)))


def count_from_each_file(source: Path) -> None:
    """dataset_from_index and dataset_to_index restart in each data file, as converters and mergers wrote them."""
    starts = {index: rows[0].start for index, rows in ranges(source).items()}

    def local(stop: bool) -> Callable[[list[int]], list[int]]:
        return lambda values: [starts[i] + (LENGTHS[i] if stop else 0) for i in range(len(values))]

    edit_column(source / META, "dataset_from_index", local(stop=False))
    edit_column(source / META, "dataset_to_index", local(stop=True))


@pytest.mark.parametrize("files", [TWO_AN_EPISODE, CUT], ids=["whole", "cut"])
def test_row_numbers_may_be_local_to_their_file(files: dict[str, int], make: Make, tmp_path: Path) -> None:
    source = make(**files)
    count_from_each_file(source)
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS)


def forget_first_episode(source: Path) -> None:
    """As after a deletion that left its rows: each other lies further on than lengths add up to."""
    rewrite_parquet(source / META, lambda table: table.slice(1))


@pytest.mark.parametrize("files", [TWO_AN_EPISODE, CUT, {}], ids=["whole", "cut", "one"])
def test_rows_are_searched_where_local_numbers_and_lengths_mislead(
    files: dict[str, int], make: Make, tmp_path: Path
) -> None:
    source = make(**files)
    count_from_each_file(source)
    forget_first_episode(source)
    really = ranges(source)
    assert all(episode.rows != really[episode.index] for episode in open_source(source).episodes)
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS[1:], first_episode=1)


def test_rows_are_found_in_files_of_another_order(make: Make, tmp_path: Path) -> None:
    """As when files were merged in another order than meta/ says."""
    source = make(**TWO_AN_EPISODE)
    data_file(source, 0).rename(tmp_path / "kept")
    data_file(source, 1).rename(data_file(source, 0))
    (tmp_path / "kept").rename(data_file(source, 1))
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS)


@pytest.mark.parametrize("name", ["task", "__index_level_0__"])
def test_tasks_are_the_index_of_a_pandas_frame_named_or_not(name: str, make: Make, tmp_path: Path) -> None:
    source = make(tasks=["fold", "lift", "fold", "stack", "lift"])
    rewrite_parquet(source / "meta/tasks.parquet", lambda table: table.rename_columns(["task_index", name]))
    assert open_source(source).tasks == {0: "fold", 1: "lift", 2: "stack"}
    convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert [line["task"] for line in read_meta(tmp_path / "out", "tasks.jsonl")] == ["fold", "lift", "stack"]


def test_rows_that_are_nowhere_are_named(make: Make, tmp_path: Path) -> None:
    source = make(**TWO_AN_EPISODE)
    rewrite_parquet(data_file(source, 1), lambda table: table.filter(pc.not_equal(table["episode_index"], 3)))
    with pytest.raises(EpisodesFailed, match=r"^episode 3: no rows of episode 3 below .*/data$"):
        convert_here(source, tmp_path / "out", horizon=4)


def test_clip_that_runs_past_its_file_is_named(make: Make, tmp_path: Path) -> None:
    source = make()
    for column in ("from_timestamp", "to_timestamp"):
        edit_column(source / META, f"videos/observation.images.top/{column}", lambda values: [s + 0.1 for s in values])
    with pytest.raises(EpisodesFailed, match=r"episode 4, camera top: 10 rows, but 5 frames in .*\.mp4 from 0\.9"):
        convert_here(source, tmp_path / "out", episodes="4", horizon=4)


def test_length_that_is_too_short_is_named(make: Make, tmp_path: Path) -> None:
    source = make()
    edit_column(source / META, "length", lambda lengths: [*lengths[:1], lengths[1] - 3, *lengths[2:]])
    told = r"^episode 1, camera top: .* which is 9\.0 frames at 50 Hz, but it has 6 rows$"
    with pytest.raises(EpisodesFailed, match=told):
        convert_here(source, tmp_path / "out", horizon=3)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("videos/observation.images.top/from_timestamp", float("nan")),
        ("videos/observation.images.top/from_timestamp", -1.0),
        ("videos/observation.images.top/file_index", None),
    ],
)
def test_metadata_of_the_wrong_kind_is_named(column: str, value: Any, make: Make) -> None:
    source = make()
    edit_column(source / META, column, lambda values: [value] * len(values))
    (fault,) = open_source(source).episodes[0].faults
    assert fault.camera == "top"
    assert f"file-000.parquet, row 0: {column}: " in fault.reason
