"""How a dataset's frames became square: a robot's live frames must be framed alike."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
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


FRAMINGS = TypeAdapter(tuple[Framing, ...])


def manifest_framings(root: Path) -> tuple[Framing, ...]:
    """The framings in the manifest of a dataset that Millrace made; empty where there is none."""
    try:
        return FRAMINGS.validate_python(read_manifest_head(root).frames)
    except (Unreadable, ValidationError):
        return ()
