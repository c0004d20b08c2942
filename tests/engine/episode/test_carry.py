"""Columns beside state and action: carried by their rules, in both layouts, with exact statistics."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import LOCAL, convert_here, data_path, read_meta, read_table, recipe_for
from millrace.engine.convert import Summary, convert, plan_conversion
from millrace.engine.episode.carry import SourceRows, lost_values, resample_column
from millrace.engine.errors import EpisodesFailed
from millrace.engine.layout import MANIFEST
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.carried import CarriedColumn
from millrace.engine.planning.resample import frame_indices
from millrace.engine.validate import validate
from support.synthetic import ExtraColumn, edit_column, rewrite_parquet, write_dataset

LENGTHS = (41, 33)
EFFORT = tuple(f"effort_{number}" for number in range(3))
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def noise(episode: int, frames: Any, width: int) -> Any:
    return np.random.default_rng(episode).normal(size=(len(frames), width)).round(3)


COLUMNS = {
    "next.reward": ExtraColumn(lambda episode, frames: np.where(frames % 7 == 3, 1.5, 0.25).astype(np.float32)),
    "next.done": ExtraColumn(lambda episode, frames: frames == len(frames) - 1, dtype="bool"),
    # Frame 6 lies between the kept frames 5 and 8.
    "next.success": ExtraColumn(lambda episode, frames: frames == 6, dtype="bool"),
    "next.terminal": ExtraColumn(lambda episode, frames: (frames == 11).astype(np.int64), dtype="int64"),
    "dones": ExtraColumn(lambda episode, frames: (frames == 11).astype(np.uint8), dtype="uint8"),
    "contact": ExtraColumn(
        lambda episode, frames: np.stack([frames == 6, frames % 3 == 0], axis=1), dtype="bool", shape=(2,)
    ),
    "observation.effort": ExtraColumn(
        lambda episode, frames: noise(episode, frames, 3).astype(np.float32), shape=(3,), names=list(EFFORT)
    ),
    "observation.environment_state": ExtraColumn(
        lambda episode, frames: noise(episode + 9, frames, 2), dtype="float64", shape=(2,)
    ),
    "stamp_ns": ExtraColumn(lambda episode, frames: 10**18 + 20_000_001 * frames + episode, dtype="int64"),
    "phase": ExtraColumn(lambda episode, frames: ["reach" if frame < 20 else "lift" for frame in frames], "string"),
}
DROPPED = {
    "embedding": ExtraColumn(lambda episode, frames: noise(episode, frames, 600), dtype="float32", shape=(600,)),
    "annotation.human.validity": ExtraColumn(lambda episode, frames: np.zeros(len(frames), np.int64), dtype="int64"),
    "action.eef": ExtraColumn(lambda episode, frames: noise(episode, frames, 2), dtype="float32", shape=(2,)),
}


def due(name: str, episode: int, fps: int) -> Any:
    """What the source's column gives at a rate, computed row by row."""
    length = LENGTHS[episode]
    values = np.asarray(COLUMNS[name].values(episode, np.arange(length)))
    kept = frame_indices(length, source_fps=Fraction(50), target_fps=Fraction(fps)).tolist()
    spans = [values[start:stop] for start, stop in zip(kept, [*kept[1:], length], strict=True)]
    if name == "next.reward":
        return [np.float32(sum(span.tolist())) for span in spans]
    if name in ("next.done", "next.success", "next.terminal", "dones"):
        return [max(span.tolist()) for span in spans]
    if name == "contact":
        return [[any(row[side] for row in span) for side in (0, 1)] for span in spans]
    return [span[0] for span in spans]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes with all kinds of columns; not to be changed."""
    root = tmp_path_factory.mktemp("carry") / "aloha"
    write_dataset(root, version="v3.0", lengths=LENGTHS, extra_columns=COLUMNS | DROPPED)
    return root


@pytest.fixture(scope="module")
def summary(source: Path) -> Summary:
    """Of its conversion to 20 Hz, in both layouts."""
    recipe = recipe_for(source, robot="aloha", fps=20, horizon=4)
    return convert(recipe, source.parent / "out", workers=LOCAL, layouts=Layouts(("v2.1", "v3.0")))


@pytest.fixture(scope="module")
def out(source: Path, summary: Summary) -> Path:
    return source.parent / "out"


@pytest.mark.parametrize("name", COLUMNS)
def test_each_kept_frame_has_what_it_stands_for(out: Path, name: str) -> None:
    packed = pq.read_table(out.parent / "out_v30/data/chunk-000/file-000.parquet")
    expected = [np.asarray(due(name, episode, 20)).tolist() for episode in range(len(LENGTHS))]
    assert [read_table(out, episode)[name].to_pylist() for episode in range(len(LENGTHS))] == expected
    assert packed[name].to_pylist() == [*expected[0], *expected[1]]
    if name == "next.success":
        assert [sum(values) for values in expected] == [1, 1]
    if name == "next.reward":
        total = sum(COLUMNS[name].values(0, np.arange(LENGTHS[0])).tolist())
        assert sum(expected[0]) == pytest.approx(total)


def test_info_describes_them_in_both_layouts(out: Path) -> None:
    for folder in (out, out.parent / "out_v30"):
        features = read_meta(folder, "info.json")["features"]
        for name, column in COLUMNS.items():
            assert features[name] == {"dtype": column.dtype, "shape": list(column.shape), "names": column.names}
        assert not DROPPED.keys() & features.keys()


def test_statistics_of_numbers_are_exact_and_texts_have_none(out: Path) -> None:
    stats = json.loads((out.parent / "out_v30/meta/stats.json").read_text())
    rows = pq.read_table(out.parent / "out_v30/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert "phase" not in stats
    assert not any(name.startswith("stats/phase") for name in rows[0])
    for name in COLUMNS.keys() - {"phase"}:
        of_each = [np.asarray(due(name, episode, 20), np.float64) for episode in range(len(LENGTHS))]
        check_statistics(stats[name], np.concatenate(of_each))
        for row, values in zip(rows, of_each, strict=True):
            check_statistics({key: row[f"stats/{name}/{key}"] for key in stats[name]}, values)


def check_statistics(found: dict[str, Any], values: Any) -> None:
    """Compare with what numpy makes of (N,) or (N, D) values."""
    columns = values.reshape(len(values), -1)
    expected = {"min": columns.min(0), "max": columns.max(0), "mean": columns.mean(0), "std": columns.std(0)}
    expected |= {name: np.quantile(columns, share, axis=0) for name, share in QUANTILES.items()}
    assert found["count"] == [len(values)]
    for name, numbers in expected.items():
        np.testing.assert_allclose(found[name], numbers, rtol=1e-12, err_msg=name)


def test_groots_statistics_have_the_floats_and_validate_accepts_all(out: Path) -> None:
    stats = read_meta(out, "stats.json")
    floats = {name for name, column in COLUMNS.items() if "float" in column.dtype}
    assert floats == COLUMNS.keys() & stats.keys() == COLUMNS.keys() & stats["__fingerprints__"].keys()
    values = np.concatenate([due("observation.environment_state", episode, 20) for episode in range(len(LENGTHS))])
    np.testing.assert_array_equal(stats["observation.environment_state"]["max"], values.max(0).astype(np.float32))
    of_episode = read_meta(out, "episodes_stats.jsonl")[0]["stats"]
    assert (of_episode["next.done"]["min"], of_episode["next.done"]["max"]) == ([0], [1])
    for folder in (out, out.parent / "out_v30"):
        assert [problem for problem in validate(folder).problems if problem.severity == "error"] == []


def test_what_is_carried_or_left_out_is_said_with_the_reason(out: Path, summary: Summary) -> None:
    assert set(summary.carried) == set(COLUMNS)
    assert set(summary.dropped) == set(DROPPED)
    said = "\n".join(summary.notes)
    assert "the sum for 'next.reward'" in said
    assert "true where any is for 'next.done', 'next.success'" in said
    assert "'embedding' is left out: it holds 600 values a row, where 1 to 512 are carried" in said
    assert "'annotation.human.validity' is left out: it holds numbers of tasks" in said
    assert "'action.eef' is left out: it holds actions that are no part of the robot" in said
    card = (out / "README.md").read_text()
    assert "the sum for 'next.reward'" in card
    assert "aloha: column 'embedding' is left out: it holds 600 values a row" in card
    columns = json.loads((out / MANIFEST).read_text())["columns"]
    assert columns["carried"]["next.reward"] == "sum"
    assert {(left["source"], left["name"]) for left in columns["left_out"]} == {("aloha", name) for name in DROPPED}


def test_without_dropped_frames_every_bit_stays(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path, robot="same", fps="source", horizon=4)
    before = pq.read_table(source / "data/chunk-000/file-000.parquet")
    after = pa.concat_tables([read_table(tmp_path, episode) for episode in range(len(LENGTHS))])
    for name in (*COLUMNS, "action.eef"):
        assert after[name].to_pylist() == before[name].to_pylist()
        assert after[name].type == before[name].type or after[name].type.value_type == before[name].type.value_type


def test_columns_are_demanded_or_left_out_by_name(source: Path) -> None:
    def carried(**settings: Any) -> list[str]:
        plan = plan_conversion(recipe_for(source, robot="aloha", horizon=4, **settings))
        return [column.name for column in plan.job.carried]

    assert carried(columns=["phase", "next.done"]) == ["next.done", "phase"]
    assert carried(columns=[]) == []
    assert carried(without_columns=["next.reward"]) == [name for name in COLUMNS if name != "next.reward"]


@pytest.mark.parametrize("is_list", [False, True])
def test_a_short_label_that_is_lost_is_a_warning(tmp_path: Path, is_list: bool) -> None:
    label = ExtraColumn(lambda episode, frames: np.where(frames == 6, 7, 1), dtype="int64")
    write_dataset(tmp_path / "aloha", lengths=(41,), extra_columns={"event": label})
    if is_list:
        edit_column(data_path(tmp_path / "aloha", 0), "event", lambda values: [[value] for value in values])
    summary = convert_here(tmp_path / "aloha", tmp_path / "out", robot="aloha", horizon=4)
    assert set(read_table(tmp_path / "out", 0)["event"].to_pylist()) == {1}
    assert [(one.code, one.message) for one in summary.warnings if one.code == "lost-label"] == [
        ("lost-label", "column 'event' holds 7 only in frames that are not kept")
    ]


def test_a_long_label_that_is_lost_is_cut_short_in_the_warning() -> None:
    table = pa.table({"log": ["a", "x" * 5000, "a", "a", "a"]})
    rows = SourceRows(table, np.array([0, 2, 4]), "rows", Fraction(20))
    (warning,) = lost_values(rows, [CarriedColumn("log", "string", 1, None, "kept")])
    assert warning.code == "lost-label"
    assert warning.message == f"column 'log' holds '{'x' * 59}... only in frames that are not kept"


def test_an_event_in_trimmed_rows_counts(tmp_path: Path) -> None:
    done = ExtraColumn(lambda episode, frames: frames == len(frames) - 1, dtype="bool")
    write_dataset(tmp_path / "aloha", lengths=(41, 20), extra_columns={"next.done": done})
    path = tmp_path / "aloha/meta/episodes.jsonl"
    path.write_text(path.read_text().replace('"length": 41', '"length": 40'))
    convert_here(tmp_path / "aloha", tmp_path / "out", robot="aloha", horizon=4, trim_mismatch=1, episodes="0")
    assert read_table(tmp_path / "out", 0)["next.done"].to_pylist()[-2:] == [False, True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: [float("nan"), *values[1:]], "'next.reward' has 1 values that are NaN or infinite"),
        (lambda values: [None, *values[1:]], "'next.reward' has 1 null"),
        (lambda values: [str(value) for value in values], "'next.reward' holds string"),
    ],
)
def test_what_is_no_number_fails_its_episode_and_says_what_to_do(tmp_path: Path, change: Any, reason: str) -> None:
    write_dataset(tmp_path / "aloha", lengths=(12,), extra_columns={"next.reward": COLUMNS["next.reward"]})
    edit_column(data_path(tmp_path / "aloha", 0), "next.reward", change)
    with pytest.raises(EpisodesFailed, match=reason) as raised:
        convert_here(tmp_path / "aloha", tmp_path / "out", robot="aloha", horizon=4)
    assert "without_columns" in str(raised.value)


def test_texts_beyond_the_limit_fail_their_episode_and_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that repeat take few bytes in their file."""
    long = ExtraColumn(lambda episode, frames: ["x" * 500] * len(frames), dtype="string")
    write_dataset(tmp_path / "aloha", lengths=(100,), extra_columns={"log": long})
    monkeypatch.setattr("millrace.engine.sources.checked_parquet.MAX_READ_BYTES", 40_000)
    monkeypatch.setattr("millrace.engine.sources.row_stream.BATCH_ROWS", 10)
    with pytest.raises(EpisodesFailed, match=r"at most \d+ are read at a time.*without_columns=\['log'\]"):
        convert_here(tmp_path / "aloha", tmp_path / "out", robot="aloha", horizon=4)
    convert_here(tmp_path / "aloha", tmp_path / "rest", robot="aloha", horizon=4, without_columns=["log"])


def test_texts_that_are_none_fail_their_episode(tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=(12,), extra_columns={"phase": COLUMNS["phase"]})
    broken = pa.array([b"\xff"] * 12, pa.binary()).view(pa.string())
    rewrite_parquet(
        data_path(tmp_path / "aloha", 0),
        lambda table: table.set_column(table.column_names.index("phase"), "phase", broken),
    )
    with pytest.raises(EpisodesFailed, match=r"column 'phase' holds texts that are no UTF-8 .* without_columns"):
        convert_here(tmp_path / "aloha", tmp_path / "out", robot="aloha", horizon=4)


def test_truth_values_in_statistics_are_numbers_to_validate(out: Path, tmp_path: Path) -> None:
    """LeRobot 0.3.3 writes them as false and true."""
    shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns(".millrace", MANIFEST))
    file = tmp_path / "out/meta/episodes_stats.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["stats"]["next.done"] |= {"min": [False], "max": [True]}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "episode-stats-shape" not in [problem.code for problem in validate(tmp_path / "out").problems]


def test_numbers_of_the_plan_may_change_with_columns_kept(tmp_path: Path) -> None:
    names = ("next.reward", "next.done", "phase", "observation.effort")
    write_dataset(tmp_path / "aloha", lengths=(22, 20, 21), extra_columns={name: COLUMNS[name] for name in names})
    settings: dict[str, Any] = {"robot": "aloha", "horizon": 4}
    convert_here(tmp_path / "aloha", tmp_path / "due", **settings, episodes="1:3")
    convert_here(tmp_path / "aloha", tmp_path / "all", **settings)
    (tmp_path / "aloha/data/chunk-000/episode_000000.parquet").write_bytes(b"damaged")
    recipe = recipe_for(tmp_path / "aloha", **settings)
    with pytest.raises(EpisodesFailed):
        convert(recipe, tmp_path / "out", workers=LOCAL)
    convert(recipe, tmp_path / "out", workers=LOCAL, skip_bad=True)
    for episode in (0, 1):
        assert data_path(tmp_path / "out", episode).read_bytes() == data_path(tmp_path / "due", episode).read_bytes()
    assert read_meta(tmp_path / "out", "episodes_stats.jsonl") == read_meta(tmp_path / "due", "episodes_stats.jsonl")


def test_sums_beyond_the_type_are_refused_not_wrapped() -> None:
    values = np.full((4, 1), 100, np.int8)
    with pytest.raises(Exception, match="do not fit int8"):
        resample_column(values, np.array([0, 2]), "sum")
