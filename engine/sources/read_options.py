"""What the user says of a source that its files do not say."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class ReadOptions:
    """Facts of recordings as rigs write them; LeRobot's layouts need none.

    format: a layout of HDF5 files, by its name or the path of its file; None: as the files show. fps: the rate, Hz,
    where nothing else tells it. is_fps_assumed: nobody said so; the rate does not matter yet.
    """

    format: str | None = None
    fps: Fraction | None = None
    is_fps_assumed: bool = False
