"""How a dataset's frames were cropped or padded: a robot's live frames must be framed alike."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Crop

# Characters of `before`.
MAX_TEXT = 300


class Framing(FrozenModel):
    """How frames of one size became a dataset's.

    width, height: of the source, in pixels. image_size: of the output: the side of a square, or "320x180". before: how
    an earlier conversion cropped or padded what this one cropped or padded again.
    """

    crop: Crop
    width: int
    height: int
    image_size: int | Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]
    before: Annotated[str, Field(max_length=MAX_TEXT)] | None = None

    @classmethod
    def of(cls, source: FrameSize, size: FrameSize, crop: Crop) -> "Framing":
        """From the frames of a source to those of `size`."""
        image_size = size.width if size.is_square else str(size)
        return cls(crop=crop, width=source.width, height=source.height, image_size=image_size)

    @property
    def size(self) -> FrameSize:
        """Width and height of the output."""
        if isinstance(self.image_size, int):
            return FrameSize.square(self.image_size)
        return FrameSize(*map(int, self.image_size.split("x")))

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut off or added."""
        return self.crop == "none" or self.width * self.size.height == self.height * self.size.width

    def follow(self, later: "Framing") -> "Framing":
        """Both in one: this, and then what a later conversion did with its output."""
        if later.is_whole:
            return self.model_copy(update={"image_size": later.image_size})
        if self.is_whole:
            return later.model_copy(update={"width": self.width, "height": self.height, "before": self.before})
        return later.model_copy(update={"before": f"{self.size}, {self._how}"[:MAX_TEXT]})

    def __str__(self) -> str:
        return f"trained on {self.size}, {self._how}; {self._advice}"

    @property
    def _how(self) -> str:
        source = f"{FrameSize(self.width, self.height)}{f' (which were {self.before})' if self.before else ''}"
        if self.is_whole:
            return f"whole frames of {source}"
        if self.crop == "pad":
            return f"padded from {source}"
        if self.size.is_square:
            return f"cropped to the centre square of {source}"
        return f"cropped to the centre of {source}, of this aspect"

    @property
    def _advice(self) -> str:
        if self.before is not None:
            return "make live frames alike"
        if self.crop == "center" and not self.is_whole:
            return "crop live frames alike"
        # GR00T pads live frames to squares itself.
        return "send whole frames" if self.is_whole or self.size.is_square else "pad live frames alike"


FRAMINGS = TypeAdapter(tuple[Framing, ...])


def manifest_framings(root: Path) -> tuple[Framing, ...]:
    """The framings in the manifest of a dataset that Millrace made; empty where there is none."""
    try:
        return FRAMINGS.validate_python(read_manifest_head(root).frames)
    except (Unreadable, ValidationError):
        return ()
