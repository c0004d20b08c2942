"""Errors on held-out episodes: kept in checkpoints, of which the best one is not deleted."""

from pathlib import Path

import pytest

from millrace.train.errors import SettingsError
from millrace.train.heldout import HeldOut, best_checkpoint, read_heldout, spread_evenly, write_heldout
from millrace.train.run_folder import complete_checkpoints, mark_complete
from millrace.train.settings import FinetuneSettings


def save(run: Path, step: int, loss: float | None, *, key: str = "a", keep: int = 2) -> Path:
    """A complete checkpoint with that held-out loss."""
    checkpoint = run / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    if loss is not None:
        write_heldout(checkpoint, HeldOut(key=key, loss=loss, num_samples=4))
    mark_complete(checkpoint, keep=keep)
    return checkpoint


def steps(run: Path) -> list[int]:
    return [int(path.name.removeprefix("checkpoint-")) for path in complete_checkpoints(run)]


def test_the_best_checkpoint_outlives_the_limit_until_a_better_one_comes(tmp_path: Path) -> None:
    for step, loss in ((1, 0.5), (2, 0.3), (3, 0.4), (4, 0.6), (5, None)):
        save(tmp_path, step, loss)
    assert steps(tmp_path) == [2, 4, 5]
    assert best_checkpoint(complete_checkpoints(tmp_path)) == tmp_path / "checkpoint-2"
    save(tmp_path, 6, 0.2)
    assert steps(tmp_path) == [5, 6]


def test_losses_of_other_held_out_data_are_not_compared(tmp_path: Path) -> None:
    save(tmp_path, 1, 0.1, key="other", keep=9)
    best = save(tmp_path, 2, 0.3, keep=9)
    save(tmp_path, 3, 0.4, keep=9)
    assert best_checkpoint(complete_checkpoints(tmp_path)) == best


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1, 0.1)
    (checkpoint / "heldout.json").write_text('{"loss": ')
    assert read_heldout(checkpoint) is None
    assert best_checkpoint([checkpoint]) is None


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
