"""Which task an episode's rows get: their own, the one of the metadata, or the recipe's where none is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import LOCAL, data_path, files_of, read_meta, read_table
from millrace.cli import main
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import EpisodesFailed, RecipeError
from millrace.engine.inspection import inspect_dataset
from millrace.engine.planning.recipe import Recipe, SourceSpec
from millrace.engine.planning.tasks import episode_tasks
from millrace.engine.sources import SourceDataset, SourceEpisode, open_source
from support.synthetic import SyntheticVideo, edit_column, edit_json, edit_jsonl, rewrite_parquet, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
LENGTHS = (12, 9, 11)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4, "image_size": 64}


def write(root: Path, **options: Any) -> Path:
    write_dataset(root, **{"lengths": LENGTHS, "video": SMALL, **options})
    return root


def recipe(source: Path, **settings: Any) -> Recipe:
    return Recipe.single(source, **{**SETTINGS, **settings})


def forget_task_index(root: Path) -> None:
    """Rows that do not say which task they are of."""
    for path in root.glob("data/*/*.parquet"):
        rewrite_parquet(path, lambda rows: rows.drop_columns(["task_index"]))

    def forget(info: dict[str, Any]) -> dict[str, Any]:
        features = {name: feature for name, feature in info["features"].items() if name != "task_index"}
        return {**info, "features": features}

    edit_json(root / "meta/info.json", forget)


def list_tasks(root: Path, *tasks: Any) -> None:
    """What episodes.jsonl says of each episode."""
    edit_jsonl(
        root / "meta/episodes.jsonl",
        lambda lines: [{**line, "tasks": task} for line, task in zip(lines, tasks, strict=True)],
    )


def texts_of(out: Path, episode: int) -> list[str]:
    """The texts of an output episode's rows, each once."""
    texts = {line["task_index"]: line["task"] for line in read_meta(out, "tasks.jsonl")}
    return [texts[index] for index in dict.fromkeys(read_table(out, episode)["task_index"].to_pylist())]


def test_several_tasks_and_no_row_that_tells_are_ambiguous(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    forget_task_index(source)
    list_tasks(source, ["pick"], ["pick", "place"], ["pick"])
    told = r"lists 2 tasks for episode 1, 'pick', 'place', and no column task_index says .*: task="
    with pytest.raises(RecipeError, match=told):
        plan_conversion(recipe(source))
    plan = plan_conversion(recipe(source, task="Sort."))
    assert [episode.tasks for episode in plan.episodes] == [("pick",), ("Sort.",), ("pick",)]


def test_a_label_never_wins_over_an_instruction(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    forget_task_index(source)
    list_tasks(source, ["valid", "pick the pear"], ["Valid.", "pick the pear", "valid"], ["valid"])
    plan = plan_conversion(recipe(source))
    assert [episode.tasks for episode in plan.episodes] == [("pick the pear",), ("pick the pear",), ("valid",)]
    assert any("the task 'valid' says nothing of what the robot does" in note for note in plan.notes)
    assert plan_conversion(recipe(source, task="Pick.")).episodes[2].tasks == ("Pick.",)


@pytest.fixture(scope="module")
def unlisted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of episode 0 name the task that the metadata lists for episode 2 alone; a fourth task is nobody's."""
    source = write(tmp_path_factory.mktemp("tasks") / "source", tasks=["fold", "lift", "stack"])
    edit_column(data_path(source, 0), "task_index", lambda values: [2 if row < 5 else 0 for row in range(len(values))])
    edit_jsonl(source / "meta/tasks.jsonl", lambda lines: [*lines, {"task_index": 3, "task": "wave"}])
    return source


def test_rows_may_name_any_task_of_the_list(unlisted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(recipe(unlisted, episodes="1,0", fps=50), out, workers=LOCAL)
    assert texts_of(out, 1) == ["stack", "fold"]
    assert [line["task"] for line in read_meta(out, "tasks.jsonl")] == ["lift", "fold", "stack"]  # and not "wave"
    assert [line["tasks"] for line in read_meta(out, "episodes.jsonl")] == [["lift"], ["stack", "fold"]]
    before = files_of(out)
    assert convert(recipe(unlisted, episodes="1,0", fps=50), out, workers=LOCAL).was_finished
    assert files_of(out) == before


def test_numbers_of_tasks_have_no_gap_where_rows_name_a_late_one(unlisted: Path, tmp_path: Path) -> None:
    edited = tmp_path / "source"
    write(edited, tasks=["fold", "lift", "stack"])
    edit_column(data_path(edited, 0), "task_index", lambda values: [2] * len(values))
    convert(recipe(edited, episodes="0", fps=50), tmp_path / "out", workers=LOCAL)
    assert [line["task"] for line in read_meta(tmp_path / "out", "tasks.jsonl")] == ["fold", "stack"]
    assert set(read_table(tmp_path / "out", 0)["task_index"].to_pylist()) == {1}


def test_a_task_listed_twice_with_other_texts_fails_the_rows_that_name_it(tmp_path: Path) -> None:
    source = write(tmp_path / "source", tasks=["fold", "lift", "lift"])
    edit_jsonl(source / "meta/tasks.jsonl", lambda lines: [*lines, lines[0], {"task_index": 1, "task": "drop"}])
    (problem,) = open_source(source).task_problems
    assert problem.endswith("tasks.jsonl:2 and " + f"{source}/meta/tasks.jsonl:4 give task 1 different texts")
    with pytest.raises(EpisodesFailed, match=r"^episode 1: task_index \[1\]") as caught:
        convert(recipe(source), tmp_path / "out", workers=LOCAL)
    assert [one.episode for one in caught.value.quarantined] == [1, 2]
    assert any(problem == finding.message for finding in inspect_dataset(source).findings)


def test_a_line_of_the_tasks_that_is_no_json_costs_its_own_task(tmp_path: Path) -> None:
    source = write(tmp_path / "source", tasks=["fold", "lift", "lift"])
    path = source / "meta/tasks.jsonl"
    path.write_text(path.read_text().replace('{"task_index": 1', '{"task_index" 1'))
    with pytest.raises(EpisodesFailed) as caught:
        convert(recipe(source), tmp_path / "out", workers=LOCAL)
    assert [one.episode for one in caught.value.quarantined] == [1, 2]


EMPTY: dict[str, Callable[[Path], None]] = {
    "empty text": lambda root: None,
    "null": lambda root: edit_jsonl(
        root / "meta/tasks.jsonl", lambda lines: [{**line, "task": line["task"].strip() or None} for line in lines]
    ),
}


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("task", ["Lift it.", {" ": "Lift it.", "": "Lift it."}], ids=["text", "table"])
def test_an_empty_task_is_replaced_and_the_others_stay(tmp_path: Path, empty: str, task: Any) -> None:
    source = write(tmp_path / "source", tasks=["fold", "", "fold"])
    EMPTY[empty](source)
    task = task if isinstance(task, str) else {"": task[""]}
    convert(recipe(source, task=task), tmp_path / "out", workers=LOCAL)
    assert [texts_of(tmp_path / "out", episode) for episode in range(3)] == [["fold"], ["Lift it."], ["fold"]]


def test_a_task_where_none_is_missing_is_an_error_with_the_remedy(tmp_path: Path, capsys: Any) -> None:
    source = write(tmp_path / "source", tasks=["fold", "lift", "fold"])
    command = ["convert", str(source), str(tmp_path / "out"), "--local", "--robot", "aloha", "--task", "Sort."]
    assert main([*command, "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "has a task already, such as 'fold'" in told
    assert "--task-all" in told
    assert plan_conversion(recipe(source, task="Sort.", task_all=True)).tasks == ("Sort.",)
    with pytest.raises(RecipeError, match=r"task_all replaces every task by the one text of `task`"):
        recipe(source, task_all=True)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_each_list_of_tasks_is_judged_and_kept_once(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "a", version=version, lengths=(12,) * 6, tasks=["pick", "place"] * 3)
    judged: list[int] = []

    def count(source: SourceDataset, episode: SourceEpisode, spec: SourceSpec) -> tuple[str, ...]:
        judged.append(episode.index)
        return episode_tasks(source, episode, spec)

    monkeypatch.setattr("millrace.engine.planning.tasks.episode_tasks", count)
    plan = plan_conversion(recipe(root))
    source = open_source(root)
    lists = {episode.tasks for episode in source.episodes}
    assert [episode.tasks for episode in plan.episodes] == [
        episode_tasks(source, episode, plan.recipe.sources[0]) for episode in source.episodes
    ]
    assert len(judged) == 4 * len(lists) < 4 * 6  # for its check, its note, its number and its episodes
    assert len({id(episode.tasks) for episode in source.episodes}) == len(lists)


def test_a_v3_dataset_without_a_list_of_tasks_has_those_of_its_episodes(tmp_path: Path) -> None:
    source = write(tmp_path / "source", version="v3.0", tasks=["fold", "lift", "fold"])
    (source / "meta/tasks.parquet").unlink()
    convert(recipe(source), tmp_path / "out", workers=LOCAL)
    assert [texts_of(tmp_path / "out", episode) for episode in range(3)] == [["fold"], ["lift"], ["fold"]]


TABLES: dict[str, dict[str, Any]] = {
    "texts in an unnamed index": {"task_index": [1, 0], "__index_level_0__": ["lift", "fold"]},
    "texts in an index of another name": {"task_index": [1, 0], "instruction": ["lift", "fold"]},
    "numbers in an unnamed index": {"task": ["lift", "fold"], "__index_level_0__": [1, 0]},
    "rows in order": {"task": ["fold", "lift"]},
    "numbers as lists of one": {"task_index": [[1], [0]], "task": ["lift", "fold"]},
    "categories": {"task_index": [1, 0], "task": pa.array(["lift", "fold"]).dictionary_encode()},
    "large texts": {"task_index": pa.array([1, 0], pa.int32()), "task": pa.array(["lift", "fold"], pa.large_string())},
}


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_tasks_is_read_however_pandas_wrote_it(tmp_path: Path, name: str) -> None:
    source = write(tmp_path, version="v3.0", tasks=["fold", "lift", "fold"])
    pq.write_table(pa.table(TABLES[name]), source / "meta/tasks.parquet")
    assert open_source(source).tasks == {0: "fold", 1: "lift"}
