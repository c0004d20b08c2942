"""What a run's model makes of held-out episodes: kept in each checkpoint, so that the best one is known and kept."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from millrace.embodiments import FrozenModel
from millrace.train.scores import Score, is_shown_worse, pool_scores

HELD_OUT = "heldout.json"


class HeldOut(FrozenModel):
    """A model's errors on held-out episodes.

    Args:
        key: Identifies data and choice of samples; only errors of one key can be compared.
        loss: The training loss without augmentation and dropout, with noise that is the same each time.
        num_samples: Of the loss.
        mse, mae: Of predicted against recorded actions, as `millrace evaluate` counts them; None: not measured.
        against_hold: The MSE as a share of holding still's, where that is known.
        group_mae: The MAE of each joint group, in its own units.
        episodes: The errors in each episode, over all values.
        seconds: How long measuring took.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")  # else NaN would be read as no record at all

    key: str
    loss: float
    num_samples: int
    mse: float | None = None
    mae: float | None = None
    against_hold: float | None = None
    group_mae: dict[str, float] = Field(default_factory=dict)
    episodes: tuple[Score, ...] = ()
    seconds: float = 0.0

    @property
    def range_error(self) -> float | None:
        """The root of the mean squared error as a share of the joints' ranges; None where it was not measured."""
        return pool_scores(self.episodes).range_error if self.episodes else None

    @property
    def deciding_error(self) -> float:
        """What decides which checkpoint is best: the open-loop error as of `millrace evaluate`, else the loss."""
        return pool_scores(self.episodes).deciding_error if self.episodes else self.loss

    @property
    def rule(self) -> str:
        """What `deciding_error` is, in words."""
        if not self.episodes:
            return "held-out loss"
        return "open-loop MSE" if self.range_error is None else "open-loop error as a share of each joint's range"

    @property
    def line(self) -> str:
        """The errors in words."""
        parts = [f"held-out loss {self.loss:.4f}"]
        if self.mse is not None:
            parts.append(f"open-loop MSE {self.mse:.4g}")
            parts.append(f"MAE {self.mae:.4g}")
        if self.range_error is not None:
            parts.append(f"error {self.range_error:.2%} of each joint's range")
        if self.against_hold is not None:
            parts.append(f"{self.against_hold:.2f} of holding still's")
        return "  ".join(parts)


def write_heldout(checkpoint: Path, found: HeldOut) -> None:
    """Keep the errors of a checkpoint in it."""
    (checkpoint / HELD_OUT).write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_heldout(checkpoint: Path) -> HeldOut | None:
    """The errors of a checkpoint; None where it has none."""
    try:
        return HeldOut.model_validate_json((checkpoint / HELD_OUT).read_bytes())
    except (OSError, ValidationError):
        return None


@dataclass(frozen=True)
class Best:
    """The best checkpoint of a run.

    Args:
        checkpoint: Its folder.
        heldout: Its errors.
        no_difference: Checkpoints that as many other episodes may as well have made the best; none by loss alone.
    """

    checkpoint: Path
    heldout: HeldOut
    no_difference: tuple[Path, ...]

    @property
    def lines(self) -> list[str]:
        """It in words."""
        lines = [f"best by {self.heldout.rule}: {self.checkpoint}  {self.heldout.line}"]
        if self.no_difference:
            alike = ", ".join(path.name for path in self.no_difference)
            lines.append(f"no significant difference over {len(self.heldout.episodes)} episode(s): {alike}")
        return lines


def find_best(checkpoints: Iterable[Path]) -> Best | None:
    """The checkpoint with the lowest `deciding_error`, of equals the later one, as `millrace evaluate` chooses.

    Only those are compared that were measured as the last one was, and whose error is a number.

    Args:
        checkpoints: In the order of their steps.
    """
    measured = [(path, found) for path in checkpoints if (found := read_heldout(path)) is not None]
    same = [(path, found) for path, found in measured if found.key == measured[-1][1].key]
    same = [(path, found) for path, found in same if math.isfinite(found.deciding_error)]
    if not same:
        return None
    best, least = min(reversed(same), key=lambda pair: pair[1].deciding_error)
    others = ((path, found) for path, found in same if path != best and least.episodes)
    alike = [path for path, found in others if not is_shown_worse(found.episodes, least.episodes)]
    return Best(best, least, tuple(alike))


def spread_evenly(count: int, num_chosen: int) -> list[int]:
    """At most `num_chosen` of [0, count), evenly spread, increasing."""
    places = np.linspace(0, count - 1, min(count, num_chosen)).round().astype(np.int64)
    return [int(place) for place in np.unique(places)]
