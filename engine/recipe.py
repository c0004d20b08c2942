"""What to make, and from which sources: the flags of `convert`, as one checked value."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from engine.errors import RecipeError
from engine.resample import Resampler, parse_fps
from engine.sources.dataset import SourceDataset
from engine.sources.metadata import is_unicode
from engine.sources.selection import parse_selection
from engine.video.encode import DEFAULT_GOP
from engine.video.reframe import Crop

SOURCE_RATE = "source"
MIN_IMAGE_SIZE = 16


class SourceSpec(BaseModel):
    """One source dataset and what becomes of it.

    cameras: target camera -> source camera, where they differ from what the map says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    map: str | None = None
    cameras: dict[str, str] = Field(default_factory=dict)
    episodes: str | None = None
    task: str | None = None

    @field_validator("episodes")
    @classmethod
    def _is_selection(cls, episodes: str | None) -> str | None:
        if episodes is not None:
            parse_selection(episodes)
        return episodes

    @field_validator("task")
    @classmethod
    def _says_something(cls, task: str | None) -> str | None:
        if task is not None and not (task.strip() and is_unicode(task)):
            raise ValueError("a task is a sentence, not an empty text or half a character")
        return task


class Recipe(BaseModel):
    """Everything that decides the bytes of the output.

    robot: the target; each source either has a map onto it or is of that robot.
    fps: target rate in Hz, or "source". horizon: steps in an action chunk, by default the robot's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    robot: str | None = None
    fps: Fraction | Literal["source"] = Fraction(20)
    image_size: int = Field(default=256, ge=MIN_IMAGE_SIZE, le=4096, multiple_of=2)
    crop: Crop = "center"
    resample: Resampler = "nearest"
    gop: int = Field(default=DEFAULT_GOP, ge=1, le=250)
    horizon: int | None = Field(default=None, ge=1)
    chunks_size: int = Field(default=1000, ge=1)

    @field_validator("fps", mode="before")
    @classmethod
    def _exact(cls, fps: object) -> object:
        return fps if fps == SOURCE_RATE else parse_fps(fps)

    @field_serializer("fps")
    def _fps_text(self, fps: Fraction | str) -> str:
        return str(fps)

    @model_validator(mode="after")
    def _names_target(self) -> "Recipe":
        if self.robot is None and any(source.map is None for source in self.sources):
            raise ValueError("say what to convert to: --map NAME, or --robot NAME to keep the robot")
        return self

    @classmethod
    def single(
        cls,
        source: SourceDataset | str | Path,
        *,
        map: str | None = None,
        cameras: Mapping[str, str] | None = None,
        episodes: str | None = None,
        task: str | None = None,
        **settings: Any,
    ) -> "Recipe":
        """The recipe for one source; settings are the other fields of Recipe.

        Raises:
            RecipeError: a setting is unknown or out of range.
        """
        path = source.root if isinstance(source, SourceDataset) else Path(source)
        spec = {"path": path, "map": map, "cameras": dict(cameras or {}), "episodes": episodes, "task": task}
        return check_recipe({"sources": [spec], **settings})


def check_recipe(values: dict[str, Any]) -> Recipe:
    """Values from a command line or a file as a Recipe.

    Raises:
        RecipeError: names every field that is wrong, and why.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError("; ".join(_problem(dict(item)) for item in error.errors())) from None


def _problem(error: dict[str, Any]) -> str:
    field = ".".join(str(part) for part in error["loc"]).removeprefix("sources.0.")  # flags do not say which source
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
