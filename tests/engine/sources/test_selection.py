"""A selection gives the episodes it names, in its order, or says which it does not and how many there are."""

from pathlib import Path

import pytest

from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.sources import SourceDataset, open_source
from millrace.engine.sources.selection import select_episodes
from support.synthetic import edit_jsonl, write_dataset


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceDataset:
    """Episodes 0 to 4."""
    root = tmp_path_factory.mktemp("selection")
    write_dataset(root, lengths=(2,) * 5, cameras=())
    return open_source(root)


@pytest.fixture
def with_holes(tmp_path: Path) -> SourceDataset:
    """Episodes 0, 2 and 4."""
    write_dataset(tmp_path, lengths=(2,) * 5, cameras=())
    edit_jsonl(tmp_path / "meta/episodes.jsonl", lambda rows: rows[::2])
    return open_source(tmp_path)


def selected(source: SourceDataset, selection: str | None) -> list[int]:
    return [episode.index for episode in select_episodes(source, selection)]


@pytest.mark.parametrize(
    ("selection", "episodes"),
    [
        (None, [0, 1, 2, 3, 4]),
        (":", [0, 1, 2, 3, 4]),
        ("0:5", [0, 1, 2, 3, 4]),
        ("1:3", [1, 2]),
        ("3:", [3, 4]),
        (":2", [0, 1]),
        ("4", [4]),
        ("4, 0, 1:3", [4, 0, 1, 2]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("1-1, 3-4", [1, 3, 4]),
        ("-3:", [2, 3, 4]),
        (":-3", [0, 1]),
        ("-4:-2", [1, 2]),
        ("-1, 0", [4, 0]),
    ],
)
def test_episodes_come_in_the_order_of_the_selection(
    source: SourceDataset, selection: str | None, episodes: list[int]
) -> None:
    assert selected(source, selection) == episodes


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ("5", r"^episodes=5: \S+ has no episode 5; it has 5, the last is 4$"),
        ("0:2,7", r"^episodes=7: \S+ has no episode 7; it has 5, the last is 4$"),
        ("1:100", r"^episodes='1:100': \S+ has no episode 99; it has 5, the last is 4\. A range without an end"),
        ("0:6", r"^episodes='0:6': \S+ has no episode 5; it has 5, the last is 4\. A range without an end"),
        ("0,9:", r"^episodes='9:': \S+ has no episode 9; it has 5, the last is 4\. A range without an end"),
        (":100", r"^episodes=':100': \S+ has no episode 99; it has 5"),
        ("0-5", r"^episodes='0-5': \S+ has no episode 5; it has 5, the last is 4\. A range without an end"),
        ("-6:", r"^episodes='-6:': \S+: there are only 5 episodes, none is at -6$"),
    ],
)
def test_what_lies_past_the_end_is_an_error_that_says_where_it_is(
    source: SourceDataset, selection: str, told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        selected(source, selection)


@pytest.mark.parametrize(("selection", "episode"), [("3,3", 3), ("0:4,2", 2), ("2,0:4", 2), (":3,1:", 1)])
def test_naming_an_episode_twice_is_an_error(source: SourceDataset, selection: str, episode: int) -> None:
    with pytest.raises(RecipeError, match=f"^episodes='{selection}' names episode {episode} twice$"):
        selected(source, selection)


@pytest.mark.parametrize("selection", ["2:1", "2:2", "0:0", ":0", "4,3:1"])
def test_a_range_of_nothing_is_an_error(source: SourceDataset, selection: str) -> None:
    with pytest.raises(RecipeError, match=r"^episodes='\d?:\d' selects none of the 5 episodes of "):
        selected(source, selection)


def test_numbers_left_out_are_no_error_within_a_range(with_holes: SourceDataset) -> None:
    assert selected(with_holes, "0:5") == [0, 2, 4]
    assert selected(with_holes, "1:3") == [2]
    assert selected(with_holes, "-2:") == [2, 4]
    assert selected(with_holes, "-2,:-2") == [2, 0]


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ("3", "has no episode 3; it has 3, the last is 4$"),
        ("0:6", "has no episode 5; it has 3, the last is 4"),
        ("1:2", "^episodes='1:2' selects none of the 3 episodes of "),
    ],
)
def test_numbers_left_out_cannot_be_named(with_holes: SourceDataset, selection: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        selected(with_holes, selection)


def test_errors_say_which_option_they_are_about(source: SourceDataset) -> None:
    with pytest.raises(RecipeError, match=r"^holdout=9: \S+ has no episode 9"):
        select_episodes(source, "9", setting="holdout")
    with pytest.raises(RecipeError, match=r"^holdout: episodes are given as A:B"):
        select_episodes(source, "all", setting="holdout")


@pytest.mark.parametrize("selection", [None, "0", ":"])
def test_a_dataset_without_episodes_is_told(tmp_path: Path, selection: str | None) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=())
    edit_jsonl(tmp_path / "meta/episodes.jsonl", lambda rows: [])
    with pytest.raises(DatasetError, match=r"has no episodes$"):
        selected(open_source(tmp_path), selection)
