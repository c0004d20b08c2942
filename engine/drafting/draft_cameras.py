"""Name a dataset's cameras so that each name can be a folder's."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.engine.drafting.joints import number_name
from millrace.engine.sources import SourceDataset, camera_name

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class DraftedCameras:
    """Names of cameras; aliases: the dataset's names where they differ; skipped: features without a camera, and why."""

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    skipped: tuple[str, ...]


def name_cameras(dataset: SourceDataset, own_names: Mapping[str, str]) -> DraftedCameras:
    """A safe name for each camera, as the dataset's own modality.json says or close to its own.

    Args:
        dataset: The source.
        own_names: Names of cameras by feature.
    """
    features = [key for key, feature in dataset.features.items() if feature.is_camera]
    counts = Counter(map(camera_name, features))
    names: dict[str, str] = {}
    for key in features:
        theirs = camera_name(key)
        if counts[theirs] == 1:
            names[number_name(_sanitize(own_names.get(key, theirs)), names.__contains__)] = theirs
    doubles = (
        f"the features {' and '.join(key for key in features if camera_name(key) == name)} share the name {name!r}"
        for name, count in counts.items()
        if count > 1
    )
    aliases = {name: theirs for name, theirs in names.items() if name != theirs}
    return DraftedCameras(tuple(names), aliases, tuple(doubles))


def _sanitize(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")
    return safe if SAFE.fullmatch(safe) else "camera"
