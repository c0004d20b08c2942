"""Where each episode was recorded first, also if it comes from a dataset that Millrace converted."""

import hashlib
from pathlib import Path

from millrace.engine.dataset import Origin
from millrace.engine.dataset.manifest_clips import read_manifest_origins
from millrace.engine.sources import SourceDataset, public_name
from millrace.engine.sources.location import parse_hub_id


def episode_origins(path: Path, dataset: SourceDataset) -> dict[int, Origin]:
    """The origin of each episode of a dataset, readable or not, by its number there.

    Args:
        path: As the recipe names it.
        dataset: What was found there.
    """
    recorded = read_manifest_origins(dataset.root)
    source, digest = _identity(path, dataset)
    numbers = [*(episode.index for episode in dataset.episodes), *(bad.index for bad in dataset.bad)]
    return {number: recorded.get(number) or Origin(source=source, digest=digest, episode=number) for number in numbers}


def _identity(path: Path, dataset: SourceDataset) -> tuple[str, str | None]:
    """A repository on the Hub in any revision, or a folder's name with a digest of its metadata."""
    hub_id = parse_hub_id(path) if dataset.revision is not None else None
    return (hub_id.repo, None) if hub_id else (public_name(path, None), _digest(dataset))


def _digest(dataset: SourceDataset) -> str:
    """The same wherever a dataset lies, and others for most that bear the same name."""
    features = [(name, feature.dtype, feature.shape, feature.names) for name, feature in dataset.features.items()]
    episodes = [(episode.index, episode.num_frames, episode.tasks) for episode in dataset.episodes]
    return hashlib.sha256(repr((dataset.fps, features, episodes)).encode("utf-8", "backslashreplace")).hexdigest()[:16]
