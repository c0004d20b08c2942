"""Which codecs the videos of a source have."""

from collections.abc import Iterable

from millrace.engine.sources.episode import Clip, ImageColumn
from millrace.engine.video.decode import open_video


def codecs_of(clips: Iterable[Clip | ImageColumn]) -> set[str]:
    """The codecs of clips, as libav names them; pictures in rows have none.

    Raises:
        VideoError: a file is missing or damaged.
    """
    found = set()
    for clip in clips:
        if isinstance(clip, Clip):
            with open_video(clip.path, clip.root) as (_, stream):
                found.add(stream.codec_context.codec.canonical_name)
    return found
