"""Subtasks and language of LeRobot: numbered again and merged, at their times, with the output's names of cameras."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import IMAGE_SIZE, LOCAL, convert_here, read_meta, read_table
from millrace.engine.convert import Summary, convert, plan_conversion
from millrace.engine.errors import EpisodesFailed
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.resample import frame_indices
from millrace.engine.sources import open_source
from support.synthetic import ExtraColumn, edit_column, edit_json, rewrite_parquet, write_dataset

TOP, WRIST = "observation.images.top", "observation.images.wrist"
SUBTASKS = {"a": ["reach", "lift"], "b": ["lift", "place"]}
LENGTHS = (41, 22)
ROWS = "data/chunk-000/file-000.parquet"
CALL = {"type": "function", "function": {"name": "say", "arguments": {"text": "Hello."}}}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def subtask(episode: int, frames: Any) -> Any:
    return np.where(frames < 4, -1, np.where(frames < 10, 1, 0))


def persistent(episode: int) -> list[dict[str, Any]]:
    """What is said in every row of an episode."""
    texts = [("subtask", f"reach {episode}", 0.0), ("subtask", "lift", 0.2), ("plan", "carry", 0.28)]
    said = [{"role": "assistant", "content": text, "style": style, "timestamp": time} for style, text, time in texts]
    return [{**one, "camera": None, "tool_calls": None} for one in said]


def events(frame: int) -> list[dict[str, Any]]:
    """Something said at frame 6, which is dropped at 20 Hz, two things at 8, one of another camera at 12."""
    spoken = {"role": "assistant", "content": None, "style": None, "camera": None, "tool_calls": [CALL]}
    asked = {"role": "user", "content": "Where?", "style": "vqa", "camera": TOP, "tool_calls": None}
    return {6: [spoken], 8: [asked, spoken], 12: [{**asked, "camera": WRIST}]}.get(frame, [])


def write_source(root: Path, subtasks: list[str], *, says: bool = True) -> None:
    column = ExtraColumn(subtask, dtype="int64")
    options: dict[str, Any] = {
        "lengths": LENGTHS,
        "cameras": ("top", "wrist"),
        "extra_columns": {"subtask_index": column},
    }
    write_dataset(root, version="v3.0", **options)
    numbers = {"subtask_index": pa.array(range(len(subtasks)), pa.int64()), "subtask": pa.array(subtasks)}
    pq.write_table(pa.table(numbers), root / "meta/subtasks.parquet")
    if says:
        rewrite_parquet(root / ROWS, _add_language)
        feature = {"dtype": "language", "shape": [1], "names": None}
        names = ("language_persistent", "language_events")
        edit_json(root / "meta/info.json", lambda info: info["features"].update(dict.fromkeys(names, feature)))
        edit_json(root / "meta/info.json", lambda info: info.update(tools=[tool("say"), tool(root.name), "damaged"]))


def _add_language(table: pa.Table) -> pa.Table:
    always = pa.array([persistent(episode) for episode in table["episode_index"].to_pylist()])
    at_times = pa.array([events(frame) for frame in table["frame_index"].to_pylist()])
    return table.append_column("language_persistent", always).append_column("language_events", at_times)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources whose lists of subtasks differ; not to be changed."""
    folder = tmp_path_factory.mktemp("words")
    for name, subtasks in SUBTASKS.items():
        write_source(folder / name, subtasks)
    return folder


@pytest.fixture(scope="module")
def summary(root: Path) -> Summary:
    """Of both sources in one dataset at 20 Hz, in both layouts, the camera top as front."""
    sources = [{"path": root / name, "cameras": {"front": "top"}, "episodes": "0"} for name in SUBTASKS]
    settings = {"robot": "aloha", "horizon": 4, "image_size": IMAGE_SIZE, "without_cameras": ["wrist"]}
    recipe = Recipe.model_validate({"sources": sources, **settings})
    return convert(recipe, root / "out", workers=LOCAL, layouts=Layouts(("v2.1", "v3.0")))


@pytest.fixture(scope="module")
def packed(root: Path, summary: Summary) -> pa.Table:
    return pq.read_table(root / "out_v30" / ROWS)


def kept_frames() -> list[int]:
    return frame_indices(LENGTHS[0], source_fps=Fraction(50), target_fps=Fraction(20)).tolist()


def test_subtasks_of_both_sources_are_one_list(root: Path, packed: pa.Table) -> None:
    table = pq.read_table(root / "out_v30/meta/subtasks.parquet")
    listed = table["subtask"].to_pylist()
    assert listed == ["reach", "lift", "place"]
    assert table["subtask_index"].to_pylist() == [0, 1, 2]
    assert b'"index_columns": ["subtask"]' in table.schema.metadata[b"pandas"]
    theirs = [subtask(0, np.array(kept_frames())).tolist()] * 2
    due = [
        None if number < 0 else SUBTASKS[name][number] for name, row in zip("ab", theirs, strict=True) for number in row
    ]
    assert [None if number < 0 else listed[number] for number in packed["subtask_index"].to_pylist()] == due
    assert open_source(root / "out").subtasks == open_source(root / "out_v30").subtasks == dict(enumerate(listed))


def test_what_is_said_of_the_episode_keeps_its_times(packed: pa.Table) -> None:
    for said, episode in zip(
        packed["language_persistent"].to_pylist(), packed["episode_index"].to_pylist(), strict=True
    ):
        assert episode in (0, 1)
        due = [{**one, "timestamp": np.float32(one["timestamp"])} for one in persistent(0)]
        assert said == due


def test_what_is_said_at_a_dropped_frame_is_not_lost(packed: pa.Table) -> None:
    frames, said = kept_frames(), packed["language_events"].to_pylist()
    for start in (0, len(frames)):
        found = {frame: row for frame, row in zip(frames, said[start:], strict=False) if row}
        assert list(found) == [5, 8]
        assert found[5][0]["tool_calls"] == [
            '{"type": "function", "function": {"name": "say", "arguments": {"text": "Hello."}}}'
        ]
        assert [(one["content"], one["camera"]) for one in found[8]] == [
            ("Where?", "observation.images.front"),
            (None, None),
        ]


def test_the_tools_of_both_sources_are_declared(root: Path, summary: Summary) -> None:
    for name in ("out", "out_v30"):
        assert read_meta(root / name, "info.json")["tools"] == [tool("say"), tool("a"), tool("b")]


def test_what_is_said_of_a_camera_that_is_left_out_is_told(summary: Summary) -> None:
    told = [(one.code, one.message) for one in summary.warnings if one.code == "lost-language"]
    message = "column 'language_events' says 1 things about cameras that the output lacks; they are left out"
    assert told == [("lost-language", message)] * 2
    assert any("such as boxes, stay those of the source's pictures" in note for note in summary.notes)


def test_what_was_written_is_a_source_again(root: Path, packed: pa.Table, tmp_path: Path) -> None:
    for name in ("out", "out_v30"):
        again = tmp_path / name
        settings: dict[str, Any] = {"robot": "same", "fps": "source", "image_size": IMAGE_SIZE, "horizon": 4}
        convert(Recipe.single(root / name, **settings), again, workers=LOCAL, layouts=Layouts(("v3.0",)))
        table = pq.read_table(again / ROWS)
        for column in ("language_persistent", "language_events", "subtask_index"):
            assert table[column].to_pylist() == packed[column].to_pylist()


def test_stretched_time_moves_what_is_said(root: Path, tmp_path: Path) -> None:
    convert_here(root / "a", tmp_path / "out", robot="aloha", horizon=4, resample="linspace", episodes="0")
    table = read_table(tmp_path / "out", 0)
    frames = frame_indices(LENGTHS[0], source_fps=Fraction(50), target_fps=Fraction(20), resampler="linspace")
    due = np.interp(0.28, frames / 50, np.arange(len(frames)) / 20)
    assert f'"timestamp": {due:.4f}'[:18] in table["language_persistent"][0].as_py()


def test_numbers_without_a_list_are_not_merged(root: Path, tmp_path: Path) -> None:
    write_source(tmp_path / "c", ["reach"], says=False)
    (tmp_path / "c/meta/subtasks.parquet").write_bytes(b"damaged")
    sources = [{"path": root / "a"}, {"path": tmp_path / "c"}]
    plan = plan_conversion(Recipe.model_validate({"robot": "aloha", "horizon": 4, "sources": sources}))
    reasons = {(Path(left.source).name, left.name): left.reason for left in plan.left_out}
    assert reasons["c", "subtask_index"] == "numbers subtasks, which no file of meta/ lists"
    alone = plan_conversion(Recipe.single(tmp_path / "c", robot="aloha", horizon=4))
    assert [column.name for column in alone.job.carried] == ["subtask_index"]


def test_a_number_that_the_list_lacks_fails_its_episode(tmp_path: Path) -> None:
    write_source(tmp_path / "a", ["reach", "lift"], says=False)
    edit_column(tmp_path / "a" / ROWS, "subtask_index", lambda numbers: [7, *numbers[1:]])
    with pytest.raises(EpisodesFailed, match=r"subtask_index \[7\] in .* names no subtask that the metadata lists"):
        convert_here(tmp_path / "a", tmp_path / "out", robot="aloha", horizon=4)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("hello", "a row is no list of what is said|Expecting value"),
        ('[{"role": "user", "content": 7}]', "content is 7"),
        ('[{"role": "user", "timestamp": NaN}]', "a timestamp is not finite"),
        (f'[{{"role": "user", "timestamp": 1{"0" * 400}}}]', "a timestamp is not finite"),
        ('[{"role": "user", "timestamp": 1e39}]', "a timestamp is not finite"),
        ("[" * 100_000, "recursion|Expecting value"),
    ],
)
def test_what_is_no_language_fails_its_episode(tmp_path: Path, said: str, reason: str) -> None:
    column = ExtraColumn(lambda episode, frames: [said] * len(frames), dtype="string")
    write_dataset(tmp_path / "a", lengths=(12,), extra_columns={"language_persistent": column})
    with pytest.raises(EpisodesFailed, match=reason) as raised:
        convert_here(tmp_path / "a", tmp_path / "out", robot="aloha", horizon=4)
    assert "without_columns" in str(raised.value)
