"""Collect what is wrong with a recipe and its sources, to report all of it at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from millrace.embodiments import Key, MillraceError, YamlFile
from millrace.embodiments.messages import FileSetting, Setting, quote_words, write_settings
from millrace.engine.errors import RecipeError, RecipeProblems
from millrace.engine.planning.recipe import Recipe, SourceSpec

# Keys of a source or of a pipeline that Python calls otherwise.
KEYS = {"source_fps": "fps", "num": "workers"}
# What a recipe's file may set; settings of a run, such as overwrite, are flags.
FIELDS = {*Recipe.model_fields, *SourceSpec.model_fields, *KEYS} - {"num", "device"}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Problems:
    """Errors, each with the field of the recipe that it concerns."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.found: list[tuple[Key, MillraceError]] = []

    def add(self, key: Key, error: MillraceError) -> None:
        """Add an error that concerns a field; of a source, it is about that dataset."""
        if key[0] == "sources" and len(key) > 1:
            error.about(dataset=str(self.recipe.sources[int(key[1])].path))
        self.found.append((key, error))

    def collect(
        self, key: Key, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result | None:
        """Return what `work` returns; where it raises a MillraceError, add that and return None."""
        try:
            return work(*args, **kwargs)
        except MillraceError as error:
            self.add(key, error)
            return None

    def check(self) -> None:
        """Raise the collected errors, if there are any.

        Raises:
            MillraceError: the only problem itself, where the recipe stands in no file.
            RecipeProblems: a line for each, which cites the recipe's file.
        """
        if not self.found:
            return
        places = self.recipe.places
        errors = list({error.message: error for _, error in reversed(self.found)}.values())[::-1]
        if places.file is not None:
            raise cite_problems(self.found, places.file)
        if len(self.found) == 1:
            raise errors[0]
        raise RecipeProblems(errors, exit_code=max(error.exit_code for error in errors))


def cite_problems(found: Iterable[tuple[Key, MillraceError]], file: YamlFile) -> RecipeProblems:
    """One error for all that is wrong with a recipe's file, in the order of its lines, with settings as keys."""
    problems = [(file.line(key), write_keys(error.message, file, key), error) for key, error in found]
    cited = {(line, str(text)): (text, error) for line, text, error in problems}
    return RecipeProblems(
        RecipeError(f"{file.path}:{line}: ", text, file=file.path, line=line).about(error.facts)
        for (line, _), (text, error) in sorted(cited.items(), key=lambda item: item[0])
    )


def write_keys(text: str, file: YamlFile, key: Key = ()) -> str:
    """A text with settings as keys of a file; key: of the part of the file that they are of, or a key of that part."""
    return write_settings(text, lambda setting: _write_key(setting, file, key))


def write_recipe_keys(text: str, recipe: Recipe, source: int | None = None) -> str:
    """A text with the recipe's settings as keys of its file, where it has one; source: the number of the source."""
    file, key = recipe.places.file, () if source is None else ("sources", source)
    if file is None:
        return text
    return write_settings(text, lambda setting: _write_key(setting, file, key) if setting.name in FIELDS else setting)


def _write_key(setting: Setting, file: YamlFile, key: Key) -> FileSetting:
    """A setting as a recipe's file writes it: fps: 20, cameras: {top: NAME}."""
    name = KEYS.get(setting.name, setting.name)
    written = name if setting.value is None else f"{name}: {_value(setting.value)}"
    parents = (key[:size] for size in range(len(key), -1, -1))
    line = next((file.lines[own] for parent in parents if (own := (*parent, name)) in file.lines), None)
    place = "" if line is None else f"{file.path}:{line}"
    return FileSetting(setting.name, setting.value, setting.call, written, place)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return quote_words(value)
