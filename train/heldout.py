"""What a run's model makes of held-out episodes: kept in each checkpoint, so that the best one is known and kept."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from millrace.embodiments import FrozenModel

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
        seconds: How long measuring took.
    """

    key: str
    loss: float
    num_samples: int
    mse: float | None = None
    mae: float | None = None
    against_hold: float | None = None
    group_mae: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """The errors in words."""
        parts = [f"held-out loss {self.loss:.4f}"]
        if self.mse is not None:
            parts.append(f"open-loop MSE {self.mse:.4g}")
            parts.append(f"MAE {self.mae:.4g}")
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


def best_checkpoint(checkpoints: Iterable[Path]) -> Path | None:
    """The checkpoint with the lowest held-out loss of those that were measured as the last one was.

    Args:
        checkpoints: In the order of their steps.
    """
    measured = [(path, found) for path in checkpoints if (found := read_heldout(path)) is not None]
    same = [(found.loss, path) for path, found in measured if found.key == measured[-1][1].key]
    return min(same, key=lambda pair: pair[0])[1] if same else None


def spread_evenly(count: int, num_chosen: int) -> list[int]:
    """At most `num_chosen` of [0, count), evenly spread, increasing."""
    places = np.linspace(0, count - 1, min(count, num_chosen)).round().astype(np.int64)
    return [int(place) for place in np.unique(places)]
