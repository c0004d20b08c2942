"""Episodes of so many frames that float32 cannot hold their timestamps as exactly as LeRobot wants them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from millrace.engine.planning.plan import EpisodePlan
from millrace.engine.text import join_names

# LeRobot 0.3.3's tolerance_s, seconds, for the steps between timestamps (datasets/utils.py, check_timestamps_sync).
LEROBOT_TOLERANCE_SECONDS = 1e-4


def long_episode_notes(episodes: Sequence[EpisodePlan], fps: Fraction) -> Iterator[str]:
    """A note on episodes so long that LeRobot cannot load the output; GR00T does not read timestamps."""
    longest = max((episode.num_frames for episode in episodes), default=0)
    limit = num_exact_frames(longest, fps)
    long = [episode for episode in episodes if episode.num_frames > limit]
    if long:
        listed = join_names(
            [f"{episode.episode.index} ({episode.num_frames / float(fps):.0f} s)" for episode in long], 4
        )
        yield (
            f"{len(long)} episodes are longer than {limit / float(fps):.0f} s (of the source: {listed}); LeRobot 0.3.3 "
            f"refuses their timestamps, as float32 rounds them by more than {LEROBOT_TOLERANCE_SECONDS:g} s; GR00T "
            "ignores them. For LeRobot load the output with tolerance_s=1e-3, or leave them out by --episodes"
        )


def num_exact_frames(num_frames: int, fps: Fraction) -> int:
    """How many frames from the start have float32 timestamps whose steps are 1 / fps within LeRobot's tolerance."""
    seconds = (np.arange(num_frames) / float(fps)).astype(np.float32)
    off = np.flatnonzero(np.abs(np.diff(seconds) - np.float32(1 / fps)) > LEROBOT_TOLERANCE_SECONDS)
    return int(off[0]) + 1 if len(off) else num_frames
