"""Frame rates as exact fractions."""

import math
from fractions import Fraction

# Of a rate such as 30000/1001: libav keeps both in 32 bits.
MAX_TERM = 2**31 - 1


def parse_fps(value: object) -> Fraction:
    """An exact rate from what metadata and command lines hold: 20, 29.97, "30000/1001".

    Floats are read as the nearest fraction with a denominator of at most 1001, so that 29.97002997
    becomes the 30000/1001 that it stands for.

    Raises:
        ValueError: not a positive, finite number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError(f"a frame rate is a number, not {value!r}")
    try:
        fps = _exact(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"a frame rate is a number such as 20 or 30000/1001, not {value!r}") from None
    if not 0 < fps <= 10_000:
        raise ValueError(f"a frame rate lies above 0 and at most at 10000 Hz, not {value!r}")
    return fps


def _exact(value: int | float | str | Fraction) -> Fraction:
    text = str(value)
    if "/" in text:
        fps = Fraction(text)
        return fps if max(fps.numerator, fps.denominator) <= MAX_TERM else Fraction(0)
    if not math.isfinite(number := float(text)) or not 0 < number <= 1e5:
        return Fraction(0)
    return Fraction(text).limit_denominator(1001)


def format_fps(fps: Fraction) -> str:
    """The rate as people write it: "20", "29.97", "12.5"."""
    return str(fps.numerator) if fps.denominator == 1 else f"{float(fps):.4g}"
