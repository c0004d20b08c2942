"""Statistics are exact, over all rows of all episodes, and relative ones are what GR00T computes."""

import hashlib
import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from millrace.engine.dataset.groot_stats import RelativeGroup, compute_statistics
from millrace.engine.dataset.stats import Statistics, summarize_columns
from millrace.engine.dataset.tails import Cuts, Tails, TailStore
from millrace.engine.errors import RowsError

Values = NDArray[np.float32]
NUMBERS = st.floats(-1e6, 1e6, width=32)
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)
QUANTILES = {"q01": 0.01, "q99": 0.99}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of a property: each overwrites the last one's files."""
    return tmp_path_factory.mktemp("episodes")


def write_episodes(folder: Path, episodes: list[dict[str, Values]]) -> list[Path]:
    """A parquet file for each; matrices as lists, vectors as numbers."""
    paths = [folder / f"{number}.parquet" for number in range(len(episodes))]
    for path, columns in zip(paths, episodes, strict=True):
        pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), path)
    return paths


def expected(values: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Plain numpy over axis 0, in double precision."""
    doubles = values.astype(np.float64)
    found = {"mean": doubles.mean(0), "std": doubles.std(0), "min": doubles.min(0), "max": doubles.max(0)}
    return found | {name: np.quantile(doubles, share, axis=0) for name, share in QUANTILES.items()}


def assert_equal(found: Statistics, values: NDArray[np.floating]) -> None:
    """Up to the last digits of a float32."""
    scale = float(np.abs(values).max(initial=0)) + 1e-30
    for name, wanted in expected(values).items():
        got = np.asarray(getattr(found, name))
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-6 * scale, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), lengths=LENGTHS)
def test_statistics_are_those_of_all_rows(data: st.DataObject, lengths: list[int], folder: Path) -> None:
    episodes = [{"x": data.draw(arrays(np.float32, (length, 3), elements=NUMBERS))} for length in lengths]
    found, _ = compute_statistics(write_episodes(folder, episodes), ["x"], {}, horizon=1)
    assert_equal(found["x"], np.concatenate([episode["x"] for episode in episodes]))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), lengths=LENGTHS, horizon=st.integers(1, 12))
def test_relative_statistics_are_those_of_every_whole_chunk(
    data: st.DataObject, lengths: list[int], horizon: int, folder: Path
) -> None:
    episodes = [
        {
            "observation.state": data.draw(arrays(np.float32, (length, 5), elements=NUMBERS)),
            "action": data.draw(arrays(np.float32, (length, 4), elements=NUMBERS)),
        }
        for length in lengths
    ]
    groups = {"arm": RelativeGroup(state=slice(2, 5), action=slice(1, 4))}
    paths = write_episodes(folder, episodes)
    _, found = compute_statistics(paths, ["action"], groups, horizon=horizon)
    chunks = [
        rows["action"][start : start + horizon, 1:4] - rows["observation.state"][start, 2:5]
        for rows in episodes
        for start in range(len(rows["action"]) - horizon + 1)
    ]
    assert set(found) == ({"arm"} if chunks else set())
    if chunks:
        assert found["arm"].mean.shape == (horizon, 3)
        assert_equal(found["arm"], np.stack(chunks))


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    """A feature and a group may have one name."""
    rng = np.random.default_rng(0)
    widths = {"observation.state": 3, "action": 2}
    episodes = [
        {name: rng.normal(size=(length, width)).astype(np.float32) for name, width in widths.items()}
        for length in (9, 2, 30, 17)
    ]
    paths = write_episodes(tmp_path, episodes)
    groups = {"action": RelativeGroup(state=slice(1, 3), action=slice(0, 2))}
    one, two = (compute_statistics(paths, list(widths), groups, horizon=5, num_processes=num) for num in (1, 2))
    for expected_part, found in zip(one, two, strict=True):
        assert expected_part.keys() == found.keys()
        for name, statistics in found.items():
            assert all(
                np.array_equal(values, vars(expected_part[name])[stat]) for stat, values in vars(statistics).items()
            )
    assert_equal(two[0]["action"], np.concatenate([episode["action"] for episode in episodes]))


def write_walks(folder: Path, num_episodes: int) -> list[Path]:
    """Episodes that differ from each other, with joints at rest, and a gripper that is closed for a few frames only."""
    rng = np.random.default_rng(1)
    states = [rng.normal(size=(20 + number % 7, 6)).cumsum(axis=0) + number % 11 for number in range(num_episodes)]
    for state in states:
        state[:, 4], state[:, 5] = 1.57, 0.0
        state[:1, 5] = 1.0
    actions = [np.roll(state, -1, axis=0) for state in states]
    return write_episodes(
        folder,
        [
            {"observation.state": state.astype(np.float32), "action": action.astype(np.float32)}
            for state, action in zip(states, actions, strict=True)
        ],
    )


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_walks(tmp_path_factory.mktemp("walks"), 150)


ARM = {"arm": RelativeGroup(state=slice(0, 6), action=slice(0, 6))}


def test_of_many_episodes_a_few_numbers_are_kept_and_statistics_are_exact(walks: list[Path]) -> None:
    found, relative = compute_statistics(walks, ["observation.state"], ARM, horizon=4)
    rows = [(read_column(path, "observation.state"), read_column(path, "action")) for path in walks]
    assert_equal(found["observation.state"], np.concatenate([state for state, _ in rows]))
    chunks = [action[at : at + 4] - state[at] for state, action in rows for at in range(len(state) - 3)]
    assert_equal(relative["arm"], np.stack(chunks))


def read_column(path: Path, name: str) -> Values:
    return np.stack(pq.read_table(path).column(name).to_numpy())


def test_little_of_many_rows_is_kept_on_disk(walks: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    append = TailStore.append
    monkeypatch.setattr(TailStore, "append", lambda store, tails: (kept.append(len(tails.kept)), append(store, tails)))
    compute_statistics(walks, ["observation.state"], {}, horizon=1)
    num_numbers = sum(6 * pq.read_metadata(path).num_rows for path in walks)
    assert sum(kept) < 0.15 * num_numbers


def test_where_a_sample_misleads_all_is_read_again(walks: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, _ = compute_statistics(walks, ["observation.state"], {}, horizon=1)
    low, high = np.full(6, -1e6, np.float32), np.full(6, 1e6, np.float32)
    monkeypatch.setattr("millrace.engine.dataset.groot_stats._sample_cuts", lambda *_: Cuts(low, high))
    found, _ = compute_statistics(walks, ["observation.state"], {}, horizon=1)
    assert found["observation.state"].to_json() == wanted["observation.state"].to_json()


def test_many_episodes_have_the_same_statistics_for_any_number_of_processes(walks: list[Path]) -> None:
    one, two = (compute_statistics(walks, ["action"], ARM, horizon=4, num_processes=num) for num in (1, 2))
    for expected_part, found in zip(one, two, strict=True):
        assert content_of(found) == content_of(expected_part)


def content_of(found: dict[str, Statistics]) -> dict[str, list[bytes]]:
    return {name: [values.tobytes() for values in vars(statistics).values()] for name, statistics in found.items()}


def test_blocks_of_rows_change_nothing_but_the_last_digits(walks: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = compute_statistics(walks, ["action"], {}, horizon=1)
    monkeypatch.setattr("millrace.engine.dataset.groot_stats.BLOCK_ROWS", 100)
    found, _ = compute_statistics(walks, ["action"], {}, horizon=1)
    assert found["action"].to_json() == whole["action"].to_json()


@settings(max_examples=50, deadline=None)
@given(
    values=arrays(np.float32, st.integers(1, 60), elements=st.integers(-3, 3)),
    cuts=st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
)
def test_what_is_kept_tells_whether_it_suffices(values: Values, cuts: tuple[int, int]) -> None:
    """Where it says so, the quantiles are numpy's; where nothing is cut off, it always does."""
    for low, high in (cuts, (np.inf, -np.inf)):
        with tempfile.TemporaryFile() as file:
            store = TailStore(file, Cuts(np.array([low], np.float32), np.array([high], np.float32)))
            for block in np.array_split(values, 3):
                store.append(Tails.of([block], store.cuts))
            is_enough = bool(store.is_enough(np.array([len(values)]))[0])
            assert is_enough or np.isfinite(low)
            if is_enough:
                assert list(store.quantiles(0, len(values))) == list(np.quantile(values, [0.01, 0.99]))


def test_rows_that_were_changed_since_they_were_written_are_refused(walks: list[Path]) -> None:
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in walks[:3]]
    compute_statistics(walks[:3], ["action"], {}, horizon=1, digests=digests)
    digests[2] = digests[1]
    with pytest.raises(RowsError, match=r"2\.parquet has other content than was written to it; .*verify"):
        compute_statistics(walks[:3], ["action"], {}, horizon=1, digests=digests)


def test_numbers_count_as_vectors_of_one(tmp_path: Path) -> None:
    timestamp = (np.arange(100) / 20).astype(np.float32)
    found, _ = compute_statistics(write_episodes(tmp_path, [{"timestamp": timestamp}]), ["timestamp"], {}, horizon=1)
    assert found["timestamp"].mean.shape == (1,)
    assert_equal(found["timestamp"], timestamp[:, None])


def test_quantiles_are_exact_not_those_of_a_histogram(tmp_path: Path) -> None:
    # One far outlier would spoil any histogram over [min, max].
    values = np.concatenate([np.linspace(0, 1e-3, 10_000, dtype=np.float32), np.full(1, 1e6, np.float32)])[:, None]
    found, _ = compute_statistics(write_episodes(tmp_path, [{"x": values}]), ["x"], {}, horizon=1)
    np.testing.assert_allclose(found["x"].q99, np.quantile(values[:, 0].astype(np.float64), 0.99), rtol=1e-6)


def test_a_small_spread_far_from_zero_is_not_lost(tmp_path: Path) -> None:
    values = (4096 + np.arange(8) / 1024).astype(np.float32)[:, None]
    found, _ = compute_statistics(write_episodes(tmp_path, [{"x": values}]), ["x"], {}, horizon=1)
    np.testing.assert_allclose(found["x"].std, values.astype(np.float64).std(0), rtol=1e-6)


def test_more_rows_than_are_held_at_once_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episodes = [
        {name: rng.normal(size=(150_000, width)).astype(np.float32) for name, width in (("x", 4), ("y", 1))}
        for _ in range(6)
    ]
    found, _ = compute_statistics(write_episodes(tmp_path, episodes), ["x", "y"], {}, horizon=1)
    for name in ("x", "y"):
        assert_equal(found[name], np.concatenate([episode[name] for episode in episodes]))


def test_more_columns_than_files_may_be_open_change_nothing(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(8, 1200)).astype(np.float32)
    paths = write_episodes(tmp_path, [{"x": values}])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
    try:
        found, _ = compute_statistics(paths, ["x"], {}, horizon=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert_equal(found["x"], values)


def test_the_order_of_joints_is_kept(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    found, _ = compute_statistics(write_episodes(tmp_path, [{"x": values}]), ["x"], {}, horizon=1)
    assert found["x"].to_json()["min"] == [0.0, 1.0, 2.0]
    assert found["x"].to_json()["max"] == [9.0, 10.0, 11.0]


def test_json_holds_six_lists_of_float32s(tmp_path: Path) -> None:
    values = np.array([[0.1], [0.7]], np.float32)
    found, _ = compute_statistics(write_episodes(tmp_path, [{"x": values}]), ["x"], {}, horizon=1)
    stored = found["x"].to_json()
    assert sorted(stored) == ["max", "mean", "min", "q01", "q99", "std"]
    assert all(float(np.float32(value)) == value for values in stored.values() for value in values)


@given(values=arrays(np.float32, st.tuples(st.integers(1, 50), st.integers(1, 4)), elements=NUMBERS))
def test_an_episodes_summary_has_the_shapes_of_lerobot(values: Values) -> None:
    summary = summarize_columns(values)
    assert summary.count == [len(values)]
    wanted = expected(values)
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(getattr(summary, name), wanted[name], rtol=1e-9, atol=1e-9)


def test_a_summary_of_numbers_has_one_element_each() -> None:
    summary = summarize_columns(np.arange(5))
    assert (summary.min, summary.max, summary.mean, summary.count) == ([0], [4], [2.0], [5])
    assert all(isinstance(value, int) for value in (*summary.min, *summary.max))
