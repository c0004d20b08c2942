"""The order of the rooms: who may import whom, and what `import millrace` must not load."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import REPOSITORY

PACKAGES = ("embodiments", "engine", "train", "commands")
# A package may import itself and those before it.
LAYERS = (*PACKAGES, "millrace")
# A room may import itself and those before it.
ENGINE_LAYERS = (
    "about",
    "layout",
    "errors",
    "fps",
    "text",
    "hub",
    "stores",
    "sources",
    "dataset",
    "stored",
    "video",
    "validate",
    "planning",
    "drafting",
    "inspection",
    "episode",
    "output",
    "report",
    "viewer",
    "packing",
    "execution",
    "summary",
    "run",
    "splits",
    "convert",
)
# Modules beside the rooms of train/ come before them; only commands/ use preflight.
TRAIN_LAYERS = ("groot", "preflight")
MAX_LOOSE_MODULES = 9
# Only these files may import the heavy dependencies.
IMPORTERS = {
    "ray": (
        "engine/execution/ray_data.py",
        "engine/execution/ray_session.py",
        "engine/execution/actors.py",
        "engine/execution/cluster.py",
        "engine/execution/waiting.py",
        "train/worker_session.py",
        "train/finetune.py",
        "train/evaluate.py",
    ),
    "av": ("engine/video/*", "engine/video/gpu/*"),
    "h5py": ("engine/sources/hdf5/*",),
    "rerun": ("engine/viewer/recording_file.py",),
    "gr00t": ("train/groot/*", "train/groot/n1d?/*"),
    "torch": ("train/*", "train/groot/*", "train/groot/n1d?/*", "engine/video/gpu/*"),
    "torchvision": ("engine/video/gpu/*",),
}
TRAIN_MAY_USE = (
    "millrace.engine.about",
    "millrace.engine.dataset",
    "millrace.engine.execution.capacity",
    "millrace.engine.execution.ray_session",
    "millrace.engine.execution.waiting",
    "millrace.engine.fps",
    "millrace.engine.layout",
    "millrace.engine.sources.selection",
    "millrace.engine.sources.store_files",
    "millrace.engine.sources.templates",
    "millrace.engine.stores",
    "millrace.engine.text",
    "millrace.engine.validate",
    "millrace.engine.video",
)


def source_files() -> list[Path]:
    """Every module of the product, relative to the repository."""
    paths = (path for package in ("millrace", *PACKAGES) for path in (REPOSITORY / package).rglob("*.py"))
    return [path.relative_to(REPOSITORY) for path in paths]


def files_of(package: str) -> list[Path]:
    return [file for file in source_files() if file.parts[0] == package]


def imports(file: Path) -> Iterator[str]:
    """Full names of all that a module imports, within functions too: `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> str | None:
    """The package of ours that a full name lies in; None: none of ours."""
    first, _, rest = name.partition(".")
    if first != "millrace":
        return None
    package = rest.split(".")[0]
    return package if package in PACKAGES else "millrace"


def room(name: str, package: str) -> str | None:
    """The room, or module beside the rooms, that a full name lies in; None: of another package."""
    parts = name.split(".")
    return parts[2] if parts[:2] == ["millrace", package] and len(parts) > 2 else None


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_packages_are_imported_downwards_only(file: Path) -> None:
    above = LAYERS[LAYERS.index(file.parts[0]) + 1 :]
    upwards = [name for name in imports(file) if layer(name) in above and file.parts[0] != "millrace"]
    assert not upwards, f"{file} imports {', '.join(upwards)}"


@pytest.mark.parametrize("file", files_of("engine"), ids=str)
def test_rooms_of_the_engine_are_imported_downwards_only(file: Path) -> None:
    own = file.with_suffix("").parts[1]
    if own == "__init__":
        assert not list(imports(file))
        return
    above = ENGINE_LAYERS[ENGINE_LAYERS.index(own) + 1 :]
    upwards = [name for name in imports(file) if room(name, "engine") in above]
    assert not upwards, f"{file} imports {', '.join(upwards)}"


def test_every_room_of_the_engine_has_its_place() -> None:
    found = {file.with_suffix("").parts[1] for file in files_of("engine")} - {"__init__"}
    assert found == set(ENGINE_LAYERS)
    loose = [file for file in files_of("engine") if len(file.parts) == 2 and file.name != "__init__.py"]
    assert len(loose) <= MAX_LOOSE_MODULES


@pytest.mark.parametrize("file", files_of("train"), ids=str)
def test_rooms_of_training_are_imported_downwards_only(file: Path) -> None:
    own = TRAIN_LAYERS.index(file.parts[1]) if file.parts[1] in TRAIN_LAYERS else -1
    upwards = [name for name in imports(file) if room(name, "train") in TRAIN_LAYERS[own + 1 :]]
    assert not upwards, f"{file} imports {', '.join(upwards)}"


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_heavy_dependencies_have_named_importers(file: Path) -> None:
    heavy = [name for name in imports(file) if name.split(".")[0] in IMPORTERS]
    strange = [
        name for name in heavy if not any(PurePath(file).match(allowed) for allowed in IMPORTERS[name.split(".")[0]])
    ]
    assert not strange, f"{file} imports {', '.join(strange)}"


def test_only_sources_and_video_ask_for_the_kind_of_a_camera() -> None:
    """Other modules ask for its `video`: a new kind of images needs no change of theirs."""
    rooms = ("engine/sources/", "engine/video/")
    others = [file for file in source_files() if not file.as_posix().startswith(rooms)]
    asks = re.compile(r"isinstance\(.*\b(Clip|Images|ImageColumn|ImageFolder)\b")
    assert not [file for file in others if asks.search((REPOSITORY / file).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("file", files_of("train"), ids=str)
def test_training_uses_of_the_engine_only_what_is_named(file: Path) -> None:
    strange = [name for name in imports(file) if layer(name) == "engine" and not name.startswith(TRAIN_MAY_USE)]
    assert not strange, f"{file} imports {', '.join(strange)}"


@pytest.mark.parametrize("file", source_files(), ids=str)
def test_the_product_has_one_name_and_does_not_import_its_tests_or_benchmarks(file: Path) -> None:
    first = {name.split(".")[0] for name in imports(file)}
    assert not first & {*PACKAGES, "tests", "benchmarks", "synthetic", "barcode", "conftest"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(json.loads(done.stdout))


def test_the_public_api_opens_without_the_heavy_dependencies() -> None:
    everything = "import millrace; [getattr(millrace, name) for name in millrace.__all__]"
    assert not loaded_by(everything) & {"ray", "torch", "gr00t", "pandas", "huggingface_hub"}
    assert not loaded_by("import millrace") & {"av", "numpy", "pyarrow", "pydantic"}


def test_the_command_opens_without_the_heavy_dependencies() -> None:
    assert not loaded_by("import millrace.cli") & {"ray", "torch", "gr00t", "pandas", "huggingface_hub"}


def test_robots_need_no_video() -> None:
    loaded = loaded_by("import millrace; millrace.load_map('aloha_to_gr1')")
    assert not loaded & {"av", "ray", "torch", "pyarrow"}


def test_reading_rows_for_training_does_not_import_pandas(tmp_path: Path) -> None:
    """Each worker of a data loader would pay for it."""
    pq.write_table(
        pa.table({"x": pa.array([[1.0, None], [2.0, 3.0]]), "flag": pa.array([True, False])}), tmp_path / "rows.parquet"
    )
    statement = f"""
from pathlib import Path
from millrace.train.shards import read_step_columns
found = read_step_columns(Path({str(tmp_path / "rows.parquet")!r}), ["x", "flag"])
assert found["x"].shape == (2, 2)"""
    assert not loaded_by(statement) & {"pandas", "torch"}


def test_a_conversion_in_one_process_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """Pandas alone takes a second and 60 MB."""
    statement = f"""
import millrace
recipe = millrace.Recipe.single("examples/aloha", map="aloha_to_gr1", episodes="0", image_size=48)
millrace.convert(recipe, {str(tmp_path / "out")!r}, workers=millrace.Workers(local=True))"""
    assert not loaded_by(statement) & {"pandas", "ray", "torch"}
