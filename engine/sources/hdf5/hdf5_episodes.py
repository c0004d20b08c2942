"""What an HDF5 file says of its episodes: their groups, lengths, cameras and tasks; no value of a frame is read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.engine.errors import EpisodeDataError, FaultCode
from millrace.engine.sources.episode import Flip
from millrace.engine.sources.hdf5.hdf5_attributes import read_action_kind, read_flip, read_rate, read_task
from millrace.engine.sources.hdf5.hdf5_file import (
    LIBRARY_ERRORS,
    Hdf5Problem,
    explain_damage,
    find_dataset,
    find_object,
    has_object,
    list_names,
)
from millrace.engine.sources.hdf5.hdf5_images import find_images, image_kind, image_shape
from millrace.engine.sources.hdf5.hdf5_layout import WILDCARD, CameraKey, Hdf5Layout
from millrace.engine.sources.hdf5.hdf5_rows import find_vector
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS
from millrace.engine.sources.natural_order import natural_key

if TYPE_CHECKING:
    import h5py

# Of one file, or of one episode.
MAX_EPISODES, MAX_KEYS = 1_000_000, 1000
# Episodes that are looked at to tell the layout: the first may be broken.
MAX_TRIED = 20


@dataclass(frozen=True, slots=True)
class Hdf5Camera:
    """Pictures of an episode: their key, number and shape."""

    key: CameraKey
    num_images: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hdf5Episode:
    """An episode of a file.

    lengths: rows by key. rate: Hz, where the layout or the file tells it. action_kind: the name of what its actions
    are, where they tell it. error: why it cannot be read; then nothing else is known.
    """

    path: Path
    group: str
    lengths: Mapping[str, int] = field(default_factory=dict)
    cameras: Mapping[str, Hdf5Camera] = field(default_factory=dict)
    task: str | None = None
    flip: Flip = "none"
    rate: Fraction | None = None
    action_kind: str | None = None
    error: EpisodeDataError | None = None


def list_groups(file: "h5py.File", layout: Hdf5Layout) -> list[str]:
    """The group of each episode, in the order of their numbers.

    Raises:
        Hdf5Problem: there are none, or too many.
    """
    if not layout.episodes:
        return [""]
    parent, _, pattern = layout.episodes.rpartition("/")
    wanted = re.compile(translate(pattern))
    group = find_object(file, parent)
    if len(group) > MAX_EPISODES:
        raise Hdf5Problem(f"'{parent}' holds {len(group)} episodes, at most {MAX_EPISODES} are read")
    found = sorted((name for name in list_names(group, strict=True) if wanted.match(name)), key=natural_key)
    if not found:
        raise Hdf5Problem(f"there is no episode '{layout.episodes}'", code=FaultCode.MISSING)
    return [f"{parent}/{name}" for name in found]


def read_episode(file: "h5py.File", path: Path, group: str, layout: Hdf5Layout) -> Hdf5Episode:
    """The facts of one episode; what is wrong with it becomes its error."""
    try:
        with explain_damage(path, EpisodeDataError):
            episode = find_object(file, group)
            lengths = {key: len(find_vector(episode, key)) for key in vector_keys(episode, layout)}
            cameras = {}
            for name, camera in find_cameras(episode, layout).items():
                images = find_images(episode, camera.key)
                cameras[name] = Hdf5Camera(camera, len(images), image_shape(images))
            return Hdf5Episode(
                path,
                group,
                lengths,
                cameras,
                task=read_task(file, episode, layout),
                flip=read_flip(file, episode, layout),
                rate=read_rate(file, episode, layout),
                action_kind=read_action_kind(file, episode, layout),
            )
    except EpisodeDataError as error:
        return Hdf5Episode(path, group, error=error)


def vector_keys(episode: "h5py.Group", layout: Hdf5Layout) -> list[str]:
    """The keys of state and action, without optional ones that are not there."""
    keys = {name: key for vector in layout.vectors.values() for name, key in vector.items()}
    return [name for name, key in keys.items() if not key.optional or has_object(episode, name)]


def find_cameras(episode: "h5py.Group", layout: Hdf5Layout) -> dict[str, CameraKey]:
    """The cameras that an episode has, by name."""
    found: dict[str, CameraKey] = {}
    for name, camera in layout.cameras.items():
        if WILDCARD not in name:
            if has_object(episode, camera.key):
                found[name] = camera
            continue
        for key, part in _matches(episode, camera.key):
            found.setdefault(name.replace(WILDCARD, part), camera.model_copy(update={"key": key}))
    if len(found) > MAX_CAMERAS:
        raise Hdf5Problem(f"{len(found)} cameras, at most {MAX_CAMERAS} are read")
    return found


def _matches(episode: "h5py.Group", pattern: str) -> Iterator[tuple[str, str]]:
    """Keys that fit a pattern in their last part, and what stands for its *; of * alone, those that hold pictures."""
    parent, _, last = pattern.rpartition("/")
    before, _, after = last.partition(WILDCARD)
    names = list_names(find_object(episode, parent), strict=True) if has_object(episode, parent) else ()
    for number, name in enumerate(names):
        if number > MAX_KEYS:
            raise Hdf5Problem(f"'{parent}' holds more than {MAX_KEYS} keys")
        part = name[len(before) : len(name) - len(after)]
        key = f"{parent}/{name}" if parent else name
        if part and name == f"{before}{part}{after}" and (last != WILDCARD or _holds_images(episode, key)):
            yield key, part


def _holds_images(episode: "h5py.Group", key: str) -> bool:
    """Whether a key that any name fits holds pictures; a link to another file is an error."""
    is_group = hasattr(find_object(episode, key), "keys")
    return not is_group and image_kind(find_dataset(episode, key)) is not None


def fits_layout(file: "h5py.File", layout: Hdf5Layout) -> bool:
    """Whether one of a file's first episodes has all keys of a layout."""
    try:
        groups = list_groups(file, layout)[:MAX_TRIED]
        return any(all(has_object(file, f"{group}/{key}") for key in layout.required_keys) for group in groups)
    except (Hdf5Problem, *LIBRARY_ERRORS):
        return False
