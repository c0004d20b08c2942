"""Depth in videos as LeRobot 0.6 keeps it: codes of 12 bits, and the scale that tells how far each is.

Source: LeRobot 0.6.1, configs/video.py (DepthEncoderConfig) and datasets/depth_utils.py (dequantize_depth).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

PIX_FMT = "gray12le"
NUM_CODES = 1 << 12
MM = 1000.0


@dataclass(frozen=True)
class DepthScale:
    """How codes become depth; the defaults are LeRobot's.

    depth_min, depth_max: of the first and the last code, in metres. shift: added before the logarithm, in metres.
    depth_unit: that of the dataset's statistics.
    """

    depth_min: float = 0.01
    depth_max: float = 10.0
    shift: float = 3.5
    use_log: bool = True
    depth_unit: Literal["m", "mm"] = "mm"

    @property
    def levels(self) -> NDArray[np.float64]:
        """Depth of each code in the unit of statistics, rising, (4096,)."""
        shift = self.shift if self.use_log else 0.0
        first, last = self.depth_min + shift, self.depth_max + shift
        if self.use_log:
            metres = np.exp(np.linspace(math.log(first), math.log(last), NUM_CODES)) - shift
        else:
            metres = np.linspace(first, last, NUM_CODES)
        levels: NDArray[np.float64] = metres * (MM if self.depth_unit == "mm" else 1.0)
        return levels


_SCALE = TypeAdapter(DepthScale)


def read_depth_scale(facts: Mapping[str, object]) -> DepthScale | None:
    """The scale of a depth video; None where its codes are none of 12 bits, or the scale makes no sense.

    Args:
        facts: What info.json says of the video, such as pix_fmt and depth_min.
    """
    if facts.get("pix_fmt") != PIX_FMT:
        return None
    stated = {name: facts[name] for name in DepthScale.__annotations__ if facts.get(name) is not None}
    try:
        scale = _SCALE.validate_python(stated)
    except ValidationError:
        return None
    numbers = np.array([scale.depth_min, scale.depth_max, scale.shift])
    is_sound = np.isfinite(numbers).all() and scale.depth_min < scale.depth_max
    return scale if is_sound and not (scale.use_log and scale.depth_min + scale.shift <= 0) else None
