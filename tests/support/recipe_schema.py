"""The JSON schema of recipe files, for editors: `make schema` writes docs/recipe.schema.json."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from millrace.engine.planning.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
# Heading of the page: definition in the schema; None: the recipe itself.
MODELS = {"Keys of a recipe": None, "Keys of a source": "SourceSpec"}


def entries(heading: str) -> dict[str, str]:
    """What the page says under a heading of each key."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {key: text.strip() for key, text in re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", part, re.M | re.S)}


def recipe_schema() -> dict[str, Any]:
    """The models' schema, each key described by the page's words."""
    schema: dict[str, Any] = _without_names(Recipe.model_json_schema())
    for heading, name in MODELS.items():
        model = schema if name is None else schema["$defs"][name]
        for key, text in entries(heading).items():
            model["properties"][key]["description"] = _plain(text)
    return {"title": "Millrace recipe", **schema}


def _plain(text: str) -> str:
    """The words of an entry, without examples and links."""
    words = text.split("```")[0]
    return " ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", words).split())


def _without_names(node: Any) -> Any:
    """Without titles and descriptions, which are names and docstrings of classes; keys of a recipe stay."""
    if isinstance(node, list):
        return [_without_names(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if not (key in ("title", "description") and type(value) is str)}
    return {key: _without_names(value) for key, value in kept.items()}


def schema_text() -> str:
    """The file's content."""
    return json.dumps(recipe_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
