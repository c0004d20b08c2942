"""Geometry of a report's charts: paths of curves and bars of histograms, in the units of an SVG's view box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 320, 72
# Of a curve; more cannot be told apart on the page.
MAX_POINTS = 200
MAX_BARS = 24


@dataclass(frozen=True)
class ValueScale:
    """The values at the bottom and the top of a chart."""

    low: float
    high: float

    def place(self, values: Floats) -> Floats:
        """Heights from the top of the chart, in view box units."""
        share = (values - self.low) / (self.high - self.low)
        return np.clip((1 - share) * HEIGHT, -HEIGHT, 2 * HEIGHT)


def fit_scale(*curves: Floats) -> ValueScale:
    """The scale that shows every finite value of the curves, with a little space around them."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves] or [np.zeros(0)])
    if not len(values):
        return ValueScale(0, 1)
    low, high = float(values.min()), float(values.max())
    space = max(0.06 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-6)
    return ValueScale(low - space, high + space)


def draw_curve(values: Floats, scale: ValueScale, across: Floats | None = None) -> str:
    """The path of a curve, "M0 3.5L1 4"; broken where values are not finite.

    Args:
        values: (T,).
        scale: Of the chart.
        across: Where each value lies, from 0 to 1 of the chart's width, (T,); None: evenly over all of it.
    """
    frames = _pick_frames(values)
    places = frames / max(len(values) - 1, 1) if across is None else across[frames]
    down = scale.place(values[frames])
    path, is_drawing = [], False
    for x, y in zip((places * WIDTH).tolist(), down.tolist(), strict=True):
        if np.isfinite(y):
            path.append(f"{'L' if is_drawing else 'M'}{_number(x)} {_number(y)}")
        is_drawing = bool(np.isfinite(y))
    return "".join(path)


def _pick_frames(values: Floats) -> NDArray[np.int64]:
    """The frames that a curve is drawn through: of a long one, the lowest and the highest of each stretch."""
    num_frames = len(values)
    if num_frames <= MAX_POINTS:
        return np.arange(num_frames)
    edges = np.linspace(0, num_frames, MAX_POINTS // 2 + 1).astype(np.int64)
    filled = np.where(np.isfinite(values), values, 0)
    picked = {0, num_frames - 1}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        picked |= {start + int(filled[start:stop].argmin()), start + int(filled[start:stop].argmax())}
    return np.array(sorted(picked))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: where it begins, how wide and how high it is; title: what it counts."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """How often each range of values occurs. low, high: the values at its ends, as texts."""

    title: str
    bars: tuple[Bar, ...]
    low: str
    high: str
    note: str


def draw_histogram(title: str, values: Sequence[float], *, unit: str, note: str) -> Histogram | None:
    """Count values into at most MAX_BARS ranges; None where there are none.

    Args:
        title: What is counted.
        values: One for each episode.
        unit: Of the values.
        note: What it shows, in a few words.
    """
    if not values:
        return None
    low, high = min(values), max(values)
    num_bars = 1 if high == low else min(MAX_BARS, max(5, round(len(values) ** 0.5 * 2)))
    counts, edges = np.histogram(values, bins=num_bars, range=(low, high if high > low else low + 1))
    most, width = int(counts.max()), WIDTH / num_bars
    bars = []
    for number, count in enumerate(counts.tolist()):
        span = f"{low:.4g}" if num_bars == 1 else f"{edges[number]:.4g} to {edges[number + 1]:.4g}"
        episodes = f"{count:,} episode{'s' * (count != 1)}"
        height = 0.0 if not count else max(HEIGHT * count / most, 2.0)
        left, wide = (WIDTH * 0.44, WIDTH * 0.12) if num_bars == 1 else (number * width + 0.75, width - 1.5)
        bars.append(
            Bar(
                round(left, 2),
                round(HEIGHT - height, 2),
                round(wide, 2),
                round(height, 2),
                f"{span} {unit}: {episodes}",
            )
        )
    return Histogram(title, tuple(bars), f"{low:.4g} {unit}", f"{high:.4g} {unit}", note)
