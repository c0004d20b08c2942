"""Held-out episodes are whole, the same ones each time, some of every source, and unknown to the training part."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import IMAGE_SIZE, LOCAL, convert_here, files_of, matrix, read_meta, read_table, recipe_for, video_path
from millrace import cli
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import Summary, Workers, convert, estimate
from millrace.engine.dataset.record import EpisodeResult
from millrace.engine.errors import EpisodesFailed, OtherRecipe, OutputExists, RecipeError
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.planner import plan_splits, prepare_recipe
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.validate import validate
from support.synthetic import read_stamps, write_dataset

LENGTHS = (41, 33, 47, 44, 50, 38, 36, 45)
SHARE = "0.25"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("holdout") / "source"
    write_dataset(root, lengths=LENGTHS, tasks=[f"Task {number}." for number in range(len(LENGTHS))])
    return root


@pytest.fixture(scope="module")
def out(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held_out") / "out"
    convert_here(source, folder, holdout=SHARE, horizon=4)
    return folder


def lineage(dataset: Path) -> list[tuple[str, int]]:
    """The source episodes of a dataset, in order."""
    episodes = json.loads((dataset / "millrace.json").read_text())["episodes"]
    return [(Path(line["source"]).name, line["source_episode"]) for line in episodes]


def planned(recipe: Recipe) -> list[list[int]]:
    """The source episodes of each part."""
    return [[episode.episode.index for episode in plan.episodes] for plan in plan_splits(prepare_recipe(recipe))]


def test_every_episode_is_in_one_of_the_two(out: Path) -> None:
    training, held_out = lineage(out), lineage(heldout_folder(out))
    assert (len(training), len(held_out)) == (6, 2)
    assert sorted(training + held_out) == [("source", number) for number in range(len(LENGTHS))]
    assert training == sorted(training)


def test_both_are_sound_datasets_with_their_own_frames(out: Path) -> None:
    for dataset in (out, heldout_folder(out)):
        assert validate(dataset, deep=True).is_valid
        for number, (_, episode) in enumerate(lineage(dataset)):
            assert {stamp.episode for stamp in read_stamps(video_path(dataset, number, "ego_view"))} == {episode}


def test_statistics_of_training_never_saw_what_is_held_out(out: Path) -> None:
    rows = [read_table(out, number) for number in range(6)]
    action = np.concatenate([matrix(table, "action") for table in rows])
    stats = read_meta(out, "stats.json")["action"]
    for name, found in (("min", action.min(0)), ("max", action.max(0)), ("q99", np.quantile(action, 0.99, axis=0))):
        np.testing.assert_allclose(stats[name], found, rtol=2e-6, atol=1e-7)
    tasks = {line["task"] for line in read_meta(out, "tasks.jsonl")}
    held_tasks = {line["task"] for line in read_meta(heldout_folder(out), "tasks.jsonl")}
    assert (len(tasks), len(held_tasks)) == (6, 2)
    assert not tasks & held_tasks


def test_training_is_what_a_conversion_of_those_episodes_alone_makes(source: Path, out: Path, tmp_path: Path) -> None:
    episodes = ",".join(str(episode) for _, episode in lineage(out))
    convert_here(source, tmp_path / "alone", episodes=episodes, horizon=4)
    ours, alone = files_of(out), files_of(tmp_path / "alone")
    # The card and the manifest alone name the recipe.
    assert [name for name in alone if ours[name] != alone[name]] == ["README.md", "millrace.json"]


def test_the_choice_depends_on_the_episodes_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "source"
    write_dataset(moved, lengths=LENGTHS, cameras=())
    chosen = planned(recipe_for(source, holdout=SHARE))[1]
    assert planned(Recipe.single(moved, robot="aloha", fps=10, horizon=4, holdout=SHARE))[1] == chosen
    write_dataset(tmp_path / "another", lengths=LENGTHS, cameras=())
    assert planned(Recipe.single(tmp_path / "another", robot="aloha", holdout=SHARE))[1] != chosen


def test_half_of_the_held_out_share_is_held_out_of_half_as_many(source: Path) -> None:
    few = planned(recipe_for(source, holdout="0.125"))[1]
    many = planned(recipe_for(source, holdout="0.5"))[1]
    assert (len(few), len(many)) == (1, 4)
    assert set(few) < set(many)


@pytest.mark.parametrize("share", ["0.25", "0.5"])
def test_a_bad_line_that_is_fixed_moves_no_other_episode(source: Path, tmp_path: Path, share: str) -> None:
    root = tmp_path / "source"
    write_dataset(root, lengths=LENGTHS, cameras=())
    healthy = (root / "meta/episodes.jsonl").read_bytes()
    training, held_out = planned(Recipe.single(root, robot="aloha", horizon=4, holdout=share))
    for bad in range(len(LENGTHS)):
        lines = healthy.splitlines()
        lines[bad] = b'{"episode_index": %d, "length": 0, "tasks": []}' % bad
        (root / "meta/episodes.jsonl").write_bytes(b"\n".join(lines))
        parts = planned(Recipe.single(root, robot="aloha", horizon=4, holdout=share))
        assert parts == [[number for number in part if number != bad] for part in (training, held_out)]


def test_where_none_to_hold_out_can_be_read_the_next_is(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, cameras=())
    recipe = Recipe.single(tmp_path / "source", robot="aloha", horizon=4, holdout="0.1")
    ((bad,),) = planned(recipe)[1:]
    lines = (tmp_path / "source/meta/episodes.jsonl").read_bytes().splitlines()
    lines[bad] = b"{"
    (tmp_path / "source/meta/episodes.jsonl").write_bytes(b"\n".join(lines))
    training, held_out = planned(recipe)
    assert (len(training), len(held_out)) == (6, 1)


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, Any]]:
    for name, lengths in (("a", (41, 33, 47)), ("b", (40, 44)), ("c", (49, 46, 48, 45))):
        write_dataset(tmp_path / name, lengths=lengths, cameras=())
    return [{"path": tmp_path / name} for name in ("a", "b", "c")]


def held_of(sources: list[dict[str, Any]], holdout: Any = None) -> list[tuple[int, int]]:
    """Source and episode of what is held out."""
    parts = plan_splits(prepare_recipe(check_recipe({"sources": sources, "robot": "aloha", "holdout": holdout})))
    return [(episode.binding, episode.episode.index) for episode in parts[1].episodes]


def test_at_least_one_of_every_source_is_held_out(sources: list[dict[str, Any]]) -> None:
    held = held_of(sources, 0.01)
    assert [binding for binding, _ in held] == [0, 1, 2]


def test_a_source_may_list_its_own(sources: list[dict[str, Any]]) -> None:
    sources[0] |= {"holdout": [0, 2]}
    assert held_of(sources) == [(0, 0), (0, 2)]
    assert [binding for binding, _ in held_of(sources, Fraction(1, 100))] == [0, 0, 1, 2]


def test_a_source_of_one_episode_may_hold_out_none(sources: list[dict[str, Any]]) -> None:
    sources[0] |= {"episodes": "0", "holdout": "none"}
    assert [binding for binding, _ in held_of(sources, 0.05)] == [1, 2]


def test_an_episode_of_two_sources_is_held_out_of_both(sources: list[dict[str, Any]], tmp_path: Path) -> None:
    again = {"path": tmp_path / "c/../c", "task": "Again.", "task_all": True, "holdout": 1}
    assert held_of([*sources, again]) == [(2, 1), (3, 1)]


def test_sources_that_may_be_copies_are_named(sources: list[dict[str, Any]], tmp_path: Path) -> None:
    write_dataset(tmp_path / "copy", lengths=(40, 44), cameras=(), version="v3.0")

    def notes(*more: dict[str, Any], **settings: Any) -> list[str]:
        recipe = check_recipe({"sources": [*sources, *more], "robot": "aloha", **settings})
        return [note for note in plan_splits(prepare_recipe(recipe))[0].notes if "same lengths" in note]

    copy = {"path": tmp_path / "copy"}
    (note,) = notes(copy, holdout=0.25)
    assert note.startswith(f"warning: the episodes of {tmp_path / 'b'} and {tmp_path / 'copy'} have the same lengths")
    assert notes(copy) == []
    assert notes(holdout=0.25) == []
    again = {"path": tmp_path / "b/../b", "task": "Again.", "task_all": True}
    assert notes(again, holdout=0.25) == []


@pytest.mark.parametrize(
    ("source", "holdout", "told"),
    [
        ({"episodes": "0"}, 0.05, "all 1 episodes of .* would be held out, none trained on; .* say `holdout: none`"),
        ({"holdout": ":"}, None, "all 3 episodes of .* would be held out"),
        ({"holdout": "9"}, None, "has no episode 9"),
        ({"holdout": "2", "episodes": "0:2"}, None, "episode 2 cannot be held out: it is not selected"),
    ],
)
def test_what_cannot_be_held_out_is_an_error(
    sources: list[dict[str, Any]], source: dict[str, Any], holdout: Any, told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        held_of([{**sources[0], **source}], holdout)


def test_held_out_episodes_shorter_than_a_chunk_are_an_error(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(41, 10), cameras=())
    with pytest.raises(RecipeError, match=r"the longest held-out episode 4 frames.*horizon=4"):
        plan_splits(prepare_recipe(Recipe.single(tmp_path, robot="aloha", holdout="1")))


def stop_after(num_results: int) -> Any:
    seen: list[EpisodeResult] = []

    def on_result(result: EpisodeResult) -> None:
        seen.append(result)
        if len(seen) == num_results:
            raise KeyboardInterrupt

    return on_result


@pytest.mark.parametrize("num_results", [1, 6, 7, 8])
def test_a_stopped_run_is_continued_wherever_it_stopped(
    source: Path, out: Path, tmp_path: Path, num_results: int
) -> None:
    recipe = recipe_for(source, holdout=SHARE, horizon=4)
    mine = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(recipe, mine, workers=LOCAL, on_result=stop_after(num_results))
    summary = convert(recipe, mine, workers=LOCAL)
    assert isinstance(summary.held_out, Summary)
    assert summary.num_resumed + summary.held_out.num_resumed == num_results
    assert files_of(mine) == files_of(out)
    assert files_of(heldout_folder(mine)) == files_of(heldout_folder(out))


def test_two_finished_parts_are_not_made_again(source: Path, tmp_path: Path, out: Path) -> None:
    before = files_of(out) | files_of(heldout_folder(out))
    summary = convert(recipe_for(source, holdout=SHARE, horizon=4), out, workers=LOCAL)
    assert summary.was_finished
    assert summary.held_out is not None
    assert summary.held_out.was_finished
    assert files_of(out) | files_of(heldout_folder(out)) == before


def test_a_finished_part_of_another_recipe_is_no_part_of_this(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out", horizon=4, episodes="0:4")
    with pytest.raises(MillraceError) as caught:
        convert_here(source, tmp_path / "out", horizon=4, holdout=SHARE)
    assert isinstance(caught.value, OtherRecipe)
    assert not heldout_folder(tmp_path / "out").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_was_held_out_is_not_trained_on_later(source: Path, tmp_path: Path, overwrite: bool) -> None:
    convert_here(source, tmp_path / "out", horizon=4, holdout=SHARE)
    if not overwrite:
        shutil.rmtree(tmp_path / "out")
    recipe = recipe_for(source, horizon=4)
    before = files_of(tmp_path)
    for attempt in (convert, estimate):
        with pytest.raises(OutputExists, match=r"out_heldout holds episodes that an earlier run held out of .*/out;"):
            attempt(recipe, tmp_path / "out", overwrite=overwrite)
    assert files_of(tmp_path) == before
    shutil.move(tmp_path / "out_heldout", tmp_path / "elsewhere")
    assert convert(recipe, tmp_path / "out", workers=LOCAL, overwrite=overwrite).num_episodes == len(LENGTHS)


def test_a_failure_in_one_part_does_not_stop_the_other(source: Path, out: Path, tmp_path: Path) -> None:
    held = lineage(heldout_folder(out))[0][1]
    video = video_path(source, held)
    hidden = video.rename(video.with_suffix(".hidden"))
    recipe = recipe_for(source, holdout=SHARE, horizon=4)
    mine = tmp_path / "out"
    try:
        with pytest.raises(EpisodesFailed, match=f"episode {held}, camera top: no video at"):
            convert(recipe, mine, workers=LOCAL)
    finally:
        hidden.rename(video)
    assert (mine / "meta").is_dir()
    assert not (heldout_folder(mine) / "meta").exists()
    convert(recipe, mine, workers=LOCAL)
    assert files_of(heldout_folder(mine)) == files_of(heldout_folder(out))
    assert files_of(mine) == files_of(out)


def test_workers_make_the_same_bytes_of_both(source: Path, out: Path, tmp_path: Path) -> None:
    convert(recipe_for(source, holdout=SHARE, horizon=4), tmp_path / "out", workers=Workers(num=2))
    assert files_of(tmp_path / "out") == files_of(out)
    assert files_of(heldout_folder(tmp_path / "out")) == files_of(heldout_folder(out))


def test_the_flag_makes_both_and_says_so(source: Path, tmp_path: Path, capsys: Any) -> None:
    mine = tmp_path / "out"
    flags = ["--map", "aloha_to_gr1", "--image-size", str(IMAGE_SIZE), "--horizon", "4", "--holdout", "2,4", "--local"]
    assert cli.main(["convert", str(source), str(mine), *flags]) == 0
    shown = capsys.readouterr().out
    assert "held out" in shown
    assert f"wrote {mine}_heldout" in shown.splitlines()
    assert [episode for _, episode in lineage(heldout_folder(mine))] == [2, 4]


def test_an_estimate_is_of_both(source: Path, tmp_path: Path) -> None:
    found = estimate(recipe_for(source, holdout=SHARE, horizon=4), tmp_path / "out")
    assert found.num_episodes == len(LENGTHS)
    assert found.num_source_frames == sum(LENGTHS)
    assert list(tmp_path.iterdir()) == []


def test_folders_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert heldout_folder(Path("out/g1")) == Path("out/g1_heldout")
    assert heldout_folder(Path(".")) == Path(f"{tmp_path}_heldout")
