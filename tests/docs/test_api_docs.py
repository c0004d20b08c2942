"""docs/api.md has every public name, with its signature and an example that runs."""

import ast
import dataclasses
import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import millrace
from conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def signature(name: str) -> str:
    """A public name's signature as its source has it; of a pydantic model the names of its fields."""
    value = getattr(millrace, name)
    if inspect.isclass(value):
        return _laid_out(name, _fields(value), "")
    function = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(function, ast.FunctionDef)
    returned = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    return _laid_out(name, _parameters(function.args), returned)


def _parameters(arguments: ast.arguments) -> list[str]:
    given = [_parameter(argument, None) for argument in arguments.args]
    assert not arguments.defaults, "optional parameters are named"
    star = ["*"] if arguments.kwonlyargs else []
    named = [_parameter(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    rest = [] if arguments.kwarg is None else [f"**{_parameter(arguments.kwarg, None)}"]
    return [*given, *star, *named, *rest]


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg if argument.annotation is None else f"{argument.arg}: {ast.unparse(argument.annotation)}"
    if default is None:
        return text
    return f"{text} = {'...' if isinstance(default, ast.Lambda) else ast.unparse(default)}"


def _fields(value: type[Any]) -> list[str]:
    if issubclass(value, BaseModel):
        return ["*", *(name if field.is_required() else f"{name}=..." for name, field in value.model_fields.items())]
    kinds = [kind for kind in reversed(value.__mro__) if dataclasses.is_dataclass(kind)]
    bodies = [ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0] for kind in kinds]
    nodes = (node for body in bodies if isinstance(body, ast.ClassDef) for node in body.body)
    return [ast.unparse(node).replace("'", "") for node in nodes if isinstance(node, ast.AnnAssign)]


def _laid_out(name: str, words: list[str], returned: str) -> str:
    line = f"{name}({', '.join(words)}){returned}"
    if len(line) <= 100:
        return line
    listed = "".join(f"    {word},\n" for word in words)
    return f"{name}(\n{listed}){returned}"


def test_the_page_has_every_public_name_and_no_other() -> None:
    assert sorted(ENTRIES) == sorted(millrace.__all__)


@pytest.mark.parametrize("name", millrace.__all__)
def test_the_page_has_the_signature(name: str) -> None:
    shown = BLOCK.findall(ENTRIES[name])[0].strip()
    assert shown == signature(name), f"docs/api.md, {name}: its signature is now\n{signature(name)}"


@pytest.mark.parametrize("name", [name for name in millrace.__all__ if name != "MillraceError"])
def test_the_signature_is_that_which_python_sees(name: str) -> None:
    shown = re.findall(r"^\s*\*{0,2}(\w+)", BLOCK.findall(ENTRIES[name])[0].partition("(")[2].replace(", ", "\n"), re.M)
    for parameter in inspect.signature(getattr(millrace, name)).parameters:
        assert parameter in shown


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    program = [BLOCK.findall(PAGE)[0], *(BLOCK.findall(text)[1] for text in ENTRIES.values())]
    exec(compile("\n".join(program), "docs/api.md", "exec"), {})
