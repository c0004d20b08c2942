"""The columns and cameras of HDF5 recordings, as the first one that can be read has them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from millrace.engine.layout import CAMERA_PREFIX
from millrace.engine.sources.dataset import Feature
from millrace.engine.sources.hdf5.hdf5_episodes import MAX_KEYS, Hdf5Camera, find_cameras, vector_keys
from millrace.engine.sources.hdf5.hdf5_file import (
    LIBRARY_ERRORS,
    Hdf5Problem,
    find_address,
    find_dataset,
    find_object,
    import_h5py,
    list_names,
)
from millrace.engine.sources.hdf5.hdf5_layout import Hdf5Layout, VectorKey
from millrace.engine.sources.hdf5.hdf5_rows import find_vector, why_no_vector
from millrace.engine.sources.image_columns import image_content
from millrace.engine.text import join_names, printable

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 6
# Groups and datasets that are looked at in one file; links may make circles.
MAX_OBJECTS = 20_000
MAX_DESCRIBED = 30
# A wider column is a point cloud or an embedding, not listed beside joints.
MAX_EXTRA_WIDTH = 512


def read_vectors_and_extras(
    episode: "h5py.Group", layout: Hdf5Layout
) -> tuple[dict[str, Feature], dict[str, tuple[str, ...]]]:
    """Features of state, action and other numbers of an episode, and the keys of each."""
    keys = set(vector_keys(episode, layout))
    features, sources = {}, {}
    for column, vector in layout.vectors.items():
        present = [name for name in vector if name in keys]
        widths = [prod(find_vector(episode, name).shape[1:]) for name in present]
        dtype = str(find_vector(episode, present[0]).dtype)
        features[column] = Feature(dtype, (sum(widths),), _names(vector, present, widths))
        sources[column] = tuple(present)
    num_frames = len(find_vector(episode, next(iter(layout.action))))
    for key, dataset in list_datasets(episode):
        name = key.replace("/", ".")  # LeRobot's names have no slashes
        is_used = key in keys or name in features or _is_skipped(key, layout)
        if not is_used and _is_column(dataset, num_frames):
            features[name] = Feature(str(dataset.dtype), (prod(dataset.shape[1:]),), None)
            sources[name] = (key,)
    return features, sources


def list_unused(episode: "h5py.Group", layout: Hdf5Layout, sources: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Datasets with a value for each frame that are neither camera nor column, in words; sources: keys of columns."""
    keys = {key for column in sources.values() for key in column}
    keys |= {camera.key for camera in find_cameras(episode, layout).values()}
    used = {find_address(find_object(episode, key)) for key in keys}
    num_frames = len(find_vector(episode, next(iter(layout.action))))
    for key, dataset in list_datasets(episode):
        is_by_frame = bool(dataset.shape) and len(dataset) == num_frames
        if is_by_frame and not _is_skipped(key, layout) and find_address(dataset) not in used:
            yield printable(f"'{key}' ({dataset.dtype} of shape {list(dataset.shape)})")


def _is_skipped(key: str, layout: Hdf5Layout) -> bool:
    return key in layout.skip or key.startswith(tuple(f"{part}/" for part in layout.skip))


def camera_feature(name: str, camera: Hdf5Camera) -> tuple[str, Feature]:
    """The feature of a camera, and its name."""
    names = ("height", "width", "channels") if camera.shape else None
    content = image_content(camera.key.key, camera.shape, names, {})
    return f"{CAMERA_PREFIX}{name}", Feature("image", camera.shape, names, content=content)


def _names(vector: dict[str, VectorKey], present: Sequence[str], widths: Sequence[int]) -> tuple[str, ...] | None:
    """Names of a column's values; of a key that the layout does not name, its own with numbers."""
    named = [vector[name].names_of(width) for name, width in zip(present, widths, strict=True)]
    if not any(named) and len(present) == 1:
        return None
    return tuple(
        text
        for name, width, names in zip(present, widths, named, strict=True)
        for text in names or (f"{name.rpartition('/')[2]}_{number}" for number in range(width))
    )


def describe_keys(group: "h5py.Group") -> str:
    """The datasets of a file in words, each with its shape."""
    found = [f"{key} {list(dataset.shape or ())} {dataset.dtype}" for key, dataset in list_datasets(group)]
    return join_names(found, MAX_DESCRIBED) or "nothing"


def list_datasets(group: "h5py.Group") -> Iterator[tuple[str, "h5py.Dataset"]]:
    """Key and dataset of all that lies in the file itself: a thousand a group, MAX_OBJECTS looked at in all.

    A group that several links lead to is entered once. Names that are no Unicode are left out.
    """
    return islice(_walk(group, "", 0, {find_address(group)}), MAX_OBJECTS)


def _walk(group: "h5py.Group", prefix: str, depth: int, seen: set[int]) -> Iterator[tuple[str, "h5py.Dataset"]]:
    """seen: addresses of the groups that were entered."""
    h5py = import_h5py()
    for name in islice(list_names(group), MAX_KEYS):
        try:
            found = find_object(group, name)
            if isinstance(found, h5py.Group):
                if depth < MAX_DEPTH and len(seen) < MAX_OBJECTS and (address := find_address(found)) not in seen:
                    seen.add(address)
                    yield from _walk(found, f"{prefix}{name}/", depth + 1, seen)
                continue
            dataset = find_dataset(group, name)
        except (Hdf5Problem, *LIBRARY_ERRORS):
            continue
        yield f"{prefix}{name}", dataset


def _is_column(dataset: "h5py.Dataset", num_frames: int) -> bool:
    """Whether a dataset holds a few numbers for each frame."""
    if why_no_vector(dataset) or len(dataset.shape) > 2:
        return False
    return len(dataset) == num_frames and prod(dataset.shape[1:]) <= MAX_EXTRA_WIDTH
