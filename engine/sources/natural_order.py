"""Sort names as people count: numbers by their value."""

import re


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which demo_2 comes before demo_10."""
    parts = re.findall(r"\d{1,30}|\D+", name)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)
