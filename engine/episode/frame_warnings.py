"""Warnings about a clip's frames, found while they are converted."""

from collections.abc import Iterable, Iterator

from millrace.engine.dataset import EpisodeWarning
from millrace.engine.sources import Camera
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import Frame
from millrace.engine.video.histogram import RgbHistogram
from millrace.engine.video.levels import BLACK_LEVEL, STILL_LEVELS, WHITE
from millrace.engine.video.reframe import UPRIGHT, display_turn
from millrace.engine.video.stream_facts import StreamFacts

MIN_COMPARED = 3
# Formats of depth in one channel, of which 8 bits remain.
DEEP_GREY = ("gray9", "gray10", "gray12", "gray14", "gray16", "grayf")


class FrameWatch:
    """Notes format and turn of a clip's first decoded frame."""

    def __init__(self) -> None:
        self.turn: tuple[int, ...] = UPRIGHT
        self.pix_fmt, self.size = "", (0, 0)

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames; note the first on the way."""
        for number, frame in enumerate(frames):
            if number == 0:
                self.turn, self.pix_fmt, self.size = display_turn(frame), frame.format.name, (frame.width, frame.height)
            yield frame

    def warnings(self, facts: StreamFacts, histogram: RgbHistogram) -> tuple[EpisodeWarning, ...]:
        """Warnings about the whole clip, once it is written; histogram: of its sampled frames."""
        return tuple(EpisodeWarning(code=code, message=message) for code, message in self._found(facts, histogram))

    def _found(self, facts: StreamFacts, histogram: RgbHistogram) -> Iterator[tuple[str, str]]:
        width, height = self.size
        if self.turn != UPRIGHT:
            yield "turned-video", f"frames of {width}x{height} were turned as the video's display matrix says"
        if facts.pixel_aspect != 1:
            aspect = f"{facts.pixel_aspect.numerator}:{facts.pixel_aspect.denominator}"
            yield (
                "pixel-aspect",
                f"frames of {width}x{height} have pixels of {aspect}, and were scaled to square ones",
            )
        if self.pix_fmt.startswith(DEEP_GREY):
            message = f"frames are {self.pix_fmt}, as depth is; 8 bits of each value remain"
            yield "deep-grey", f"{message}. Leave the camera out if it is depth"
        if histogram.mean_level() * WHITE < BLACK_LEVEL:
            yield "black-video", f"all {histogram.num_frames} sampled frames are black"
        elif histogram.num_frames >= MIN_COMPARED and histogram.largest_change <= STILL_LEVELS:
            message = f"all {histogram.num_frames} sampled frames look alike"
            yield "still-video", f"{message}; `millrace inspect` tells whether the robot moves meanwhile"


def is_upright_square(clip: Camera, facts: StreamFacts) -> bool:
    """Whether frames are not turned and have square pixels; only libavfilter handles others."""
    return facts.pixel_aspect == 1 and (clip.video is None or read_boxes(clip.video.path).is_upright)
