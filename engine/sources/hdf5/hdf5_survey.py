"""What an HDF5 file of unknown keys holds: its episodes, and the datasets and attributes of the first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.engine.errors import DatasetError, EpisodeDataError
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.hdf5.hdf5_episodes import MAX_KEYS, MAX_TRIED
from millrace.engine.sources.hdf5.hdf5_features import MAX_OBJECTS, list_datasets
from millrace.engine.sources.hdf5.hdf5_file import (
    LIBRARY_ERRORS,
    Hdf5Problem,
    find_address,
    find_object,
    list_names,
    open_hdf5,
    read_attribute,
)
from millrace.engine.sources.hdf5.hdf5_images import ImageKind, image_kind
from millrace.engine.sources.hdf5.hdf5_rows import why_no_vector
from millrace.engine.sources.natural_order import natural_key

if TYPE_CHECKING:
    import h5py

NUMBERED = re.compile(r"(?P<name>.*?)\d+")
MAX_DEPTH = 3
MAX_ATTRIBUTES = 100


@dataclass(frozen=True)
class SurveyedKey:
    """A dataset: its shape and type, how it holds pictures, and whether it holds numbers by frame."""

    shape: tuple[int, ...]
    dtype: str
    image: ImageKind | None
    is_vector: bool


@dataclass(frozen=True)
class Hdf5Survey:
    """A file. episodes: see `Hdf5Layout`. attributes: of the episode by name, and of groups above as /GROUP@NAME."""

    path: Path
    episodes: str
    keys: Mapping[str, SurveyedKey]
    attributes: Mapping[str, object]


def survey_file(path: Path, root: Path) -> Hdf5Survey:
    """List what a file holds; no frame is read.

    Raises:
        DatasetError: it cannot be read.
    """
    if refusal := why_refused(path, root):
        raise DatasetError(f"{path} ", refusal.reason, file=path)
    try:
        with open_hdf5(path) as file:
            episodes, first = _find_episodes(file, "", {find_address(file)}) or ("", "")
            episode = find_object(file, first)
            keys = {key: _survey(dataset) for key, dataset in list_datasets(episode)}
            above = [first.rpartition("/")[0]] if episodes else []
            attributes = {
                **_attributes(episode, ""),
                **{k: v for place in above for k, v in _attributes(find_object(file, place), f"/{place}@").items()},
            }
            return Hdf5Survey(path, episodes, keys, attributes)
    except EpisodeDataError as error:
        raise DatasetError(error, file=path) from error


def _find_episodes(group: "h5py.Group", place: str, seen: set[int]) -> tuple[str, str] | None:
    """The pattern of groups that are named alike but for a number, and the first that holds something.

    None: there are none. seen: addresses of the groups that were looked at; links may make circles.
    """
    groups = [name for name in islice(list_names(group), MAX_KEYS) if _is_group(group, name)]
    numbered = sorted((name for name in groups if NUMBERED.fullmatch(name)), key=natural_key)
    stems = {match["name"] for name in numbered if (match := NUMBERED.fullmatch(name))}
    if numbered and len(numbered) == len(groups) and len(stems) == 1:
        prefix = f"{place}/" if place else ""
        held = (name for name in numbered[:MAX_TRIED] if any(list_datasets(find_object(group, name))))
        return f"{prefix}{stems.pop()}*", f"{prefix}{next(held, numbered[0])}"
    for name in groups if place.count("/") < MAX_DEPTH - 1 else ():
        inner = find_object(group, name)
        if (address := find_address(inner)) in seen or len(seen) >= MAX_OBJECTS:
            continue
        seen.add(address)
        if found := _find_episodes(inner, f"{place}/{name}" if place else name, seen):
            return found
    return None


def _is_group(group: "h5py.Group", name: str) -> bool:
    try:
        return hasattr(find_object(group, name), "keys")
    except (Hdf5Problem, *LIBRARY_ERRORS):
        return False


def _survey(dataset: "h5py.Dataset") -> SurveyedKey:
    shape = tuple(map(int, dataset.shape or ()))
    kind = image_kind(dataset)
    return SurveyedKey(shape, str(dataset.dtype), kind, kind is None and why_no_vector(dataset) is None)


def _attributes(group: "h5py.Group", prefix: str) -> dict[str, object]:
    found: dict[str, Any] = {}
    for name in islice(map(str, group.attrs), MAX_ATTRIBUTES):
        try:
            found[f"{prefix}{name}"] = read_attribute(group, name)
        except (Hdf5Problem, *LIBRARY_ERRORS):
            continue
    return found
