"""What an error of training advises is its remedy, for programs too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.train.errors import OtherRun
from millrace.train.run_folder import claim_run_folder
from support.ray_runs import IDENTITY

ADVICE = re.compile(
    r"\b(Pass|pass (one|--)|[Cc]hoose|Try|[Ss]et it|begin again|same command|[Rr]ename|delete it|[Ss]tart one|Ask for|"
    r"must lie|pip install|To (train|compare|evaluate))\b"
)


def raised_texts(file: Path) -> Iterator[tuple[int, str]]:
    """Line and literal text of every error that a file raises, without its remedies."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node.lineno, " ".join(literals(node.exc))


def literals(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Remedy":
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from literals(child)


@pytest.mark.parametrize("file", sorted((REPOSITORY / "train").rglob("*.py")), ids=lambda file: file.stem)
def test_advice_is_a_remedy(file: Path) -> None:
    assert [f"line {line}: {text}" for line, text in raised_texts(file) if ADVICE.search(text)] == []


def test_an_earlier_runs_remedy_is_apart_from_what_is_wrong(tmp_path: Path) -> None:
    with claim_run_folder(tmp_path, IDENTITY, overwrite=False):
        pass
    other = IDENTITY.model_copy(update={"action_horizon": 7})
    with pytest.raises(OtherRun) as raised, claim_run_folder(tmp_path, other, overwrite=False):
        pass
    assert raised.value.remedy == "Choose another output_dir, or pass overwrite=True to delete what it holds"
    assert raised.value.facts.file == tmp_path
