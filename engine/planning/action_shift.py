"""By how many frames actions are shifted against the states of a source, where the recipe asks for it.

A shift has the sign of the lag that inspection measures: positive where the state follows the action, and actions
move to later rows; negative where the action follows the state, and actions move to earlier rows.

    source row           0    1    2    3    4    5
    action, shift 2      -    -    a0   a1   a2   a3     rows 0 and 1 have no action
    action, shift -2     a2   a3   a4   a5   -    -      rows 4 and 5 have none
"""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from millrace.embodiments import CompiledMap, Message, Remedy, Setting
from millrace.engine.dataset.record import Cut
from millrace.engine.errors import RecipeError

AUTO = "auto"
MAX_SHIFT = 1000
Values = TypeVar("Values", bound=np.generic)


def _check_alignment(value: object) -> object:
    if value == AUTO:
        return value
    try:
        shift = None if isinstance(value, bool) else int(str(value))
    except ValueError:
        shift = None
    if shift is None or abs(shift) > MAX_SHIFT:
        raise ValueError(f'takes "{AUTO}" or frames of the source, {-MAX_SHIFT} to {MAX_SHIFT}, not {value!r}')
    return shift


AlignAction = Annotated[int | Literal["auto"], BeforeValidator(_check_alignment)]


def shift_rows(action: NDArray[Values], shift: int) -> NDArray[Values]:
    """The action of each row, (T, D); rows that have none, see `missing_actions`, hold any other."""
    rows = np.arange(len(action)) - shift
    return action if shift == 0 else action[np.clip(rows, 0, len(action) - 1)]


def rows_with_actions(num_frames: int, shift: int) -> slice:
    """The rows that have an action; empty where the shift is as long as the episode."""
    start = min(max(shift, 0), num_frames)
    return slice(start, max(num_frames + min(shift, 0), start))


def missing_actions(num_frames: int, shift: int) -> tuple[Cut, ...]:
    """The source frames whose action lies beyond the episode; at most all of its `num_frames`."""
    rows = rows_with_actions(num_frames, shift)
    ends = (0, rows.start), (rows.stop, num_frames)
    return tuple(Cut(start=start, stop=stop, why="action") for start, stop in ends if start < stop)


def join_cuts(missing: tuple[Cut, ...], found: tuple[Cut, ...], *, start: int) -> tuple[Cut, ...]:
    """Frames without an action and cuts of those that have one, rising; start: the first frame that has one."""
    moved = (one.model_copy(update={"start": one.start + start, "stop": one.stop + start}) for one in found)
    return tuple(sorted((*missing, *moved), key=lambda cut: cut.start))


def check_alignment(compiled: CompiledMap) -> None:
    """Check that a lag can be measured.

    Raises:
        RecipeError: actions are steps or velocities, whose changes do not go with those of the state.
    """
    kinds = set(compiled.source.layout("action").action_kinds) - {"target"}
    if kinds:
        problem = f"the lag of targets behind the state is measured, and actions of '{compiled.source.name}' are "
        held = " and ".join({"delta": "steps", "velocity": "velocities"}[kind] for kind in sorted(kinds))
        advice = Remedy("say how many frames with ", Setting("align_action", 2))
        raise RecipeError(problem, held, "; ", advice, got=sorted(kinds), expected="target")


def shift_notes(address: str, shift: int, fps: float) -> Iterator[str]:
    """What the user should know of a shift of a source's actions."""
    if shift == 0:
        return
    num_frames = abs(shift)
    frames = f"{num_frames} frame{'s' * (num_frames != 1)} ({num_frames / fps * 1000:.0f} ms)"
    if shift < 0:
        yield f"{address}: actions move {frames} earlier; the last {num_frames} of each episode have none and are cut"
        return
    yield Message(
        f"{address}: actions move {frames} later, as the state follows them by that; the first {num_frames} of each "
        "episode have none and are cut. Where that is the robot's own delay, and not the recorder's, leave out ",
        Setting("align_action"),
        ": actions that lead to a state belong before it",
    )
