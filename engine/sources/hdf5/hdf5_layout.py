"""Which keys of an HDF5 file are state, action and cameras: a YAML file for each kind of recording."""

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, cast, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from millrace.embodiments import is_path, unknown_name
from millrace.embodiments.robot import ActionKind
from millrace.embodiments.yaml_file import FileModel, YamlFile, parse_yaml, read_yaml
from millrace.engine.errors import DatasetError
from millrace.engine.fps import parse_fps
from millrace.engine.sources.episode import Flip, PixelOrder
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS, Text

SHIPPED = Path(__file__).parent
# In a dataset's folder: the layout of its files.
OWN_LAYOUT = "hdf5.yaml"
WILDCARD = "*"
ACTION_KINDS: tuple[str, ...] = get_args(ActionKind)

Names = Annotated[tuple[Text, ...], Field(min_length=1)]


def _as_name_lists(value: object) -> object:
    """One list of names, or several of which the one that is as long as a row is taken."""
    is_one = isinstance(value, list) and not any(isinstance(item, list) for item in value)
    return (value,) if is_one else value


def _as_vector(value: object) -> object:
    return {"names": value} if isinstance(value, list) else {} if value is None else value


def _as_camera(value: object) -> object:
    return {"key": value} if isinstance(value, str) else value


class VectorKey(FileModel):
    """Values of one key.

    names: of the values, in their order; of several lists the one as long as a row; without one they are numbered.
    optional: whether some recordings lack it.
    """

    names: Annotated[tuple[Names, ...], BeforeValidator(_as_name_lists)] = ()
    optional: bool = False

    def names_of(self, width: int) -> tuple[str, ...] | None:
        """The names of rows as wide as that; None where no list fits."""
        return next((names for names in self.names if len(names) == width), None)


class Attribute(FileModel):
    """An attribute: NAME of the episode's group, or /GROUP@NAME; json: the keys on the way to a value in JSON.

    values: what the attribute's texts stand for, which may have * and ?. otherwise: where there is no such attribute
    or value.
    """

    attribute: Text
    json_keys: tuple[Text, ...] = Field(default=(), alias="json")
    values: dict[Text, Text] = Field(default_factory=dict)
    otherwise: Text | None = None


class CameraKey(FileModel):
    """Pictures of one key; what is not said is as the layout says."""

    key: Text
    flip: Flip | None = None
    jpeg_order: PixelOrder | None = None
    color_order: PixelOrder | None = None


def _as_kind_lists(value: object) -> object:
    """One kind for all values, a list of one for each, or several lists of which the one as long as a row is taken."""
    lists = [value] if isinstance(value, list) and not any(isinstance(item, list) for item in value) else value
    return [[lists]] if isinstance(lists, str) else lists


Kinds = Annotated[tuple[ActionKind, ...], Field(min_length=1)]
KindLists = Annotated[tuple[Kinds, ...], BeforeValidator(_as_kind_lists), Field(min_length=1)]
VectorKeys = Annotated[
    dict[Text, Annotated[VectorKey, BeforeValidator(_as_vector)]], Field(min_length=1, max_length=MAX_CAMERAS)
]


class Hdf5Layout(FileModel):
    """A layout; keys are relative to an episode's group.

    episodes: the group of each episode, with * for its name; empty: a file holds one. state, action: the keys that
    make up each vector, in this order. cameras: key by name; * in both stands for any name. fps: the rate, or where
    it is told. flip: how pictures are turned to stand upright. jpeg_order: of the colours in rows of JPEG or PNG
    files. color_order: of those in arrays. splits: the group of lists of episodes. action_kind: what the actions are,
    which decides how they are brought to a lower rate: target, delta or velocity, or a name of action_kinds; or the
    attributes that tell it, the first that does. action_kinds: of each value, where they differ.
    """

    description: Text = ""
    episodes: Text = ""
    state: VectorKeys
    action: VectorKeys
    cameras: Annotated[dict[Text, Annotated[CameraKey, BeforeValidator(_as_camera)]], Field(max_length=MAX_CAMERAS)] = (
        Field(default_factory=dict)
    )
    fps: Fraction | Attribute | None = None
    task: Text | Attribute | None = None
    robot_type: Text | None = None
    skip: tuple[Text, ...] = ()
    flip: Flip | Attribute = "none"
    jpeg_order: PixelOrder = "rgb"
    color_order: PixelOrder = "rgb"
    splits: Text | None = None
    action_kind: Text | Annotated[tuple[Attribute, ...], Field(min_length=1)] = "target"
    action_kinds: dict[Text, KindLists] = Field(default_factory=dict)

    @field_validator("fps", mode="before")
    @classmethod
    def _exact(cls, fps: object) -> object:
        return fps if fps is None or isinstance(fps, (Mapping, Attribute)) else parse_fps(fps)

    @model_validator(mode="after")
    def _has_one_wildcard(self) -> "Hdf5Layout":
        for name, camera in self.cameras.items():
            if name.count(WILDCARD) != camera.key.count(WILDCARD) or name.count(WILDCARD) > 1:
                raise ValueError(f"camera {name!r}: {camera.key!r}: each may have one *, or neither")
        if self.episodes.count(WILDCARD) > 1 or (WILDCARD in self.episodes and not self.episodes.endswith(WILDCARD)):
            raise ValueError(f"episodes {self.episodes!r} is empty or ends in one *, such as data/*")
        return self

    @model_validator(mode="after")
    def _knows_the_kinds(self) -> "Hdf5Layout":
        known = (*ACTION_KINDS, *self.action_kinds)
        told = [self.action_kind] if isinstance(self.action_kind, str) else self.action_kind
        for one in told:
            named = [one] if isinstance(one, str) else [*one.values.values(), *filter(None, [one.otherwise])]
            for kind in named:
                if kind not in known:
                    raise ValueError(unknown_name(kind, "kind of actions", known))
        return self

    def action_kinds_of(self, kind: str | None, width: int) -> tuple[ActionKind | None, ...]:
        """What each of the actions' values is; None each where it is not known, as no list is as long as that."""
        lists = self.action_kinds.get(kind or "", ((cast(ActionKind, kind),),) if kind in ACTION_KINDS else ())
        found = next((kinds for kinds in lists if len(kinds) in (1, width)), (None,))
        return tuple(found) if len(found) == width else tuple(found) * width

    @property
    def vectors(self) -> dict[str, dict[str, VectorKey]]:
        """The keys of each column of rows."""
        return {"observation.state": self.state, "action": self.action}

    @property
    def required_keys(self) -> list[str]:
        """Keys of numbers that every episode has."""
        return [name for keys in (self.state, self.action) for name, key in keys.items() if not key.optional]


def layout_names() -> list[str]:
    """The layouts that ship, in the order in which they are tried."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_layout(name_or_path: str | Path) -> Hdf5Layout:
    """A shipped layout by its name, or one of your own by the path of its file.

    Raises:
        DatasetError: there is none, or it is malformed; the message names its line.
    """
    if is_path(name_or_path):
        return parse_layout(read_yaml(Path(name_or_path), error=DatasetError))
    if name_or_path not in layout_names():
        raise DatasetError(unknown_name(str(name_or_path), "format of HDF5 files", layout_names()))
    return _load_shipped(str(name_or_path))


def parse_layout(file: YamlFile) -> Hdf5Layout:
    """The layout in a file.

    Raises:
        DatasetError: it is malformed; the message names its line.
    """
    return parse_yaml(Hdf5Layout, file, file.content)


@cache
def _load_shipped(name: str) -> Hdf5Layout:
    return parse_layout(read_yaml(SHIPPED / f"{name}.yaml", error=DatasetError))
