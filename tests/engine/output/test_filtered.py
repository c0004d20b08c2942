"""Episodes that a filter leaves out are no failures: the output is that of the others, wherever it is run."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, convert_here, data_path, files_of, read_meta, recipe_for
from millrace.cli import main
from millrace.commands.conversion import convert_with_progress
from millrace.embodiments import MillraceError
from millrace.engine.convert import Summary, Workers, convert, estimate, plan_conversion
from millrace.engine.errors import EpisodesFailed, RecipeError
from millrace.engine.layout import QUARANTINE
from millrace.engine.planning.recipe import Recipe
from millrace.engine.validate import validate
from support.still_stretches import hold
from support.synthetic import truncate_file, write_dataset

ALOHA: dict[str, Any] = {"robot": "aloha", "horizon": 1}
FILTER = {"min_length": "0.5s", "max_idle": 0.5}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of five episodes number 1 stands still for most of the time and number 3 is too short."""
    root = tmp_path_factory.mktemp("filtered") / "source"
    write_dataset(root, lengths=(60, 80, 70, 20, 60))
    hold(root, [(5, 75)], episode=1)
    return root


@pytest.fixture(scope="module")
def filtered(source: Path) -> Path:
    out = source.parent / "out"
    convert_here(source, out, **ALOHA, filter=FILTER)
    return out


def content(out: Path) -> dict[str, bytes]:
    """Rows, videos, metadata and statistics, without what says how they were made."""
    return {name: data for name, data in files_of(out).items() if name.startswith(("data/", "videos/", "meta/"))}


def test_the_output_is_that_of_the_episodes_that_are_kept(source: Path, filtered: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "chosen", **ALOHA, episodes="0,2,4")
    assert content(filtered) == content(tmp_path / "chosen")
    assert not [problem for problem in validate(filtered).problems if problem.severity == "error"]
    assert not (filtered / QUARANTINE).exists()


def test_the_manifest_lists_each_with_its_reason(filtered: Path) -> None:
    manifest = json.loads((filtered / "millrace.json").read_text())
    assert [(one["episode"], one["code"], one["source"]) for one in manifest["filtered"]] == [
        (1, "filtered", "source"),
        (3, "filtered", "source"),
    ]
    assert "stands still in 8" in manifest["filtered"][0]["reason"]
    assert manifest["filtered"][1]["reason"] == "it is 0.4 s long (min_length 0.5s)"
    assert "quarantine" not in manifest
    assert manifest["recipe"]["filter"]["max_idle"] == "1/2"
    assert any("left out by max_idle: 0.5 of the frames" in note for note in manifest["notes"])


def test_the_manifest_stays_small_whatever_is_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.engine.output.make_manifest.MAX_FILTERED", 1)
    convert_here(source, tmp_path / "out", **ALOHA, filter=FILTER)
    manifest = json.loads((tmp_path / "out/millrace.json").read_text())
    assert ([one["episode"] for one in manifest["filtered"]], manifest["num_filtered"]) == ([1], 2)


def test_every_executor_makes_the_same_bytes(source: Path, filtered: Path, tmp_path: Path) -> None:
    workers = Workers(2, executor="local")
    summary = convert(recipe_for(source, **ALOHA, filter=FILTER), tmp_path / "out", workers=workers)
    assert files_of(tmp_path / "out") == files_of(filtered)
    assert [one.episode for one in summary.filtered] == [1, 3]


@pytest.mark.parametrize("num_results", [1, 2, 3, 4])
def test_a_stopped_run_continues_to_the_same_bytes(
    source: Path, filtered: Path, tmp_path: Path, num_results: int
) -> None:
    recipe, out = recipe_for(source, **ALOHA, filter=FILTER), tmp_path / "out"
    results = iter(range(num_results - 1))

    def stop(_: object) -> None:
        if next(results, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(recipe, out, workers=LOCAL, on_result=stop)
    convert(recipe, out, workers=LOCAL)
    assert files_of(out) == files_of(filtered)
    again = convert(recipe, out, workers=LOCAL)
    assert again.was_finished
    assert [one.episode for one in again.filtered] == [1, 3]


def test_a_failed_episode_is_told_apart_and_can_be_skipped(source: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "source", tmp_path / "out"
    write_dataset(root, lengths=(60, 80, 70, 20))
    hold(root, [(5, 75)], episode=1)
    truncate_file(data_path(root, 2), 0.5)
    recipe = recipe_for(root, **ALOHA, filter=FILTER)
    with pytest.raises(EpisodesFailed) as raised:
        convert(recipe, out, workers=LOCAL)
    assert [one.episode for one in raised.value.quarantined] == [2]
    assert [json.loads(line)["episode"] for line in (out / QUARANTINE).read_text().splitlines()] == [2]
    summary = convert(recipe, out, workers=LOCAL, skip_bad=True)
    assert [one.episode for one in summary.quarantined] == [2]
    assert [one.episode for one in summary.filtered] == [1, 3]
    assert [line["length"] for line in read_meta(out, "episodes.jsonl")] == [24]


def test_a_dry_run_lists_what_would_be_left_out(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = estimate(recipe_for(source, **ALOHA, filter=FILTER), tmp_path / "out", workers=LOCAL)
    assert [one.episode for one in found.filtered] == [1, 3]
    assert found.num_episodes == 3
    flags = ["--robot", "aloha", "--horizon", "1", "--min-length", "0.5s", "--max-idle", "50%"]
    assert main(["convert", str(source), str(tmp_path / "out"), *flags, "--dry-run", "--local"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "would leave out: episode 1: the robot stands still in 8" in shown
    assert "would leave out: episode 3: it is 0.4 s long (min_length 0.5s)" in shown
    assert not (tmp_path / "out").exists()


def test_the_command_ends_well_and_says_what_was_left_out(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--robot", "aloha", "--horizon", "1", "--image-size", "64", "--min-motion", "left_arm=0.1"]
    flags += ["--max-idle", "0.5", "--min-length", "0.5"]
    assert main(["convert", str(source), str(tmp_path / "out"), *flags, "--local"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 episodes left out by the filter" in shown
    assert "left out: episode 3: it is 0.4 s long" in shown


def test_rows_that_leave_nothing_are_an_error_that_names_the_source(source: Path, tmp_path: Path) -> None:
    recipe = recipe_for(source, **ALOHA, filter={"max_jerk": 1e-6})
    for _ in range(2):  # the second run knows it from the first
        with pytest.raises(
            RecipeError, match=r"leaves no episode of .*source, for their rows; such as 0: a joint of .* jerk"
        ):
            convert(recipe, tmp_path / "out", workers=LOCAL)


def test_listed_held_out_episodes_are_filtered_by_their_length_too(source: Path, tmp_path: Path) -> None:
    summary = convert_here(source, tmp_path / "out", **ALOHA, filter=FILTER, holdout="3,4")
    assert summary.held_out is not None
    assert (summary.num_episodes, summary.held_out.num_episodes) == (2, 1)
    with pytest.raises(RecipeError, match=r"leaves no held-out episode of .*; such as 3: it is 0.4 s long"):
        plan_conversion(recipe_for(source, **ALOHA, filter=FILTER, holdout="3"))


def test_held_out_episodes_are_filtered_too(source: Path, tmp_path: Path) -> None:
    summary = convert_here(source, tmp_path / "out", **ALOHA, filter=FILTER, holdout="1,4")
    assert summary.held_out is not None
    assert ([one.episode for one in summary.filtered], [one.episode for one in summary.held_out.filtered]) == ([3], [1])
    assert (summary.num_episodes, summary.held_out.num_episodes) == (2, 1)


def plans_of(
    recipe: Recipe, out: Path, **settings: Any
) -> tuple[list[str | None], Summary | None, MillraceError | None]:
    """The splits that were begun, in order, the summary and the error."""
    begun: list[str | None] = []
    try:
        summary = convert(recipe, out, workers=LOCAL, on_plan=lambda plan, _: begun.append(plan.split), **settings)
    except MillraceError as error:
        return begun, None, error
    return begun, summary, None


def test_rows_that_leave_no_held_out_episode_are_told_before_the_others_are_converted(
    source: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(source, **ALOHA, filter=FILTER, holdout="1:2")
    begun, _, error = plans_of(recipe, tmp_path / "out")
    assert begun == ["held out"]
    assert "the filter leaves no held-out episode of" in str(error)
    assert not (tmp_path / "out").exists()


def test_cuts_that_leave_no_held_out_episode_are_told_before_the_others_are_converted(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(20, 20))
    hold(tmp_path / "source", [(0, 20)], episode=1)
    recipe = recipe_for(tmp_path / "source", **ALOHA, trim_idle=True, holdout="1:2")
    begun, _, error = plans_of(recipe, tmp_path / "out", skip_bad=True)
    assert set(begun) == {"held out"}
    assert "the robot stands still in all 20 frames" in str(error)


def test_a_source_whose_held_out_episodes_are_all_left_out_is_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "other", lengths=(20, 20))
    both = [{"path": source, "holdout": "1"}, {"path": tmp_path / "other", "holdout": "1"}]
    recipe = Recipe.model_validate({"sources": both, **ALOHA, "image_size": 64, "filter": {"max_idle": 0.5}})
    assert estimate(recipe, tmp_path / "out", workers=LOCAL).emptied == (str(source),)
    summary = convert_with_progress(recipe, tmp_path / "out", LOCAL, with_report=False)
    assert summary.held_out is not None
    assert (summary.emptied, summary.held_out.emptied) == ((), (str(source),))
    told = f"warning: the filter leaves no held-out episode of {source}"
    assert told in " ".join(capsys.readouterr().out.split())
    again = convert(recipe, tmp_path / "out", workers=LOCAL)
    assert again.held_out is not None
    assert (again.was_finished, again.held_out.emptied) == (True, (str(source),))
