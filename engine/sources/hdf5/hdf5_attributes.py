"""What attributes of an HDF5 file tell of an episode: rate, task, how pictures lie, what actions are."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from millrace.engine.errors import FaultCode
from millrace.engine.fps import parse_fps
from millrace.engine.sources.episode import Flip
from millrace.engine.sources.hdf5.hdf5_file import Hdf5Problem, find_object, has_object, read_attribute
from millrace.engine.sources.hdf5.hdf5_layout import Attribute, Hdf5Layout
from millrace.engine.sources.lerobot_metadata import is_unicode

if TYPE_CHECKING:
    import h5py

FLIPS = ("none", "vertical", "horizontal", "both")


def read_rate(file: "h5py.File", episode: "h5py.Group", layout: Hdf5Layout) -> Fraction | None:
    """The rate that a layout or a file tells, Hz; None where neither does."""
    if layout.fps is None or isinstance(layout.fps, Fraction):
        return layout.fps
    value = find_value(file, episode, layout.fps)
    try:
        return None if value is None else parse_fps(value)
    except ValueError as error:
        raise Hdf5Problem(f"attribute '{layout.fps.attribute}': {error}", code=FaultCode.METADATA) from error


def read_task(file: "h5py.File", episode: "h5py.Group", layout: Hdf5Layout) -> str | None:
    """The task that a layout or a file tells; None where neither does."""
    if layout.task is None or isinstance(layout.task, str):
        return layout.task
    value = find_value(file, episode, layout.task)
    text = "".join(map(str, value)) if isinstance(value, list) else value
    return text if isinstance(text, str) and text.strip() and is_unicode(text) else None


def read_flip(file: "h5py.File", episode: "h5py.Group", layout: Hdf5Layout) -> Flip:
    """How an episode's pictures are turned to stand upright."""
    if isinstance(layout.flip, str):
        return layout.flip
    value = find_value(file, episode, layout.flip)
    flip = _meaning(layout.flip, value)
    if flip not in FLIPS:
        known = ", ".join(layout.flip.values)
        message = f"attribute '{layout.flip.attribute}' is {value!r}, expected one of {known}"
        raise Hdf5Problem(message, code=FaultCode.METADATA, got=value, known=tuple(layout.flip.values))
    return cast(Flip, flip)


def read_action_kind(file: "h5py.File", episode: "h5py.Group", layout: Hdf5Layout) -> str | None:
    """What an episode's actions are, a name that `Hdf5Layout.action_kinds_of` knows; None where nothing tells."""
    if isinstance(layout.action_kind, str):
        return layout.action_kind
    told = (_meaning(one, find_value(file, episode, one)) for one in layout.action_kind)
    return next((kind for kind in told if kind is not None), None)


def _meaning(attribute: Attribute, value: object) -> str | None:
    """What a layout says that a value stands for; truth values are written as in JSON."""
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return next(
        (means for text_of, means in attribute.values.items() if fnmatchcase(text, text_of)), attribute.otherwise
    )


def find_value(file: "h5py.File", episode: "h5py.Group", attribute: Attribute) -> object:
    """The value of an attribute, or of a key of the JSON in it; None where there is none."""
    place, _, name = attribute.attribute.rpartition("@")
    if place and not has_object(file, place):
        return None
    value = read_attribute(find_object(file, place) if place else episode, name)
    if value is None or not attribute.json_keys:
        return value
    try:
        content: Any = json.loads(str(value))
    except (ValueError, RecursionError) as error:
        raise Hdf5Problem(f"attribute '{name}' is not JSON ({error})", code=FaultCode.METADATA) from error
    for key in attribute.json_keys:
        content = _member(content, key)
    return cast(object, content)


def _member(content: object, key: str) -> object:
    """A member of an object by its name; a list stands for its only kind of item, such as a controller for each arm."""
    if isinstance(content, list):
        found = [_member(item, key) for item in content]
        return found[0] if found and all(item == found[0] for item in found) else None
    return content.get(key) if isinstance(content, Mapping) else None
