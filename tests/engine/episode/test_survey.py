"""What the rows of all episodes decide is found by reading each once, in any number of processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, data_path, recipe_for
from millrace.cli import main
from millrace.engine.convert import estimate, plan_conversion
from millrace.engine.episode import survey
from millrace.engine.planning import ConversionPlan, EpisodePlan
from support.still_stretches import hold
from support.synthetic import truncate_file, write_dataset

SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 1, "trim_idle": True, "filter": {"max_idle": 0.5}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of six episodes 1 and 4 stand still at the start, 2 for most of the time, and the rows of 5 are damaged."""
    root = tmp_path_factory.mktemp("surveyed") / "source"
    write_dataset(root, lengths=(30, 60, 60, 30, 40, 30))
    for episode, stop in ((1, 25), (2, 55), (4, 15)):
        hold(root, [(0, stop)], episode=episode)
    truncate_file(data_path(root, 5), 0.5)
    return root


@pytest.fixture(scope="module")
def plan(source: Path) -> ConversionPlan:
    return plan_conversion(recipe_for(source, **SETTINGS))


def test_an_episode_is_filtered_or_cut_or_fails(plan: ConversionPlan) -> None:
    found = survey.survey_rows(plan)
    assert [one.key for one in found] == [(0, episode) for episode in range(6)]
    assert [one.key[1] for one in found if one.filtered is not None] == [2]
    assert [one.key[1] for one in found if one.cuts is None] == [2]
    assert [one.key[1] for one in found if one.cuts is not None and one.cuts.cuts] == [1, 4]
    assert [one.key[1] for one in found if one.cuts is not None and one.cuts.reason] == [5]


def test_processes_find_the_same(plan: ConversionPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "EPISODES_PER_PROCESS", 1)
    monkeypatch.setattr(survey, "EPISODES_AT_ONCE", 2)
    done: list[int] = []
    assert survey.survey_rows(plan, num_processes=2, on_progress=done.append) == survey.survey_rows(plan)
    assert done == [2, 4, 6]


def test_a_dry_run_reads_the_rows_of_each_episode_once_and_tells_how_far_it_is(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def count(episode: EpisodePlan, *rest: Any) -> Any:
        read.append(episode.episode.index)
        return survey_one(episode, *rest)

    survey_one = survey.read_joints
    monkeypatch.setattr(survey, "read_joints", count)
    told: list[tuple[str, int, int | None]] = []
    recipe = recipe_for(source, **SETTINGS, holdout="0:1")
    found = estimate(recipe, tmp_path / "out", workers=LOCAL, on_progress=lambda *stage: told.append(stage))
    assert sorted(read) == [*range(6)]
    assert [stage for stage in told if stage[0] == "reading rows"] == [("reading rows", 5, 6), ("reading rows", 6, 6)]
    assert ([one.episode for one in found.filtered], [one.episode for one in found.cuts]) == ([2], [1, 4, 5])


def test_without_a_terminal_progress_is_told_in_lines(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.commands.progress.SECONDS_BETWEEN_LINES", 0)
    flags: Sequence[str] = ["--robot", "aloha", "--trim-idle", "--horizon", "1", "--dry-run", "--local"]
    assert main(["convert", str(source), str(tmp_path / "out"), *flags]) == 0
    assert "reading rows: 100%" in capsys.readouterr().err.splitlines()
