"""Flags for how a source dataset is read."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, TypedDict

from millrace.engine.errors import RecipeError
from millrace.engine.fps import parse_fps
from millrace.train.flag_types import Flag, option


class ReadSettings(TypedDict):
    """Arguments of `open_source`."""

    follow_links: bool
    format: str | None
    fps: Fraction | None


@dataclass(frozen=True, kw_only=True)
class ReadFlags:
    """What a dataset does not say itself."""

    format: Annotated[str | None, option("NAME|FILE")] = None
    """Which keys of HDF5 files are state, action and cameras: aloha_act, isaaclab, libero, robomimic, or a file of your
    own; by default the one that fits."""
    source_fps: Annotated[str | None, option("HZ")] = None
    """The source's rate, where its metadata is wrong or does not say it."""
    follow_links: Flag = False
    """Follow links that lead out of the dataset's folder wherever they lead. Without it only those are followed whose
    owner, and that of what they lead to, is the folder's, and none of a folder that was downloaded or cloned."""

    def settings(self) -> ReadSettings:
        """The flags as arguments of `open_source`.

        Raises:
            RecipeError: the rate is none.
        """
        try:
            fps = None if self.source_fps is None else parse_fps(self.source_fps)
        except ValueError as error:
            raise RecipeError(f"--source-fps: {error}", got=self.source_fps) from None
        return {"follow_links": self.follow_links, "format": self.format, "fps": fps}
