"""Read the codecs of a source's videos."""

from collections.abc import Iterable

from millrace.engine.sources import Clip, ImageColumn
from millrace.engine.video.decode import open_video


def read_codecs(clips: Iterable[Clip | ImageColumn]) -> set[str]:
    """Read the codecs of clips, as libav names them; images in rows have none.

    Raises:
        VideoError: a file is missing or damaged.
    """
    found = set()
    for clip in clips:
        if isinstance(clip, Clip):
            with open_video(clip.path, clip.root) as (_, stream):
                found.add(stream.codec_context.codec.canonical_name)
    return found
