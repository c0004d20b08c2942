"""Image columns without colour: depth maps and segmentation masks, which GR00T does not take."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Content = Literal["depth", "segmentation"]

WORDS: Mapping[str, Content] = {
    "depth": "depth",
    "segmentation": "segmentation",
    "seg": "segmentation",
    "mask": "segmentation",
    "masks": "segmentation",
}
# Masks are also stored as colours, one for each object; no camera is called so.
MASKS = {"seg", "segmentation"}
# Of one channel; gray and gray8 are those of cameras.
DEEP_GREY = re.compile(r"gray(9|1\d|f)")


def image_content(
    key: str, shape: Sequence[int], names: Sequence[str] | None, facts: Mapping[str, object]
) -> Content | None:
    """What images show instead of colours; None: colours, or grey values as of an infrared camera.

    Args:
        key: Of the feature, such as "observation.images.top_depth".
        shape: Of a picture: height, width and channels, in any order, or without channels.
        names: Of these, where info.json has them.
        facts: What info.json says of the video, such as is_depth_map and pix_fmt.
    """
    # Some tools write every value as a number, true as 1.0.
    if facts.get("is_depth_map") in (True, "true") or DEEP_GREY.match(str(facts.get("pix_fmt", ""))):
        return "depth"
    words = [word for word in re.split(r"[^a-z0-9]+", key.lower()) if word in WORDS]
    if not MASKS.isdisjoint(words):
        return "segmentation"
    return WORDS[words[0]] if words and num_channels(shape, names) == 1 else None


def num_channels(shape: Sequence[int], names: Sequence[str] | None) -> int | None:
    """Values a pixel, None where the shape does not say."""
    if len(shape) == 2:
        return 1
    if len(shape) != 3:
        return None
    named = [size for size, name in zip(shape, names or (), strict=False) if name.startswith("channel")]
    if len(named) == 1:
        return named[0]
    return next((size for size in (shape[2], shape[0]) if size in (1, 3, 4)), None)
