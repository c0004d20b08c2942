"""Read the codecs of a source's videos."""

from collections.abc import Iterable

from millrace.engine.sources import Camera
from millrace.engine.video.decode import open_video


def read_codecs(clips: Iterable[Camera]) -> set[str]:
    """Read the codecs of clips, as libav names them; images have none.

    Raises:
        VideoError: a file is missing or damaged.
    """
    found = set()
    for clip in clips:
        if (video := clip.video) is not None:
            with open_video(video.path, video.root) as (_, stream):
                found.add(stream.codec_context.codec.canonical_name)
    return found
