"""Actions are shifted by exactly so many rows, and rows without an action are none of the output's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import recipe_for
from millrace.engine.dataset.record import Cut
from millrace.engine.errors import RecipeError
from millrace.engine.planning.action_shift import join_cuts, missing_actions, rows_with_actions, shift_rows


@given(num_frames=st.integers(1, 60), shift=st.integers(-70, 70))
def test_each_row_has_the_action_so_many_rows_before_it_or_none(num_frames: int, shift: int) -> None:
    rows = rows_with_actions(num_frames, shift)
    cuts = missing_actions(num_frames, shift)
    lacking = {frame for cut in cuts for frame in range(cut.start, cut.stop)}
    assert lacking == {frame for frame in range(num_frames) if not 0 <= frame - shift < num_frames}
    assert lacking.isdisjoint(range(num_frames)[rows])
    assert len(range(num_frames)[rows]) + len(lacking) == num_frames
    shifted = shift_rows(np.arange(num_frames)[:, np.newaxis], shift)
    assert len(shifted) == num_frames
    np.testing.assert_array_equal(shifted[rows, 0], np.arange(num_frames)[rows] - shift)


def test_cuts_of_rows_with_actions_lie_where_their_frames_do() -> None:
    found = (Cut(start=0, stop=3, why="start"), Cut(start=6, stop=8, why="pause"))
    joined = join_cuts(missing_actions(20, 2), found, start=2)
    assert [(cut.start, cut.stop, cut.why) for cut in joined] == [(0, 2, "action"), (2, 5, "start"), (8, 10, "pause")]
    joined = join_cuts(missing_actions(20, -2), found, start=0)
    assert [(cut.start, cut.stop, cut.why) for cut in joined] == [(0, 3, "start"), (6, 8, "pause"), (18, 20, "action")]


@pytest.mark.parametrize("value", [True, 1.5, "1.5", "automatic", 1001, None])
def test_what_is_no_shift_is_refused(value: object, tmp_path: object) -> None:
    with pytest.raises(RecipeError, match=r'align_action: takes "auto" or frames of the source, -1000 to 1000'):
        recipe_for("source", align_action=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "expected"), [(-2, -2), ("3", 3), ("auto", "auto"), (0, 0)])
def test_shifts_are_read(value: object, expected: object) -> None:
    assert recipe_for("source", align_action=value).align_action == expected  # type: ignore[arg-type]
