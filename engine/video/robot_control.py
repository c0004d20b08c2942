"""What drives a robot by a policy that a dataset trains: maps, cameras, frame sizes and rates, kept in the manifest."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from millrace.embodiments import EmbodimentMap, FrozenModel, Robot
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
from millrace.engine.fps import parse_fps
from millrace.engine.video.frame_size import MAX_SIDE, MIN_SIDE, FrameSize
from millrace.engine.video.framing import manifest_framings

Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]
Rate = Annotated[Fraction, BeforeValidator(parse_fps), PlainSerializer(str, return_type=str, when_used="json")]


class EarlierFraming(FrozenModel):
    """How an earlier conversion made a camera's frames what this one took. size: width and height."""

    crop: Literal["center", "pad", "none"]
    size: tuple[Side, Side]


class SourceControl(FrozenModel):
    """One kind of robot among a dataset's sources.

    map: from that robot to the dataset's, with the rules of the recipe. cameras: the robot's camera for each of the
    dataset's. fps: the rate of its recordings, Hz. earlier: for each of the dataset's cameras whose frames were cropped
    or padded before this conversion, how; None: in a way that is not known, or in several steps.
    """

    map: EmbodimentMap
    cameras: dict[str, str]
    fps: Rate
    earlier: dict[str, EarlierFraming | None] = Field(default_factory=dict)

    @property
    def robot(self) -> Robot:
        """The robot that was recorded."""
        return self.map.source


class Control(FrozenModel):
    """How a dataset came from its robots.

    fps: of its rows, Hz. crop: how frames came to their size. sizes: width and height of each camera's frames.
    """

    fps: Rate
    crop: Literal["center", "pad", "none"]
    sizes: dict[str, tuple[Side, Side]]
    sources: tuple[SourceControl, ...]


def manifest_control(root: Path) -> Control | None:
    """The `Control` of a dataset that Millrace made; None where its manifest has none."""
    try:
        found = read_manifest_head(root).control
        return None if found is None else Control.model_validate(found)
    except (Unreadable, ValidationError):
        return None


def earlier_framings(root: Path, cameras: Mapping[str, str]) -> dict[str, EarlierFraming | None]:
    """What a source that Millrace made says of its frames, as `SourceControl.earlier` has it.

    Args:
        root: The source's folder.
        cameras: The source's camera for each of the dataset's.
    """
    framings, control = manifest_framings(root), manifest_control(root)
    found: dict[str, EarlierFraming | None] = {}
    for target, camera in cameras.items():
        size = None if control is None else control.sizes.get(camera)
        known = [framing for framing in framings if size is None or framing.size == FrameSize(*size)]
        if all(framing.is_whole and framing.before is None for framing in known):
            continue
        is_single = control is not None and all(framing.before is None for framing in known)
        found[target] = EarlierFraming(crop=control.crop, size=size) if is_single and control and size else None
    return found
