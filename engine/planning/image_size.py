"""The setting image_size: the side of square images, width x height, or each camera's own size."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from millrace.embodiments import Remedy
from millrace.embodiments.errors import WrongField
from millrace.engine.video.frame_size import MAX_SIDE, MIN_SIDE, FrameSize

OWN_SIZE = "source"
DEFAULT_SIDE = 256
SIDES = re.compile(r"(\d{1,9})(?:x(\d{1,9}))?", re.IGNORECASE | re.ASCII)


def check_image_size(value: object) -> int | str:
    """Normalise 256, "256x256", "320x180" or "source"; a square is the number of its side.

    Raises:
        WrongField: it is none of these, out of range, or odd.
    """
    if value == OWN_SIZE:
        return OWN_SIZE
    found = SIDES.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if found is None:
        expected = "256, width x height such as 320x180, or source"
        raise WrongField((), f"takes {expected}, not {value!r}", got=value, expected=expected)
    size = FrameSize(int(found[1]), int(found[2] or found[1]))
    _check_sides(size, str(value))
    return size.width if size.is_square else str(size)


def _check_sides(size: FrameSize, given: str) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise WrongField((), f"sides of {MIN_SIDE} to {MAX_SIDE} pixels can be made, not {given}", got=given)
    if not size.is_even:
        names = " or ".join(describe_image_size(even) for even in even_sizes(size))
        problem = f"{given} is odd, and H.264 in 4:2:0 keeps one colour for two by two pixels; "
        raise WrongField((), problem, Remedy(f"the nearest even sizes are {names}"), got=given, expected=names)


def even_sizes(size: FrameSize) -> tuple[FrameSize, ...]:
    """The nearest even sizes, below and above, of those that can be made."""
    below = FrameSize(*(side // 2 * 2 for side in size))
    above = FrameSize(*(-(-side // 2) * 2 for side in size))
    return tuple(even for even in (below, above) if min(even) >= MIN_SIDE and max(even) <= MAX_SIDE)


def describe_image_size(size: FrameSize) -> str:
    """As the setting has it: 256 or 320x180."""
    return str(size.width if size.is_square else size)


def parse_image_size(image_size: int | str) -> FrameSize | None:
    """The size that the setting names, a square where it is one number; None for "source"."""
    if image_size == OWN_SIZE:
        return None
    if isinstance(image_size, int):
        return FrameSize.square(image_size)
    return FrameSize(*map(int, image_size.split("x")))


_Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=2)]
_Text = Annotated[str, Field(pattern=r"^([0-9]+(x[0-9]+)?|source)$")]
ImageSize = Annotated[int | str, BeforeValidator(check_image_size, json_schema_input_type=_Side | _Text)]
