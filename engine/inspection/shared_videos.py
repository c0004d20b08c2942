"""Find videos that two episodes share."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from millrace.engine.inspection.clip_findings import Shot
from millrace.engine.inspection.findings import Finding
from millrace.engine.sources import SourceFiles

# Videos with other frames differ in their first frames, or in the table of frame sizes at either end of the file.
END_BYTES = 1 << 17


def shared_video_findings(files: SourceFiles, shots: Iterable[Shot]) -> Iterator[Finding]:
    """Findings about episodes whose own video of a camera equals another's in its first and last bytes.

    Args:
        files: The dataset's.
        shots: Clips whose video could be opened; one that cannot be read any more is a finding.
    """
    alike: dict[tuple[str, int], list[tuple[Shot, Path]]] = defaultdict(list)
    for shot in shots:
        video = shot.clip.video
        if video is not None and video.start_seconds is None:
            size = files.size(video.path)
            alike[shot.camera, -1 if size is None else size].append((shot, video.path))
    for group in alike.values():
        yield from _compare(group) if len(group) > 1 else ()


def _compare(alike: Sequence[tuple[Shot, Path]]) -> Iterator[Finding]:
    first: dict[bytes, int] = {}
    for shot, path in alike:
        try:
            episode = first.setdefault(_digest(path), shot.episode.index)
        except OSError as error:
            reason = f"{path} cannot be read ({error.strerror}), so it was not compared with other episodes' videos"
            yield shot.make_finding("unreadable-video", reason)
            continue
        if episode != shot.episode.index:
            yield shot.make_finding("same-video", f"its video is that of episode {episode}")


def _digest(path: Path) -> bytes:
    """A digest of the file's first and last 128 KiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(END_BYTES))
        file.seek(max(path.stat().st_size - END_BYTES, 0))
        digest.update(file.read(END_BYTES))
    return digest.digest()
