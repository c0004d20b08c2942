"""Frame rates as exact fractions, and other exact numbers from what people write."""

import re
from fractions import Fraction

MAX_FPS = 10_000
# Of a rate such as 30000/1001: libav keeps both in 32 bits.
MAX_TERM = 2**31 - 1
# Longer than any number that is meant.
MAX_CHARACTERS = 64
# As Python writes floats, with exponents of three digits (1e999999999 would have a billion), or fractions.
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?|\d+/\d+)", re.ASCII | re.IGNORECASE)


def parse_fps(value: object) -> Fraction:
    """An exact rate from what metadata and command lines hold: 20, 29.97, "30000/1001".

    Floats are read as the nearest fraction with a denominator of at most 1001, so that 29.97002997
    becomes the 30000/1001 that it stands for.

    Raises:
        ValueError: not a positive, finite number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError(f"a frame rate is a number, not {show_value(value)}")
    try:
        fps = exact_number(value)
    except ValueError:
        raise ValueError(f"a frame rate is a number such as 20 or 30000/1001, not {show_value(value)}") from None
    if isinstance(value, Fraction) or "/" in str(value):
        is_rate = max(fps.numerator, fps.denominator) <= MAX_TERM
    else:
        fps, is_rate = fps.limit_denominator(1001), True
    if not is_rate or not 0 < fps <= MAX_FPS:
        raise ValueError(f"a frame rate lies above 0 and at most at {MAX_FPS} Hz, not {show_value(value)}")
    return fps


def format_fps(fps: Fraction) -> str:
    """The rate as people write it: "20", "29.97", "12.5"."""
    return str(fps.numerator) if fps.denominator == 1 else f"{float(fps):.4g}"


def exact_number(value: object) -> Fraction:
    """An exact number from 0.05, "0.05", "5e-2" or "1/20".

    Raises:
        ValueError: it is none, or longer than any that is meant.
    """
    if isinstance(value, Fraction):
        return value
    text = str(value).strip()  # an int of thousands of digits is a ValueError by itself
    if isinstance(value, bool) or len(text) > MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    numerator, slash, denominator = text.partition("/")
    if slash and int(denominator) == 0:
        raise ValueError("a division by zero")
    return Fraction(int(numerator), int(denominator)) if slash else Fraction(text)


def show_value(value: object) -> str:
    """A refused value as an error shows it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
