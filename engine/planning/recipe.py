"""The recipe: what to make and from which sources, checked, from a file, from flags or from Python."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    field_serializer,
    model_validator,
)

from millrace.embodiments import Key, MillraceError, Remedy, Robot, Rule, Setting, YamlFile, unknown_name
from millrace.embodiments.errors import WrongField
from millrace.embodiments.messages import join_texts
from millrace.embodiments.yaml_file import BOUND
from millrace.engine.errors import RecipeError
from millrace.engine.fps import exact_number, parse_fps, show_value
from millrace.engine.planning.action_rule import ActionRule
from millrace.engine.planning.action_shift import AlignAction
from millrace.engine.planning.filter_settings import FilterField
from millrace.engine.planning.image_size import DEFAULT_SIDE, OWN_SIZE, ImageSize
from millrace.engine.planning.quality import DropPausesField, Still, TrimIdleField
from millrace.engine.planning.resample import Resampler
from millrace.engine.sources import SourceDataset
from millrace.engine.sources.lerobot_metadata import is_unicode
from millrace.engine.sources.selection import EXAMPLE, parse_parts
from millrace.engine.video.backends import Device
from millrace.engine.video.encode import DEFAULT_GOP
from millrace.engine.video.reframe import Crop

SOURCE_RATE = "source"
SAME_ROBOT = "same"
NONE = "none"
SINGLE_SOURCE_SETTINGS = (
    "map",
    "cameras",
    "episodes",
    "task",
    "task_all",
    "holdout",
    "source_fps",
    "only_cameras",
    "language",
    "format",
    "cut_off",
)  # settings of `Recipe.single`
MAX_TRIM = 1000


def _check_selection(value: object) -> object:
    """Normalise a selection of episodes, which a file may write as a number, a text or a list, to text: "0:40,50"."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(part, (int, str)) and not isinstance(part, bool) for part in parts):
        raise ValueError(f"episodes are given as {EXAMPLE}, not {value!r}")
    text = ",".join(str(part) for part in parts)
    parse_parts(text)
    return text


def _check_held_out(value: object) -> object:
    if str(value) == "0":
        advice = Remedy("give no holdout to hold out nothing, or 0:1 to hold out episode 0 alone")
        raise WrongField((), "0 is ambiguous: ", advice)
    return value if value == NONE else _check_selection(value)


def _check_task(value: object) -> object:
    """One text for all episodes, or new texts by old ones."""
    for text in value.values() if isinstance(value, Mapping) else [value]:
        if not (isinstance(text, str) and text.strip() and is_unicode(text)):
            raise ValueError(f"a task is a sentence, not an empty text or half a character, got {text!r}")
    return value


def _check_rate(value: object) -> object:
    return value if value == SOURCE_RATE else parse_fps(value)


def _check_sources(sources: tuple["SourceSpec", ...]) -> tuple["SourceSpec", ...]:
    if not sources:
        raise ValueError("there is no source to convert")
    return sources


def _check_share(value: object) -> object:
    try:
        share = exact_number(value)
    except ValueError:
        share = Fraction(0)
    if not 0 < share < 1:
        raise ValueError(f"a share of the episodes lies between 0 and 1, such as 0.05 or 1/20, not {show_value(value)}")
    return share


# What a file may hold: a number, or a fraction such as 30000/1001.
FractionInput = float | str
Text = PlainSerializer(str, return_type=str, when_used="json")
Fps = Annotated[Fraction, BeforeValidator(parse_fps, json_schema_input_type=FractionInput), Text]
TargetFps = Annotated[
    Fraction | Literal["source"], BeforeValidator(_check_rate, json_schema_input_type=FractionInput), Text
]
# Likewise: a number, a range such as 0:40, or a list of both.
EpisodesInput = int | str | list[int | str]
Selection = Annotated[str, BeforeValidator(_check_selection, json_schema_input_type=EpisodesInput)]
HeldOut = Annotated[str, BeforeValidator(_check_held_out, json_schema_input_type=EpisodesInput)]
Task = Annotated[str | dict[str, str], BeforeValidator(_check_task)]
CutOff = Literal["keep", "fail"]
Share = Annotated[Fraction, BeforeValidator(_check_share, json_schema_input_type=FractionInput), Text]


class SourceSpec(BaseModel):
    """One source dataset and how it is converted.

    map: None if the source is of the recipe's robot, or if only one map fits.
    rules: for groups of the target, in place of the map's.
    cameras: target camera -> source camera, where they differ from what the map says.
    black_cameras: target cameras that the source lacks; their frames are black.
    task: the text for episodes without a task, or new texts by the texts that they replace. task_all: the text of
    `task` replaces all tasks.
    format: the layout of HDF5 files, a shipped one or the path of your own; None: the one that fits.
    fps: the source's rate, if its metadata is wrong or does not tell it.
    language: the column that holds the instruction of each row, as text or as its number among the tasks.
    trim_mismatch: replaces the recipe's.
    trim_idle, drop_pauses: replace the recipe's; "none" cuts nothing. still: adds to the recipe's. align_action,
    filter: replace the recipe's; filter "none" keeps all.
    holdout: episodes to hold out, which replace the recipe's share, or "none".
    cut_off: what becomes of a recording that was cut off, whose file ends within its rows: "keep" converts the whole
    rows, "fail" leaves the episode out.
    follow_links: follow links out of the dataset's folder wherever they lead (see `open_source`). Neither is
    recorded, so that a run that stopped at such a link or recording can be continued with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    format: str | None = None
    map: str | None = None
    rules: dict[str, Rule] = Field(default_factory=dict)
    cameras: dict[str, str] = Field(default_factory=dict)
    black_cameras: tuple[str, ...] = ()
    episodes: Selection | None = None
    task: Task | None = None
    task_all: bool = False
    fps: Fps | None = None
    language: str | None = None
    trim_mismatch: int | None = Field(default=None, ge=0, le=MAX_TRIM)
    trim_idle: TrimIdleField = None
    drop_pauses: DropPausesField = None
    still: Still = Field(default_factory=dict)
    align_action: AlignAction | None = None
    filter: FilterField = None
    holdout: HeldOut | None = None
    cut_off: CutOff = Field(default="fail", exclude=True)
    follow_links: bool = Field(default=False, exclude=True)

    @model_validator(mode="after")
    def _one_task_for_all(self) -> "SourceSpec":
        if self.task_all and not isinstance(self.task, str):
            raise ValueError("task_all replaces every task by the one text of `task`, which is not given")
        return self

    @field_serializer("rules")
    def _rules_as_written(self, rules: dict[str, Rule]) -> dict[str, object]:
        """With the keys of a file, so that they can be read again."""
        return {
            group: rule if isinstance(rule, str) else rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            for group, rule in rules.items()
        }


@dataclass(frozen=True)
class Places:
    """Where the fields of a recipe are written; recipes that differ only in this are equal.

    file: None if the recipe comes from flags or from Python.
    """

    file: YamlFile | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DraftedRobot:
    """The robot of a recipe that keeps that of its sources; notes: what was guessed of it."""

    robot: Robot
    notes: tuple[str, ...] = ()


class Recipe(BaseModel):
    """Everything that decides the bytes of the output, and the device to use.

    robot: the output's robot; each source either has a map onto it or is of that robot. "same": that of the sources,
    whatever it is.
    cameras: the output's cameras, by default all that the sources have. without_cameras: cameras to skip, by their
    names in the output or in a source. columns: those beside state and action that the output has, and each source
    must have; by default all that the sources have alike. without_columns: such columns to leave out. trim_mismatch:
    how many frames or rows may be dropped at the end of an episode whose rows and videos differ in length.
    trim_idle: cut still stretches at the ends of episodes. drop_pauses: cut those within. still: how far a joint may
    stray while it counts as still, by joint group of the sources' robots, in the group's unit; by default as
    `engine/dataset/stillness.py` says. align_action: by how many source frames actions move to later rows, or "auto":
    by the measured lag of the states. filter: episodes to leave out.
    image_size: side of square frames, or width x height as "320x180", or "source": each camera's own size.
    crop: how frames come to that size. None: "none" with image_size "source", else as its maps say, or "pad".
    fps: target rate in Hz, or "source". action: which recorded action an output frame has, where frames are dropped.
    horizon: steps in an action chunk, by default the robot's.
    holdout: share of each source's episodes that goes to the held-out dataset.
    device: what the user prefers. It is not recorded; the choice that the machine allows is (see `Backends`).
    cache_gb: size of the cache for sources in object stores, GB; by default as MILLRACE_CACHE_GB says, or 50. It is not
    recorded either.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: Annotated[tuple[SourceSpec, ...], AfterValidator(_check_sources)]
    robot: str | None = None
    cameras: tuple[str, ...] | None = None
    without_cameras: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    without_columns: tuple[str, ...] = ()
    trim_mismatch: int = Field(default=0, ge=0, le=MAX_TRIM)
    trim_idle: TrimIdleField = None
    drop_pauses: DropPausesField = None
    still: Still = Field(default_factory=dict)
    align_action: AlignAction = 0
    filter: FilterField = None
    fps: TargetFps = Fraction(20)
    image_size: ImageSize = DEFAULT_SIDE
    crop: Crop | None = None
    resample: Resampler = "nearest"
    action: ActionRule = "at_frame"
    gop: int = Field(default=DEFAULT_GOP, ge=1, le=250)
    horizon: int | None = Field(default=None, ge=1)
    chunks_size: int = Field(default=1000, ge=1)
    holdout: Share | None = None
    device: Device = Field(default="auto", exclude=True)
    cache_gb: float | None = Field(default=None, gt=0, exclude=True)
    _places: Places = PrivateAttr(default_factory=Places)
    _drafted: DraftedRobot | None = PrivateAttr(default=None)
    _lags: dict[int, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _own_size_is_whole(self) -> "Recipe":
        if self.image_size == OWN_SIZE and self.crop not in (None, "none"):
            wanted = Setting("image_size", OWN_SIZE), " keeps whole frames as they are, so that there is nothing to "
            advice = Remedy("leave it out, or give a size such as ", Setting("image_size", "320x180"))
            verb = "crop" if self.crop == "center" else "pad"
            raise WrongField(("crop",), *wanted, f"{verb}; ", advice, got=self.crop, expected="none")
        return self

    @property
    def drafted(self) -> DraftedRobot | None:
        """The robot, once it was read from the sources that are to keep theirs."""
        return self._drafted

    def keep_robot(self, drafted: DraftedRobot) -> "Recipe":
        """The recipe with the robot that its sources are of."""
        recipe = self.model_copy()
        recipe._drafted = drafted
        return recipe

    @property
    def lags(self) -> Mapping[int, int]:
        """The measured lags in frames, by place of the source, of those that are aligned automatically."""
        return self._lags

    def with_lags(self, lags: Mapping[int, int]) -> "Recipe":
        """The recipe with the lags that were measured."""
        recipe = self.model_copy()
        recipe._lags = dict(lags)
        return recipe

    @property
    def places(self) -> Places:
        """Where its fields are written."""
        return self._places

    @classmethod
    def single(
        cls,
        source: SourceDataset | str | Path,
        *,
        map: str | None = None,
        cameras: Mapping[str, str] | None = None,
        episodes: str | None = None,
        task: str | Mapping[str, str] | None = None,
        task_all: bool = False,
        follow_links: bool = False,
        holdout: str | float | None = None,
        source_fps: str | float | Fraction | None = None,
        only_cameras: Sequence[str] | None = None,
        language: str | None = None,
        format: str | None = None,
        cut_off: CutOff = "fail",
        **settings: Any,
    ) -> "Recipe":
        """The recipe for one source; settings are the other fields of Recipe.

        holdout: a share of the episodes such as 0.05, or the episodes themselves. source_fps: the source's rate,
        if its metadata is wrong. only_cameras: the output's cameras, by default all.

        Raises:
            RecipeError: a setting is unknown or out of range.
        """
        if unknown := settings.keys() - cls.model_fields.keys():
            known = sorted({*SINGLE_SOURCE_SETTINGS, *cls.model_fields} - {"sources"})
            raise _no_field(min(unknown), "setting of a recipe", known)
        path = Path(source.address if isinstance(source, SourceDataset) else source)
        spec: dict[str, Any] = {"path": path, "map": map, "cameras": dict(cameras or {}), "episodes": episodes}
        spec |= {"task": task, "task_all": task_all, "follow_links": follow_links, "fps": source_fps}
        spec |= {"language": language, "format": format, "cut_off": cut_off}
        spec |= {"holdout": None if is_share(holdout) else holdout}
        settings |= {} if only_cameras is None else {"cameras": tuple(only_cameras)}
        return check_recipe({"sources": [spec], "holdout": holdout if is_share(holdout) else None, **settings})


def is_share(holdout: object) -> bool:
    """Whether it is a share of the episodes, such as 0.05 or 1/20, rather than a list of them."""
    return not isinstance(holdout, int) and any(mark in str(holdout) for mark in "./%")


def check_recipe(values: dict[str, Any], places: Places = Places()) -> Recipe:
    """Values from a command line or a file as a Recipe.

    Raises:
        RecipeError: names every field that is wrong, and why.
    """
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems = [problem for _, problem in field_problems(error)]
        raise RecipeError(join_texts(problems)).about(problems[0].facts) from None
    recipe._places = places
    return recipe


def _no_field(name: str, kind: str, known: Iterable[str]) -> RecipeError:
    return RecipeError(unknown_name(name, kind, known))


def field_problems(error: ValidationError) -> list[tuple[Key, RecipeError]]:
    """The place of each wrong field of a recipe, and what is wrong with it."""
    return [_problem(dict(problem)) for problem in error.errors(include_url=False)]


def _problem(problem: dict[str, Any]) -> tuple[Key, RecipeError]:
    cause = problem.get("ctx", {}).get("error")
    key: Key = (*problem["loc"], *(cause.key if isinstance(cause, WrongField) else ()))
    is_source = key[0] == "sources" and len(key) > 2
    if problem["type"] == "extra_forbidden":
        known = (SourceSpec if is_source else Recipe).model_fields
        return key, _no_field(str(key[-1]), f"field of a {'source' if is_source else 'recipe'}", known)
    messages = {
        "missing": "is missing",
        "model_type": "a source has fields, such as path: data/aloha",
        "tuple_type": "must be a list",
    }
    told = str(problem["msg"]).removeprefix("Value error, ")
    ending = "" if cause is not None else f", got {show_value(problem.get('input'))}"
    said = cause if isinstance(cause, MillraceError) else messages.get(problem["type"], told + ending)
    # Flags do not say which source, and files cite the line.
    own = key[2:] if len(key) > 1 else key
    name, *rest = [str(part) for part in own if not str(part).startswith("<")] or [""]  # members of unions
    field = Setting(f"source_{name}" if is_source and name == "fps" else name)
    where = (field, *(f".{part}" for part in rest), ": ") if name else ()
    error = RecipeError(*where, said)
    got = None if problem["type"] == "missing" else problem.get("input")
    return key, error.about(got=got, expected=told.removeprefix(BOUND) if told.startswith(BOUND) else None)
