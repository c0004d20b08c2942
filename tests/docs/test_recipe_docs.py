"""The examples of docs/recipes.md are recipes that work, it has every key, and the schema is that of the models."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from conftest import REPOSITORY
from millrace import read_recipe
from millrace.engine.convert import plan_conversion
from millrace.engine.planning.recipe import Recipe, SourceSpec
from support.recipe_schema import MODELS, PAGE, entries, schema_text
from support.synthetic import ExtraColumn, write_dataset

SCHEMA = REPOSITORY / "docs" / "recipe.schema.json"
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
# The source of an example that names none, as the page says.
SOURCE = "sources:\n  - path: aloha\n    map: aloha_to_gr1_rescaled\n"
EXAMPLES = [text if "sources:" in text else text + SOURCE for text in BLOCK.findall(PAGE)]
ON_DISK = ("aloha", "aloha_v3", "aloha_wrist", "aloha_rewards")
FIELDS = [(heading, SourceSpec if name else Recipe) for heading, name in MODELS.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The datasets that the page's examples name."""
    root = tmp_path_factory.mktemp("recipes")
    shutil.copytree(REPOSITORY / "examples" / "aloha", root / "aloha")
    write_dataset(root / "aloha_v3", version="v3.0", lengths=(60, 50), cameras=("top",))
    write_dataset(root / "aloha_wrist", lengths=(60, 50), cameras=("top", "wrist"))
    flag, reward = (ExtraColumn(lambda episode, frames: frames == 9, dtype=dtype) for dtype in ("bool", "float32"))
    columns = {"next.reward": reward, "next.done": flag}
    write_dataset(root / "aloha_rewards", lengths=(60,), extra_columns=columns)
    return root


def test_the_source_of_short_examples_is_the_page_s() -> None:
    assert SOURCE in BLOCK.findall(PAGE)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_read_and_planned(text: str, folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    recipe = read_recipe(path)
    if all(source.path.name in ON_DISK for source in recipe.sources):
        assert plan_conversion(recipe).episodes


def test_the_recipe_of_the_page_on_combining_is_read(folder: Path) -> None:
    path = folder / "combine.yaml"
    blocks = BLOCK.findall((REPOSITORY / "docs" / "combine.md").read_text(encoding="utf-8"))
    recipes = [text for text in blocks if "sources:" in text]
    assert recipes
    for text in recipes:
        path.write_text(text, encoding="utf-8")
        assert len(read_recipe(path).sources) > 1


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_fits_the_schema(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), json.loads(SCHEMA.read_text(encoding="utf-8")))


@pytest.mark.parametrize("wrong", [{"fbs": 20}, {"image_size": 255}, {"sources": [{"map": "aloha_to_gr1"}]}])
def test_the_schema_notices_mistakes(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(SOURCE), **wrong}, json.loads(SCHEMA.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("heading", "model"), FIELDS)
def test_the_page_has_every_key(heading: str, model: type[BaseModel]) -> None:
    assert list(entries(heading)) == list(model.model_fields)


@pytest.mark.parametrize(("heading", "model"), FIELDS)
def test_every_key_has_its_default_and_an_example(heading: str, model: type[BaseModel]) -> None:
    for key, text in entries(heading).items():
        examples = [yaml.safe_load(block) for block in BLOCK.findall(text)]
        shown = [part for content in examples for part in (content, *content.get("sources", ())) if key in part]
        assert shown, f"no example of {key}"
        field = model.model_fields[key]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if default not in (None, (), {}):
            assert f"Default: `{str(default).lower()}`" in text, f"the default of {key}"


def test_the_schema_is_that_of_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "run `make schema`"
