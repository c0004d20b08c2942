"""Which source frames become an episode's output: those that are not cut, then resampled as if nothing lay between."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.record import Cut
from millrace.engine.planning.resample import Resampler, frame_indices


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """The same for state, action and every camera.

    kept: source frames that are not cut, rising, (N,). chosen: places in `kept`, one an output frame, rising, (T',).
    """

    kept: NDArray[np.int64]
    chosen: NDArray[np.int64]

    @property
    def frames(self) -> NDArray[np.int64]:
        """The source frame of each output frame, rising, (T',)."""
        return self.kept[self.chosen]


def choose_frames(
    num_frames: int,
    cuts: Iterable[Cut] = (),
    *,
    source_fps: Fraction,
    target_fps: Fraction,
    resampler: Resampler,
) -> FrameChoice:
    """Choose an episode's frames; cuts: stretches of its `num_frames` source frames that are left out."""
    is_kept = np.ones(num_frames, dtype=np.bool_)
    for cut in cuts:
        is_kept[cut.start : cut.stop] = False
    kept = np.flatnonzero(is_kept)
    chosen = frame_indices(len(kept), source_fps=source_fps, target_fps=target_fps, resampler=resampler)
    return FrameChoice(kept, chosen)
