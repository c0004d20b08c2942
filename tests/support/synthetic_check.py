"""Whether a conversion at 20 Hz of synthetic episodes at 50 Hz holds their rows and frames, and no others."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from conftest import matrix, read_meta, read_table, video_path
from millrace.engine.planning.resample import nearest_indices
from support.synthetic import Stamp, expected_action, expected_state, read_stamps


def assert_converted(
    out: Path,
    lengths: Sequence[int],
    *,
    first_episode: int = 0,
    cameras: Sequence[str] = ("top",),
    joints: Sequence[int] | None = None,
) -> None:
    """Compare every value and every picture's barcode.

    Args:
        out: The converted dataset.
        lengths: Frames of the source's episodes.
        first_episode: The source's number of the first of them.
        cameras: The output's cameras, in the source's order.
        joints: The place in the source's vector of each joint of the output; None where both have one order.
    """
    assert [line["episode_index"] for line in read_meta(out, "episodes.jsonl")] == list(range(len(lengths)))
    for episode, length in enumerate(lengths):
        source = first_episode + episode
        frames = nearest_indices(length, source_fps=Fraction(50), target_fps=Fraction(20))
        table = read_table(out, episode)
        for column, known in (("observation.state", expected_state), ("action", expected_action)):
            rows = known(source, frames)
            np.testing.assert_array_equal(matrix(table, column), rows if joints is None else rows[:, joints])
        for number, camera in enumerate(cameras):
            expected = [Stamp(frame, source, number) for frame in frames.tolist()]
            assert read_stamps(video_path(out, episode, camera)) == expected
