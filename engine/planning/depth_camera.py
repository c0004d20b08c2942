"""A depth camera of the output."""

from dataclasses import dataclass

from millrace.engine.sources.depth_scale import DepthScale


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera of the output; width, height: of its frames, in pixels."""

    name: str
    width: int
    height: int
    scale: DepthScale
