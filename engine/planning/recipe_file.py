"""Recipes in YAML files; paths in them are relative to the file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from millrace.embodiments import Key, MillraceError, YamlFile, is_path, read_yaml
from millrace.engine.errors import RecipeError, RecipeProblems
from millrace.engine.planning.planner import source_problems
from millrace.engine.planning.recipe import Places, Recipe, check_recipe, field_problems
from millrace.engine.planning.recipe_problems import cite_problems
from millrace.engine.sources import locate_source

# A wrong field is skipped while the sources are checked: problems of these fields of a source may be due to that alone.
UNRELIABLE_WITH = {
    "robot": {"map", "rules", "cameras"},
    "map": {"rules", "cameras"},
    "rules": {"map"},
    "black_cameras": {"cameras"},
}


def read_recipe(path: str | Path, **settings: object) -> Recipe:
    """The recipe in a file.

    Args:
        path: Of the YAML file.
        settings: Fields that replace the file's.

    Raises:
        RecipeProblems: fields are wrong; lists them all, and what is wrong with the sources whose fields are not. Of
            those in `settings` no place is cited.
        RecipeError: the file cannot be read, or is no YAML.
    """
    return parse_recipe(read_yaml(Path(path), error=RecipeError), **settings)


def parse_recipe(file: YamlFile, **settings: object) -> Recipe:
    """The recipe that a file, or a part of one, holds.

    Raises:
        RecipeProblems: see `read_recipe`.
    """
    content = {**_resolve_paths(file.content, file.path.parent), **settings}
    try:
        Recipe.model_validate(content)
    except ValidationError as error:
        found = field_problems(error)
        given = [problem for key, problem in found if key[0] in settings]
        in_file = [(key, problem) for key, problem in found if key[0] not in settings]
        cited = cite_problems([*in_file, *_problems_beside(content, found)], file)
        raise RecipeProblems([*given, *cited.problems]) from None
    return check_recipe(content, Places(file))


def _resolve_paths(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's content with the paths that its file means."""
    sources = content.get("sources")
    listed = [_resolve_source(source, folder) for source in sources] if isinstance(sources, list) else sources
    return {**content, **_resolve_file(content, "robot", folder), **({"sources": listed} if listed else {})}


def _resolve_source(source: object, folder: Path) -> object:
    if not isinstance(source, Mapping):
        return source
    path = source.get("path")
    located = {"path": locate_source(path, folder)} if isinstance(path, str) else {}
    return {**source, **located, **_resolve_file(source, "map", folder), **_resolve_file(source, "format", folder)}


def _resolve_file(fields: Mapping[str, Any], key: str, folder: Path) -> dict[str, str]:
    """A robot or map that is named by the path of its file."""
    name = fields.get(key)
    return {key: str(folder / name)} if isinstance(name, str) and is_path(name) else {}


def _problems_beside(content: dict[str, Any], found: list[tuple[Key, RecipeError]]) -> list[tuple[Key, MillraceError]]:
    """Problems of the sources themselves, except those that the wrong fields may have caused."""
    sources = content.get("sources")
    wrong = {str(key[0]) for key, _ in found if key[0] != "sources"}
    in_sources: dict[object, set[str | None]] = {}
    for key, _ in found:
        if key[0] == "sources":
            in_sources.setdefault(key[1] if len(key) > 1 else None, set()).add(str(key[2]) if len(key) > 2 else None)
    if None in in_sources or not isinstance(sources, list):
        return []
    wrong_in = [in_sources.get(number, set()) for number in range(len(sources))]
    numbers = [number for number, fields in enumerate(wrong_in) if not fields & {None, "path"}]
    if not numbers:
        return []
    kept = [{key: value for key, value in sources[n].items() if key not in wrong_in[n]} for n in numbers]
    rest = {key: value for key, value in content.items() if key not in wrong}
    problems = source_problems(Recipe.model_validate({**rest, "sources": kept}))
    about_robot = [(key, error) for key, error in problems if key[0] == "robot"]
    about_sources = [(numbers[int(key[1])], key[2:], error) for key, error in problems if key[0] == "sources"]
    return about_robot + [
        (("sources", number, *key), error)
        for number, key, error in about_sources
        if key[0] not in _unreliable_fields({*wrong, *wrong_in[number]})
    ]


def _unreliable_fields(wrong: Iterable[str | None]) -> set[object]:
    """Fields of a source whose problems may be due to these wrong fields."""
    return {field for name in wrong for field in (name, *UNRELIABLE_WITH.get(name or "", ()))}
