"""How a dataset's frames became square: a robot's live frames must be framed alike."""

from pathlib import Path

from millrace.embodiments.frozen_model import FrozenModel
from millrace.engine.dataset.published import manifest_head
from millrace.engine.video.reframe import Crop


class Framing(FrozenModel):
    """How frames of one size became square.

    width, height: of the source, in pixels. image_size: side of the output.
    """

    crop: Crop
    width: int
    height: int
    image_size: int

    def __str__(self) -> str:
        size, whole = f"{self.image_size}x{self.image_size}", f"{self.width}x{self.height}"
        if self.width == self.height:
            return f"trained on {size}, whole square frames of {whole}; send whole frames"
        if self.crop == "pad":
            return f"trained on {size}, padded from {whole}; send whole frames"
        return f"trained on {size}, cropped to the centre square of {whole}; crop live frames alike"


class _Head(FrozenModel):
    """The part of millrace.json that is read here."""

    frames: tuple[Framing, ...] = ()


def manifest_framings(root: Path) -> tuple[Framing, ...]:
    """The framings in the manifest of a dataset that Millrace made; empty where there is none."""
    try:
        head = manifest_head(root)
        return () if head is None else _Head.model_validate_json(head).frames
    except (OSError, ValueError):
        return ()
