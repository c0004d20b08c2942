"""Recipes in YAML files; paths in them are relative to the file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from millrace.embodiments.robot import is_path
from millrace.embodiments.yaml_file import Key, YamlFile, read_yaml
from millrace.engine.errors import RecipeError
from millrace.engine.planning.planner import source_problems
from millrace.engine.planning.recipe import Places, Recipe, check_recipe, field_problems
from millrace.engine.planning.recipe_problems import cited_problems
from millrace.engine.sources import locate

# A field that is wrong is left out while the sources are looked at: what is then wrong with these fields of a source,
# beside that field itself, may be due to that alone.
BLURS = {
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
        RecipeProblems: fields are wrong; lists them all, and what is wrong with the sources whose fields are not.
        RecipeError: the file cannot be read, or is no YAML.
    """
    return recipe_in(read_yaml(Path(path), error=RecipeError), **settings)


def recipe_in(file: YamlFile, **settings: object) -> Recipe:
    """The recipe that a file, or a part of one, holds.

    Raises:
        RecipeProblems: see `read_recipe`.
    """
    content = {**_from_here(file.content, file.path.parent), **settings}
    try:
        Recipe.model_validate(content)
    except ValidationError as error:
        found = field_problems(error)
        raise cited_problems([*found, *_problems_beside(content, found)], file) from None
    return check_recipe(content, Places(file))


def _from_here(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's content with the paths that its file means."""
    sources = content.get("sources")
    listed = [_source_from_here(source, folder) for source in sources] if isinstance(sources, list) else sources
    return {**content, **_files_from_here(content, "robot", folder), **({"sources": listed} if listed else {})}


def _source_from_here(source: object, folder: Path) -> object:
    if not isinstance(source, Mapping):
        return source
    path = source.get("path")
    located = {"path": locate(path, folder)} if isinstance(path, str) else {}
    return {**source, **located, **_files_from_here(source, "map", folder)}


def _files_from_here(fields: Mapping[str, Any], key: str, folder: Path) -> dict[str, str]:
    """A robot or map that is named by the path of its file."""
    name = fields.get(key)
    return {key: str(folder / name)} if isinstance(name, str) and is_path(name) else {}


def _problems_beside(content: dict[str, Any], found: list[tuple[Key, str]]) -> list[tuple[Key, str]]:
    """What is wrong with the sources themselves, as far as the fields that are wrong allow to tell."""
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
    about_robot = [(key, message) for key, message in problems if key[0] == "robot"]
    about_sources = [(numbers[int(key[1])], key[2:], message) for key, message in problems if key[0] == "sources"]
    return about_robot + [
        (("sources", number, *key), message)
        for number, key, message in about_sources
        if key[0] not in _blurred({*wrong, *wrong_in[number]})
    ]


def _blurred(wrong: Iterable[str | None]) -> set[object]:
    """Fields of a source that cannot be told to be wrong while these fields are."""
    return {field for name in wrong for field in (name, *BLURS.get(name or "", ()))}
