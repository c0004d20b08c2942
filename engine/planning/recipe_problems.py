"""Collect what is wrong with a recipe and its sources, to report all of it at once."""

import re
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from millrace.embodiments import Key, MillraceError, YamlFile
from millrace.engine.errors import RecipeProblems
from millrace.engine.planning.recipe import Places

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Problems:
    """Errors, each with the field of the recipe that it concerns."""

    def __init__(self) -> None:
        self.found: list[tuple[Key, MillraceError]] = []

    def add(self, key: Key, error: MillraceError) -> None:
        """Add an error that concerns a field."""
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

    def check(self, places: Places) -> None:
        """Raise the collected errors, if there are any.

        Raises:
            MillraceError: the only problem itself, where the recipe stands in no file.
            RecipeProblems: a line for each, which cites the recipe's file.
        """
        if not self.found:
            return
        if places.file is None and len(self.found) == 1:
            raise self.found[0][1]
        if places.file is None:
            exit_code = max(error.exit_code for _, error in self.found)
            raise RecipeProblems(list(dict.fromkeys(str(error) for _, error in self.found)), exit_code)
        raise cite_problems(((key, str(error)) for key, error in self.found), places.file)


def cite_problems(found: Iterable[tuple[Key, str]], file: YamlFile) -> RecipeProblems:
    """One error for all that is wrong with a recipe's file, in the order of its lines."""
    cited = sorted((file.line(key), _as_fields(message)) for key, message in found)
    return RecipeProblems(list(dict.fromkeys(f"{file.path}:{line}: {message}" for line, message in cited)))


def _as_fields(message: str) -> str:
    """Flags that a message advises, as a recipe's file writes them: --camera top=NAME, --fps 20."""
    message = re.sub(r"--camera -([^\s,;]+)", r"without_cameras: [\1]", message)
    message = re.sub(r"--camera ([^\s=]+)=([^\s,;]+)", r"cameras: {\1: \2}", message)
    message = re.sub(r"--source-fps (?=\S)", "fps: ", message)

    def as_field(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        return f"{name}: " if flag[2] else name

    return re.sub(r"--(\w[\w-]*)( (?=\S))?", as_field, message)
