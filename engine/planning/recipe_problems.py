"""Collect what is wrong with a recipe and its sources, to report all of it at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from millrace.embodiments import Key, MillraceError, YamlFile
from millrace.embodiments.messages import Setting, quote_words, render
from millrace.engine.errors import RecipeError, RecipeProblems
from millrace.engine.planning.recipe import Recipe

# Keys of a source or of a pipeline that Python calls otherwise.
KEYS = {"source_fps": "fps", "num": "workers"}

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
        raise RecipeProblems(errors, max(error.exit_code for error in errors))


def cite_problems(found: Iterable[tuple[Key, MillraceError]], file: YamlFile) -> RecipeProblems:
    """One error for all that is wrong with a recipe's file, in the order of its lines, with settings as keys."""
    texts = ((file.line(key), render(error.message, write_key), error) for key, error in found)
    cited = {(line, text): error for line, text, error in texts}
    return RecipeProblems(
        RecipeError(f"{file.path}:{line}: {text}").about(error.facts, file=file.path, line=line)
        for (line, text), error in sorted(cited.items(), key=lambda item: item[0])
    )


def write_key(setting: Setting) -> str:
    """A setting as a recipe's file writes it: fps: 20, cameras: {top: NAME}."""
    name = KEYS.get(setting.name, setting.name)
    return name if setting.value is None else f"{name}: {_value(setting.value)}"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return quote_words(value)
