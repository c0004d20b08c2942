"""Read what a stream's header says and its frames do not, once for each file."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from millrace.engine.sources import Camera, FileState
from millrace.engine.video.decode import open_video

# Videos of a few cameras, each of which may hold the clips of a thousand episodes.
MAX_FILES = 32


@dataclass(frozen=True)
class StreamFacts:
    """What a stream's header says that its frames do not.

    color_tags: primaries and transfer, which PyAV 15 and 16 do not give for frames. pixel_aspect: width of a pixel by
    its height. mean_fps: frames by duration; None where nothing says. size: width and height as stored.
    """

    color_tags: dict[str, int] = field(default_factory=dict)
    pixel_aspect: Fraction = Fraction(1)
    mean_fps: Fraction | None = None
    size: tuple[int, int] = (0, 0)


def read_stream_facts(clip: Camera) -> StreamFacts:
    """Read the header of a clip's stream; images have none.

    Raises:
        VideoError: the file is missing, holds no video or is corrupt.
    """
    if (video := clip.video) is None:
        return StreamFacts()
    return _read_cached(video.path, video.root, FileState.read(video.path))


@lru_cache(MAX_FILES)
def _read_cached(path: Path, root: Path | None, _: FileState) -> StreamFacts:
    """Cached, as opening a file with many frames takes long; the state tells whether the file is still the same."""
    with open_video(path, root) as (_container, stream):
        codec = stream.codec_context
        return StreamFacts(
            color_tags={"color_primaries": codec.color_primaries, "color_trc": codec.color_trc},
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
            mean_fps=stream.average_rate or None,
            size=(codec.width, codec.height),
        )
