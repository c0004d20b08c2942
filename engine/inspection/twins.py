"""Videos that two episodes share."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.inspection.findings import Finding, found
from engine.sources import Clip, SourceDataset, SourceEpisode

# Videos of other pictures differ in their first frames, or in the table of frame sizes at either end of the file.
END_BYTES = 1 << 20


def twin_findings(dataset: SourceDataset, episodes: Sequence[SourceEpisode]) -> Iterator[Finding]:
    """Episodes whose own video of a camera is that of another, byte for byte as far as it is read."""
    for camera in dataset.cameras:
        by_size: dict[int, list[tuple[SourceEpisode, Clip]]] = defaultdict(list)
        for episode in episodes:
            clip = episode.clips.get(camera)
            size = dataset.files.size(clip.path) if isinstance(clip, Clip) and clip.start_seconds is None else None
            if isinstance(clip, Clip) and size is not None:
                by_size[size].append((episode, clip))
        for alike in by_size.values():
            yield from _same(camera, alike) if len(alike) > 1 else ()


def _same(camera: str, alike: Sequence[tuple[SourceEpisode, Clip]]) -> Iterator[Finding]:
    first: dict[bytes, int] = {}
    for episode, clip in alike:
        digest = _digest(clip.path)
        if digest is not None and first.setdefault(digest, episode.index) != episode.index:
            message = f"its video is that of episode {first[digest]}"
            yield found("same-video", message, episode=episode.index, camera=camera, path=clip.path)


def _digest(path: Path) -> bytes | None:
    """Of the file's first and last MiB; None where it cannot be read, which is a finding of its own."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            digest.update(file.read(END_BYTES))
            file.seek(max(path.stat().st_size - END_BYTES, 0))
            digest.update(file.read(END_BYTES))
    except OSError:
        return None
    return digest.digest()
