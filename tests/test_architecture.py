"""The house stays as it was drawn: who may import whom, and what the front door must not load."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from conftest import REPOSITORY

PACKAGES = ("embodiments", "engine", "train", "commands")
# A package may import itself and those before it.
LAYERS = (*PACKAGES, "millrace")
# Only these files may import the heavy dependencies.
IMPORTERS = {
    "ray": (
        "engine/stream.py",
        "engine/mixed.py",
        "engine/cluster.py",
        "train/cluster.py",
        "train/finetune.py",
        "train/evaluate.py",
    ),
    "av": ("engine/video/*", "engine/video/gpu/*"),
    "gr00t": ("train/groot/*",),
    "torch": ("train/*", "train/groot/*", "engine/video/gpu/*"),
    "torchvision": ("engine/video/gpu/*",),
}
TRAIN_MAY_USE = (
    "engine.output.framing",
    "engine.about",
    "engine.video",
    "engine.layout",
    "engine.templates",
    "engine.validate",
)


def source_files() -> list[Path]:
    """Every module of the product, relative to the repository."""
    packaged = (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
    return [path.relative_to(REPOSITORY) for path in (REPOSITORY / "millrace.py", *packaged)]


def imports(file: Path) -> Iterator[str]:
    """Full names of all that a module imports, within functions too: `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parents = file.parts[: len(file.parts) - node.level] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def owner(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_layers_are_imported_downwards_only(file: Path) -> None:
    layer = LAYERS.index(owner(".".join(file.with_suffix("").parts)))
    upwards = [name for name in imports(file) if owner(name) in LAYERS[layer + 1 :]]
    assert not upwards, f"{file} imports {', '.join(upwards)}"


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_heavy_dependencies_have_named_importers(file: Path) -> None:
    strange = [
        name
        for name in imports(file)
        if owner(name) in IMPORTERS and not any(PurePath(file).match(allowed) for allowed in IMPORTERS[owner(name)])
    ]
    assert not strange, f"{file} imports {', '.join(strange)}"


@pytest.mark.parametrize("file", [file for file in source_files() if file.parts[0] == "train"], ids=str)
def test_train_uses_of_the_engine_only_videos_layout_and_checks(file: Path) -> None:
    strange = [name for name in imports(file) if owner(name) == "engine" and not name.startswith(TRAIN_MAY_USE)]
    assert not strange, f"{file} imports {', '.join(strange)}"


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_the_product_does_not_import_its_tests_or_benchmarks(file: Path) -> None:
    assert not {owner(name) for name in imports(file)} & {"tests", "benchmarks", "synthetic", "barcode", "conftest"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(json.loads(done.stdout))


def test_the_front_door_opens_without_the_heavy_dependencies() -> None:
    assert not loaded_by("import millrace") & {"ray", "torch", "gr00t", "pandas", "huggingface_hub"}


def test_robots_need_no_video() -> None:
    assert not loaded_by("import embodiments; embodiments.load_map('aloha_to_gr1')") & {"av", "ray", "torch", "pyarrow"}
