"""Errors on held-out episodes: kept in checkpoints, of which the best one is not deleted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.train.errors import SettingsError
from millrace.train.heldout import HeldOut, find_best, read_heldout, spread_evenly, write_heldout
from millrace.train.run_folder import complete_checkpoints, mark_complete
from millrace.train.scores import GroupScore, Score, best_score, find_equals, pool_episodes, score_episode
from millrace.train.settings import FinetuneSettings


def save(
    run: Path, step: int, loss: float | None, *, key: str = "a", keep: int = 2, errors: Sequence[Score] = ()
) -> Path:
    """A complete checkpoint with that held-out loss, and with those errors in episodes."""
    checkpoint = run / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    if loss is not None:
        write_heldout(checkpoint, HeldOut(key=key, loss=loss, num_samples=4, episodes=tuple(errors)))
    mark_complete(checkpoint, keep=keep)
    return checkpoint


def steps(run: Path) -> list[int]:
    return [int(path.name.removeprefix("checkpoint-")) for path in complete_checkpoints(run)]


def best_checkpoint(run: Path) -> Path | None:
    best = find_best(complete_checkpoints(run))
    return None if best is None else best.checkpoint


def errors(*range_mse: float, mse: float = 1.0) -> list[Score]:
    """The errors of a model in each episode."""
    return [Score(num_values=10, mse=mse, mae=1.0, num_moving=10, range_mse=error) for error in range_mse]


def test_the_best_checkpoint_outlives_the_limit_until_a_better_one_comes(tmp_path: Path) -> None:
    for step, loss in ((1, 0.5), (2, 0.3), (3, 0.4), (4, 0.6), (5, None)):
        save(tmp_path, step, loss)
    assert steps(tmp_path) == [2, 4, 5]
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    save(tmp_path, 6, 0.2)
    assert steps(tmp_path) == [5, 6]


def test_losses_of_other_held_out_data_are_not_compared(tmp_path: Path) -> None:
    save(tmp_path, 1, 0.1, key="other", keep=9)
    best = save(tmp_path, 2, 0.3, keep=9)
    save(tmp_path, 3, 0.4, keep=9)
    assert best_checkpoint(tmp_path) == best


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1, 0.1)
    (checkpoint / "heldout.json").write_text('{"loss": ')
    assert read_heldout(checkpoint) is None
    assert find_best([checkpoint]) is None


def test_the_open_loop_error_in_ranges_decides_where_it_was_measured(tmp_path: Path) -> None:
    """Not the loss, nor the error in the data's units, which hands in degrees outweigh."""
    save(tmp_path, 1, 0.1, errors=errors(0.02, 0.04, mse=1.0), keep=1)
    save(tmp_path, 2, 0.3, errors=errors(0.01, 0.03, mse=9.0), keep=1)
    save(tmp_path, 3, 0.2, errors=errors(0.03, 0.05, mse=2.0), keep=1)
    assert steps(tmp_path) == [2, 3]
    best = find_best(complete_checkpoints(tmp_path))
    assert best is not None
    assert best.lines[0].startswith("best by open-loop error as a share of each joint's range: ")
    assert "error 14.14% of each joint's range" in best.lines[0]


def test_checkpoints_that_episodes_do_not_tell_apart_are_named(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).uniform(0.01, 0.02, (3, 12))
    for step, (draw, more) in enumerate(zip(draws, (0.0005, 0.0, 0.1), strict=True), start=1):
        save(tmp_path, step, 0.1, errors=errors(*(draw + more)), keep=9)
    best = find_best(complete_checkpoints(tmp_path))
    assert best is not None
    alike = next(tmp_path / f"checkpoint-{step}" for step in (1, 2) if best.checkpoint.name != f"checkpoint-{step}")
    assert best.no_difference == (alike,)
    assert best.lines[1] == f"no significant difference over 12 episode(s): {alike.name}"


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3), min_size=1, max_size=5), st.booleans())
def test_the_best_and_its_equals_are_those_of_an_evaluation(
    tmp_path_factory: pytest.TempPathFactory, found: list[list[float]], has_ranges: bool
) -> None:
    """Of the same episodes, with and without known ranges."""
    run = tmp_path_factory.mktemp("run")
    evaluated = []
    for step, values in enumerate(found, start=1):
        totals = errors(*values) if has_ranges else [Score(num_values=10, mse=error, mae=1.0) for error in values]
        save(run, step, 1.0 / step, errors=totals, keep=9)
        groups = [{"arm": GroupScore(**total.model_dump())} for total in totals]
        episodes = [score_episode(number, 10, by_group) for number, by_group in enumerate(groups)]
        evaluated.append(pool_episodes(f"checkpoint-{step}", None, episodes))
    best, theirs = find_best(complete_checkpoints(run)), best_score(evaluated)
    assert best is not None
    assert best.checkpoint.name == theirs.checkpoint
    assert tuple(path.name for path in best.no_difference) == find_equals(theirs, evaluated)


def test_without_episodes_the_loss_decides_and_none_is_called_alike(tmp_path: Path) -> None:
    for step, loss in ((1, 0.2), (2, 0.1), (3, 0.1)):
        save(tmp_path, step, loss, keep=9)
    best = find_best(complete_checkpoints(tmp_path))
    assert best is not None
    assert best.lines == [f"best by held-out loss: {tmp_path / 'checkpoint-3'}  held-out loss 0.1000"]


def test_a_loss_that_is_no_number_is_kept_and_never_the_best(tmp_path: Path) -> None:
    first, second = save(tmp_path, 1, float("nan"), keep=9), save(tmp_path, 2, 0.3, keep=9)
    kept = read_heldout(first)
    assert kept is not None
    assert kept.line == "held-out loss nan"
    assert best_checkpoint(tmp_path) == second
    assert find_best([first]) is None


def test_samples_are_spread_evenly() -> None:
    assert spread_evenly(10, 4) == [0, 3, 6, 9]
    assert spread_evenly(3, 8) == [0, 1, 2]
    assert spread_evenly(5, 0) == []


def test_a_line_tells_what_was_measured() -> None:
    found = HeldOut(key="a", loss=0.04117, num_samples=128)
    assert found.line == "held-out loss 0.0412"
    found = found.model_copy(update={"mse": 0.00123, "mae": 0.0214, "against_hold": 0.314})
    assert found.line == "held-out loss 0.0412  open-loop MSE 0.00123  MAE 0.0214  0.31 of holding still's"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"eval_steps": 5}, "eval_steps=5 needs eval_dataset"),
        ({"eval_steps": 0, "eval_dataset": Path("h")}, "eval_steps=0: must be at least 1"),
        ({"eval_dataset": Path("out/a")}, "eval_dataset=.* is trained on: hold episodes out"),
        ({"eval_samples": 0}, "eval_samples=0: must be at least 1"),
    ],
)
def test_settings_that_measure_nothing_are_errors(flags: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        FinetuneSettings(datasets=(Path("out/a"),), base_model_path="base", **flags)  # type: ignore[arg-type]
