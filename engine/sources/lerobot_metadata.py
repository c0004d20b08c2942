"""The files below meta/ that all LeRobot layouts share, read leniently and checked."""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from millrace.embodiments import FrozenModel
from millrace.engine.errors import DatasetError
from millrace.engine.fps import parse_fps
from millrace.engine.sources.dataset import PICTURES, Feature, camera_name
from millrace.engine.sources.depth_scale import read_depth_scale
from millrace.engine.sources.image_columns import image_content
from millrace.engine.sources.json_text import Model, parse_json, read_text, read_text_lines, validate_as
from millrace.engine.sources.listing import MAX_INDEX
from millrace.engine.sources.templates import template_problem

ENCODING = "utf-8-sig"  # editors on Windows begin a file with a mark
# Of names within lists within lists: real ones lie two deep.
MAX_DEPTH = 16
# Characters kept of names that are not understood.
MAX_UNREAD = 1000

# More than any rig has; memory is taken for each in each episode.
MAX_CAMERAS = 128


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: JSON may hold halves of characters."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _whole(text: str) -> str:
    if not is_unicode(text):
        raise ValueError(f"{text!r} holds half a character")
    return text


Text = Annotated[str, AfterValidator(_whole)]


class FeatureInfo(FrozenModel):
    """A feature in info.json."""

    dtype: str
    shape: tuple[int, ...] = ()
    names: Any = None
    info: Any = None
    video_info: Any = None

    @field_validator("shape", mode="before")
    @classmethod
    def _complete(cls, shape: object) -> object:
        """Sizes that the file does not tell, null or -1 as of a column that differs by task, are 0."""
        if not isinstance(shape, list):
            return () if shape is None else shape
        return [0 if size is None or size == -1 else size for size in shape]

    def to_feature(self, key: str) -> Feature:
        """The feature with its names flattened; what stands there in place of names is kept as text.

        Args:
            key: What info.json calls it.
        """
        names = self._flat_names
        content = image_content(key, self.shape, names, self._facts) if self.dtype in PICTURES else None
        depth = read_depth_scale(self._facts) if content == "depth" and self.dtype == "video" else None
        if is_blank(self.names) or (names is not None and all(map(is_unicode, names))):
            return Feature(self.dtype, self.shape, names, content=content, depth=depth)
        unread = json.dumps(self.names)[:MAX_UNREAD]
        return Feature(self.dtype, self.shape, None, unread_names=unread, content=content, depth=depth)

    @property
    def _flat_names(self) -> tuple[str, ...] | None:
        """The names of the values: of several lists below labels, such as components and motors, the one that fits."""
        names, width = flatten_names(self.names), prod(self.shape)
        if names is None or len(names) == width or not isinstance(self.names, dict):
            return names
        fitting = [part for part in map(flatten_names, self.names.values()) if part and len(part) == width]
        return fitting[0] if len(fitting) == 1 else names

    @property
    def _facts(self) -> dict[str, object]:
        """What is said of a camera's video, without the prefixes that its names have in some versions."""
        parts = [part for part in (self.video_info, self.info) if isinstance(part, dict)]
        return {
            str(name).removeprefix("video.").removeprefix("image."): value
            for part in parts
            for name, value in part.items()
        }


class Info(FrozenModel):
    """info.json of any version; totals are not read, as they are missing or wrong too often."""

    fps: Fraction
    features: dict[str, FeatureInfo] = Field(default_factory=dict)  # v1 on the Hub names none
    codebase_version: str | None = None
    robot_type: str | None = None
    chunks_size: int = 1000
    data_path: str | None = None
    video_path: str | None = None
    tools: Any = None

    @field_validator("fps", mode="before")
    @classmethod
    def _exact(cls, fps: object) -> Fraction:
        return parse_fps(fps)

    @cached_property
    def known_features(self) -> dict[str, Feature]:
        """Every feature by its key."""
        return {key: feature.to_feature(key) for key, feature in self.features.items()}

    @cached_property
    def known_tools(self) -> tuple[str, ...]:
        """Tools that language columns may call, each as JSON; none of what is no description of one."""
        listed = self.tools if isinstance(self.tools, list) else []
        texts = (json.dumps(tool, ensure_ascii=False, sort_keys=True) for tool in listed if isinstance(tool, dict))
        return tuple(text for text in texts if is_unicode(text))

    @cached_property
    def cameras(self) -> dict[str, Feature]:
        """The features that are pictures of cameras."""
        return {key: feature for key, feature in self.known_features.items() if feature.is_camera}

    @cached_property
    def depth_videos(self) -> dict[str, Feature]:
        """The features that are videos of depth which v3.0 can keep; none that is called as another camera."""
        others = {camera_name(key) for key in self.cameras}
        depth = {key: feature for key, feature in self.known_features.items() if feature.depth is not None}
        return {key: feature for key, feature in depth.items() if camera_name(key) not in others}

    @field_validator("features")
    @classmethod
    def _few_cameras(cls, features: dict[str, FeatureInfo]) -> dict[str, FeatureInfo]:
        """Each episode has a clip of each."""
        num_cameras = sum(feature.dtype in ("video", "image") for feature in features.values())
        if num_cameras > MAX_CAMERAS:
            raise ValueError(f"{num_cameras} cameras, expected at most {MAX_CAMERAS}")
        return features

    @field_validator("chunks_size")
    @classmethod
    def _positive(cls, chunks_size: int) -> int:
        if chunks_size < 1:
            raise ValueError("must be at least 1")
        return chunks_size


class Totals(FrozenModel):
    """What info.json counts, where it is a number; it may be wrong."""

    total_episodes: Annotated[int | None, BeforeValidator(lambda value: value if type(value) is int else None)] = None


def _listed_tasks(tasks: object) -> object:
    """One task may stand alone, and null is none."""
    listed = [tasks] if isinstance(tasks, str) else tasks
    return tuple(task for task in listed if task is not None) if isinstance(listed, (list, tuple)) else listed or ()


@lru_cache(maxsize=1024)
def _shared(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """The same texts, in memory once: thousands of episodes have them."""
    return tasks


Index = Annotated[int, Field(ge=0, le=MAX_INDEX)]
Tasks = Annotated[tuple[Text, ...], BeforeValidator(_listed_tasks), AfterValidator(_shared)]


class TaskLine(FrozenModel):
    """A line of tasks.jsonl."""

    task_index: Index
    task: Annotated[Text, BeforeValidator(lambda text: "" if text is None else text)]


class EpisodeLine(FrozenModel):
    """A line of episodes.jsonl."""

    episode_index: Index
    length: int
    tasks: Tasks = ()


def read_source_json(path: Path, model: type[Model]) -> Model:
    """Read a JSON file as a checked model.

    Raises:
        DatasetError: missing, an LFS pointer, no JSON, or not what the model demands.
    """
    text = read_text(path, str(path), encoding=ENCODING)
    if not text.strip():
        raise DatasetError(f"{path} is empty", file=path)
    try:
        return validate_as(parse_json(text, str(path)), model, str(path))
    except DatasetError as error:
        raise error.about(file=path) from error.__cause__


def read_source_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place and text of each line that is not blank; bytes that are no UTF-8 become halves of characters."""
    lines = read_text_lines(path, str(path), encoding=ENCODING, errors="surrogateescape")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{path}:{number}", line


def unwrap_single(value: object) -> object:
    """Unwrap a value that was stored as a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def flatten_names(names: object, *, depth: int = 0) -> tuple[str, ...] | None:
    """Joint names from {"motors": [...]}, [[...]], [...], {joint: place} or {place: joint}.

    None where there are none (null, empty lists, blank names) or where what stands there is no list of names. Lists of
    whole numbers name by number. depth: of what holds them.
    """
    if isinstance(names, str):
        return (names,)
    if isinstance(names, int) and not isinstance(names, bool):
        return (str(names),) if depth else None
    if isinstance(names, dict):
        return _table_of_places(names) or _flatten_labelled(names, depth)
    if not isinstance(names, list) or depth > MAX_DEPTH:
        return None
    parts = [flatten_names(part, depth=depth + 1) for part in names if not is_blank(part) or isinstance(part, str)]
    if any(part is None for part in parts):
        return None
    flat = tuple(name for part in parts for name in part or ())
    return flat if any(name.strip() for name in flat) else None


def is_blank(names: object, *, depth: int = 0) -> bool:
    """Whether names are null, blank, or lists of such."""
    if isinstance(names, str):
        return not names.strip()
    if isinstance(names, dict):
        names = list(names.values())
    if isinstance(names, list):
        return depth <= MAX_DEPTH and all(is_blank(part, depth=depth + 1) for part in names)
    return names is None


def _table_of_places(names: dict[str, object]) -> tuple[str, ...] | None:
    """{joint: place} or {place: joint} in the order of the places, where these are 0, 1, ... without a gap."""
    for table in (names, _inverted(names)):
        places = {_place(place): name for name, place in table.items()}
        if table and set(places) == set(range(len(table))):
            return tuple(places[place] for place in range(len(table)))
    return None


def _inverted(names: dict[str, object]) -> dict[str, object]:
    inverted: dict[str, object] = {name: place for place, name in names.items() if isinstance(name, str)}
    return inverted if len(inverted) == len(names) else {}


def _place(value: object) -> int | None:
    """A whole number, also one written as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flatten_labelled(names: dict[str, object], depth: int) -> tuple[str, ...] | None:
    """The names under labels, such as motors; numbers there are no names, but places or widths that do not add up."""
    if any(isinstance(part, int) or _place(part) is not None for part in names.values()):
        return None
    return flatten_names(list(names.values()), depth=depth)


def fill_template(root: Path, template: str, where: str, fields: Mapping[str, object]) -> Path:
    """Fill in a path template of the metadata; the path must stay below the dataset's root.

    Raises:
        DatasetError: the template is malformed, absolute or leads out of the dataset.
    """
    if reason := _why_not_fillable(template, tuple(fields)):
        raise DatasetError(f"{where}: path template {template!r} {reason}", got=template, known=tuple(fields))
    relative = template.format_map(fields)
    if relative.startswith("/") or ".." in relative.split("/"):
        raise DatasetError(f"{where}: path template {template!r} leads out of the dataset", got=template)
    folder, _, name = relative.rpartition("/")
    return _folder(root, folder) / name


# Thousands of files share one, and to join its name alone is cheaper.
@lru_cache(maxsize=64)
def _folder(root: Path, relative: str) -> Path:
    return root / relative


# A dataset has one template and hundreds of thousands of paths.
@lru_cache(maxsize=8)
def _why_not_fillable(template: str, fields: tuple[str, ...]) -> str | None:
    return template_problem(template, known=fields, needed=())
