"""One bad line of the metadata costs its own episode: it is named, skipped where asked, the others converted."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import LOCAL, convert_here, files_of, recipe_for
from millrace.engine.convert import convert, estimate, plan_conversion
from millrace.engine.errors import EpisodesFailed, MillraceError, OutputExists
from millrace.engine.inspection import inspect_dataset
from millrace.engine.planning.recipe import check_recipe
from millrace.engine.sources import open_source
from support.synthetic import SyntheticVideo, edit_column, edit_json, edit_jsonl, truncate_file, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
LENGTHS = (12, 9, 11, 8)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4}
META = "meta/episodes/chunk-000/file-000.parquet"
PLACE = "videos/observation.images.{}/from_timestamp"


def edit_line(number: int, **values: object) -> Callable[[Path], None]:
    """Change a line of episodes.jsonl."""

    def change(lines: list[Any]) -> list[Any]:
        return [{**line, **values} if place == number else line for place, line in enumerate(lines)]

    return lambda root: edit_jsonl(root / "meta/episodes.jsonl", change)


def replace_line(number: int, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "meta/episodes.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[number] = text
        path.write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))

    return change


def repeat_line(number: int, **values: object) -> Callable[[Path], None]:
    return lambda root: edit_jsonl(root / "meta/episodes.jsonl", lambda lines: [*lines, {**lines[number], **values}])


def edit_cell(column: str, number: int, value: object) -> Callable[[Path], None]:
    """Change one row of a column of meta/episodes."""

    def change(values: list[Any]) -> list[Any]:
        return [value if place == number else kept for place, kept in enumerate(values)]

    return lambda root: edit_column(root / META, column, change)


@dataclass(frozen=True)
class BadLine:
    """What to spoil, the episode that suffers, and what the message says."""

    version: str
    spoil: Callable[[Path], None]
    episode: int
    message: str
    camera: str | None = None


BAD_LINES = {
    "length 0": BadLine("v2.1", edit_line(1, length=0), 1, "episodes.jsonl:2: length is 0, expected 1 to"),
    "length negative": BadLine("v2.1", edit_line(1, length=-3), 1, "length is -3"),
    "length null": BadLine("v2.1", edit_line(1, length=None), 1, "episodes.jsonl:2: length: "),
    "length endless": BadLine("v2.1", edit_line(1, length=10**12), 1, "length is 1000000000000"),
    "tasks of numbers": BadLine("v2.1", edit_line(1, tasks=[{}]), 1, "episodes.jsonl:2: tasks.0: "),
    "half a character": BadLine("v2.1", edit_line(1, tasks=["\ud800"]), 1, "holds half a character"),
    "no number": BadLine("v2.1", edit_line(1, episode_index=None), 1, "by its place in the list it is episode 1"),
    "no JSON": BadLine("v2.1", replace_line(1, '{"episode_index": 1, '), 1, "episodes.jsonl:2 is not JSON"),
    "no object": BadLine("v2.1", replace_line(3, "7"), 3, "episodes.jsonl:4: "),
    "no UTF-8": BadLine("v2.1", replace_line(1, '{"episode_index": 1, "length": 9, "tasks": ["\udcff"]}'), 1, "half a"),
    "listed twice": BadLine("v2.1", repeat_line(1, length=8), 1, "episodes.jsonl:2 and "),
    "length 0, v3.0": BadLine("v3.0", edit_cell("length", 1, 0), 1, "file-000.parquet, row 1: length is 0"),
    "length null, v3.0": BadLine("v3.0", edit_cell("length", 3, None), 3, "row 3: length: "),
    "number null, v3.0": BadLine("v3.0", edit_cell("episode_index", 1, None), 1, "by its place in the list"),
    "listed twice, v3.0": BadLine("v3.0", edit_cell("episode_index", 1, 2), 2, "row 1 and "),
    "null place, v3.0": BadLine("v3.0", edit_cell(PLACE.format("wrist"), 1, None), 1, "from_timestamp: ", "wrist"),
}


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four episodes of two cameras, one of them spoilt."""
    bad = BAD_LINES[request.param]
    write_dataset(tmp_path / "source", lengths=LENGTHS, cameras=("top", "wrist"), version=bad.version, video=SMALL)
    bad.spoil(tmp_path / "source")
    return tmp_path / "source"


def with_names(names: dict[str, BadLine]) -> Any:
    return pytest.mark.parametrize(("source", "bad"), list(names.items()), ids=list(names), indirect=["source"])


@with_names(BAD_LINES)
def test_a_bad_line_is_the_fault_of_its_own_episode(source: Path, bad: BadLine) -> None:
    dataset = open_source(source)
    told = [(one.index, one.fault) for one in dataset.bad]
    told += [(episode.index, fault) for episode in dataset.episodes for fault in episode.faults]
    ((index, fault),) = told
    assert (index, fault.camera) == (bad.episode, bad.camera)
    assert bad.message in fault.reason
    expected = {0, 1, 2, 3} - {bad.episode} - ({1} if bad.message == "row 1 and " else set())
    assert {episode.index for episode in dataset.episodes if not episode.faults} == expected


FEW = {name: BAD_LINES[name] for name in ("length 0", "no JSON", "listed twice, v3.0", "null place, v3.0")}


@with_names(FEW)
def test_it_is_named_quarantined_and_skipped(source: Path, bad: BadLine, tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", recipe_for(source, **SETTINGS)
    with pytest.raises(EpisodesFailed) as caught:
        convert(recipe, out, workers=LOCAL)
    (line,) = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert (line["code"], line["episode"], line["camera"]) == ("metadata", bad.episode, bad.camera)
    assert bad.message in line["reason"]
    assert [one.reason for one in caught.value.quarantined] == [line["reason"]]
    summary = convert(recipe, out, workers=LOCAL, skip_bad=True)
    assert [one.episode for one in summary.quarantined] == [bad.episode]
    assert [one["episode"] for one in json.loads((out / "millrace.json").read_text())["quarantine"]] == [bad.episode]
    assert convert(recipe, out, workers=LOCAL, skip_bad=True).was_finished
    with pytest.raises(OutputExists, match="is finished, but for 1 episodes"):
        convert(recipe, out, workers=LOCAL)
    good = ",".join(str(episode.index) for episode in open_source(source).episodes if not episode.faults)
    convert_here(source, tmp_path / "good", **SETTINGS, episodes=good)
    ours, theirs = files_of(out), files_of(tmp_path / "good")
    # Both name the recipe, and only one of the recipes chooses episodes.
    assert [name for name in theirs if ours.get(name) != theirs[name]] == ["README.md", "millrace.json"]


@with_names(FEW)
def test_inspect_names_it_and_goes_on(source: Path, bad: BadLine) -> None:
    inspection = inspect_dataset(source)
    (finding,) = [finding for finding in inspection.findings if finding.code == "bad-metadata"]
    assert (finding.severity, finding.episode, finding.camera) == ("error", bad.episode, bad.camera)
    assert inspect_dataset(source, episodes=str(bad.episode)).num_inspected == (0 if bad.camera is None else 1)


@with_names({"length 0": BAD_LINES["length 0"]})
def test_a_dry_run_says_so_and_once_fixed_it_is_converted(source: Path, bad: BadLine, tmp_path: Path) -> None:
    recipe = recipe_for(source, **SETTINGS)
    notes = estimate(recipe, tmp_path / "out").notes
    assert "1 selected episodes cannot be converted; the first, episode 1: " in "".join(notes)
    with pytest.raises(EpisodesFailed):
        convert(recipe, tmp_path / "out", workers=LOCAL)
    edit_line(1, length=LENGTHS[1])(source)
    assert convert(recipe, tmp_path / "out", workers=LOCAL, skip_bad=True).num_episodes == len(LENGTHS)


@with_names({"length 0": BAD_LINES["length 0"]})
def test_selections_count_it_among_the_episodes(source: Path, bad: BadLine) -> None:
    plan = plan_conversion(recipe_for(source, **SETTINGS, episodes="1:3"))
    assert [episode.episode.index for episode in plan.episodes] == [2]
    assert [failure.source_episode for failure in plan.rejected] == [1]
    with pytest.raises(MillraceError, match=r"has no episode 4; it has 4, the last is 3"):
        plan_conversion(recipe_for(source, **SETTINGS, episodes="0,4"))
    with pytest.raises(MillraceError, match=r"none of the 1 selected episodes .* episode 1: .* length is 0"):
        plan_conversion(recipe_for(source, **SETTINGS, episodes="1"))
    with pytest.raises(MillraceError, match=r"episode 1 cannot be held out, for it cannot be read: .* length is 0"):
        plan_conversion(recipe_for(source, **SETTINGS, holdout="1"))
    assert plan_conversion(recipe_for(source, **SETTINGS, episodes="0,2,3")).rejected == ()


@with_names({"null place, v3.0": BAD_LINES["null place, v3.0"]})
def test_a_camera_that_is_not_wanted_hurts_nobody(source: Path, bad: BadLine, tmp_path: Path) -> None:
    values = {"sources": [{"path": source}], "cameras": ["top"], "image_size": 64, **SETTINGS}
    assert convert(check_recipe(values), tmp_path / "out", workers=LOCAL).num_episodes == len(LENGTHS)


BROKEN_FILES = {
    "v3.0, list": ("v3.0", "meta/episodes/chunk-000/file-001.parquet", {2, 3}),
    "v3.0, rows": ("v3.0", "data/chunk-000/file-001.parquet", {2, 3}),
    "v1.6, rows": ("v1.6", "data/train-00001-of-00002.parquet", {2, 3}),
}


def split_file(path: Path, rest: Path, *, start: int) -> None:
    """Move the rows of a parquet file from `start` on into another."""
    table = pq.read_table(path)
    rest.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.slice(start), rest)
    pq.write_table(table.slice(0, start), path)


@pytest.fixture(params=BROKEN_FILES)
def half_broken(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path, set[int]]:
    """A dataset, one of its two parquet files cut short, and the episodes in that."""
    version, name, lost = BROKEN_FILES[request.param]
    root = tmp_path / "source"
    write_dataset(root, lengths=LENGTHS, version=version, video=SMALL)
    path = root / name
    if not path.exists():
        first = next(path.parent.glob("*.parquet"))
        split_file(first, path, start=2 if "meta" in name else LENGTHS[0] + LENGTHS[1])
    truncate_file(path, 0.5)
    for info in root.glob("meta*/info.json"):
        edit_json(info, lambda values: {**values, "total_episodes": len(LENGTHS)})
    return root, path, lost


def test_a_broken_file_of_many_costs_the_episodes_in_it(
    half_broken: tuple[Path, Path, set[int]], tmp_path: Path
) -> None:
    root, path, lost = half_broken
    recipe = recipe_for(root, **SETTINGS, task="Pick.")
    with pytest.raises(EpisodesFailed) as caught:
        convert(recipe, tmp_path / "out", workers=LOCAL)
    assert {one.episode for one in caught.value.quarantined} == lost
    assert {one.code.value for one in caught.value.quarantined} == {"truncated"}
    assert all(str(path) in one.reason for one in caught.value.quarantined)
    assert convert(recipe, tmp_path / "out", workers=LOCAL, skip_bad=True).num_episodes == 2
    findings = [finding for finding in inspect_dataset(root).findings if str(path) in finding.message]
    assert {finding.episode for finding in findings} == lost


def test_a_broken_file_that_no_episode_needs_hurts_nobody(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, version="v3.0", video=SMALL)
    (tmp_path / "source/data/chunk-000/file-009.parquet").write_bytes(b"PAR1")
    assert convert_here(tmp_path / "source", tmp_path / "out", **SETTINGS).num_episodes == len(LENGTHS)


def test_where_nothing_says_how_many_episodes_a_broken_file_lists_it_fails_as_one(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, version="v3.0", video=SMALL)
    split_file(tmp_path / META, tmp_path / META.replace("000.p", "001.p"), start=2)
    truncate_file(tmp_path / META.replace("000.p", "001.p"), 0.5)
    edit_json(tmp_path / "meta/info.json", lambda info: {**info, "total_episodes": None})
    (bad,) = open_source(tmp_path).bad
    assert (bad.index, bad.fault.code.value) == (2, "truncated")
    assert bad.fault.reason.endswith("how many episodes it lists is not known")


HIDDEN = ("._file-000.parquet", ".ipynb_checkpoints/file-000.parquet")


@pytest.mark.parametrize("version", ["v3.0", "v1.6", "v2.1"])
def test_hidden_files_are_ignored(version: str, tmp_path: Path) -> None:
    root = tmp_path / "source"
    write_dataset(root, lengths=LENGTHS, version=version, video=SMALL)
    for folder in {path.parent for path in root.rglob("*.parquet")}:
        for name in HIDDEN:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    if version == "v3.0":  # so that rows are looked for in all files
        edit_column(root / META, "length", lambda values: [values[0] + 1, values[1] - 1, *values[2:]])
    settings = {**SETTINGS, "episodes": "2,3", "task": "Pick."}
    assert convert_here(root, tmp_path / "out", **settings).num_episodes == 2
    assert not [finding for finding in inspect_dataset(root).findings if finding.code == "unreadable-rows"]


@pytest.mark.parametrize("chunk", ["{chunk_index:03d}", "{chunk:03d}"])
@pytest.mark.parametrize("episode", ["{episode_id:06d}", "{file_index:06d}"])
def test_path_templates_may_call_their_fields_otherwise(chunk: str, episode: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, video=SMALL, chunks_size=2)

    def rename(template: str) -> str:
        return template.replace("{episode_chunk:03d}", chunk).replace("{episode_index:06d}", episode)

    paths = [episode.paths for episode in open_source(tmp_path).episodes]
    edit_json(
        tmp_path / "meta/info.json",
        lambda info: {**info, "data_path": rename(info["data_path"]), "video_path": rename(info["video_path"])},
    )
    assert [episode.paths for episode in open_source(tmp_path).episodes] == paths


def test_files_numbered_from_0_in_each_folder_are_found(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, video=SMALL, chunks_size=2)
    template = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    for index in range(4):
        old = tmp_path / f"data/chunk-{index // 2:03d}/episode_{index:06d}.parquet"
        old.rename(tmp_path / template.format(chunk_index=index // 2, file_index=index % 2))
    edit_json(tmp_path / "meta/info.json", lambda info: {**info, "data_path": template})
    assert all(episode.rows[0].path.is_file() for episode in open_source(tmp_path).episodes)


def test_metadata_may_begin_with_a_mark_and_have_lines_of_windows(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, video=SMALL)
    before = open_source(tmp_path)
    for path in [*tmp_path.glob("meta/*.json"), *tmp_path.glob("meta/*.jsonl")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    after = open_source(tmp_path)
    assert (after.episodes, after.tasks, after.bad) == (before.episodes, before.tasks, ())


def test_numbers_in_lists_of_one_are_numbers(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, version="v3.0", video=SMALL)
    before = open_source(tmp_path)
    for column in ("episode_index", "length", PLACE.format("top")):
        edit_column(tmp_path / META, column, lambda values: [[value] for value in values])
    after = open_source(tmp_path)
    assert (after.episodes, after.bad) == (before.episodes, ())


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_line_that_is_fixed_after_the_dataset_was_finished_is_converted(version: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=LENGTHS, version=version, video=SMALL)
    meta = source / (META if version == "v3.0" else "meta/episodes.jsonl")
    healthy, spoil = meta.read_bytes(), edit_cell("length", 1, 0) if version == "v3.0" else edit_line(1, length=0)
    spoil(source)
    recipe = recipe_for(source, **SETTINGS)
    assert convert(recipe, out, workers=LOCAL, skip_bad=True).num_episodes == 3
    meta.write_bytes(healthy)
    with pytest.raises(OutputExists, match=rf"lacks 1 episodes that can be read by now, such as 1 of {source}. Pass"):
        convert(recipe, out, workers=LOCAL)
    summary = convert(recipe, out, workers=LOCAL, skip_bad=True)
    assert (summary.num_episodes, summary.quarantined, summary.was_finished) == (4, (), False)
    convert(recipe, tmp_path / "fresh", workers=LOCAL)
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_rows_that_lie_elsewhere_than_metadata_says_belong_to_the_episode(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=LENGTHS, version="v3.0", video=SMALL, episodes_per_data_file=2)
    edit_column(
        source / META, "length", lambda values: [values[0] + 30, *values[1:]]
    )  # the later are expected further on
    settings = {**SETTINGS, "episodes": "1:4"}
    convert_here(source, out, **settings)
    episode = plan_conversion(recipe_for(source, **settings)).episodes[0].episode
    (elsewhere,) = set(source.glob("data/*/*.parquet")) - set(episode.paths)
    os.utime(elsewhere, ns=(0, 0))
    with pytest.raises(OutputExists, match="1 of its 3 episodes were changed since, such as 0: its source's files"):
        convert_here(source, out, **settings)
