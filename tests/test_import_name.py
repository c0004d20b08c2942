"""`millrace` is the only name that an installation takes: a folder with engine.py or train.py is a place to work in."""

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

import millrace
from conftest import REPOSITORY
from millrace.engine.about import DISTRIBUTION
from support.synthetic import write_dataset
from support.training_setups import replace_text, write_base, write_run_dataset

FOLDERS = ("engine", "train", "commands", "embodiments")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose modules have the names of Millrace's folders, and must not be imported."""
    for name in FOLDERS:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the {name}.py of another project')\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_an_installation_takes_one_name() -> None:
    # Not what an earlier build left in the checkout.
    (installed,) = distributions(name=DISTRIBUTION, path=[sysconfig.get_path("purelib")])
    taken = installed.read_text("top_level.txt")
    assert taken is not None
    assert taken.split() == ["millrace"]


@pytest.mark.parametrize("place", [REPOSITORY, Path("/")], ids=["checkout", "elsewhere"])
def test_it_is_imported_from_a_checkout_that_is_not_installed(place: Path) -> None:
    paths = [str(REPOSITORY), *sys.path]
    code = f"import sys; sys.path[:] = {paths!r}; import millrace.engine.convert as found; print(found.__file__)"
    done = run(place, "-S", "-c", code)
    assert done.stdout.strip() == str(REPOSITORY / "engine/convert.py"), done.stderr


def test_every_public_name_is_there() -> None:
    assert {name for name in millrace.__all__ if getattr(millrace, name, None) is None} == set()
    assert set(millrace.__all__) <= set(dir(millrace))
    assert millrace.__version__
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        millrace.convrt  # noqa: B018
    assert (REPOSITORY / "millrace/py.typed").is_file()


def test_a_conversion_with_ray_works_beside_modules_of_these_names(folder: Path) -> None:
    write_dataset(folder / "source", lengths=(41, 33))
    flags = ["--map", "aloha_to_gr1", "--image-size", "64", "--workers", "2", "--executor", "ray"]
    done = run(folder, "-m", "millrace", "convert", "source", "out", *flags)
    assert done.returncode == 0, done.stderr
    code = "import millrace; report = millrace.validate('out'); print(report.is_valid, type(report) is millrace.Report)"
    assert run(folder, "-c", code).stdout.split() == ["True", "True"]


def test_a_preflight_and_its_child_process_work_beside_modules_of_these_names(folder: Path) -> None:
    dataset, base = write_run_dataset(folder / "data"), write_base(folder / "base")
    replace_text(dataset / "modality_config.py", "CONFIG = {", "raise RuntimeError('of the file itself')\nCONFIG = {")
    flags = ["--base-model-path", str(base), "--output-dir", "run", "--dry-run"]
    done = run(folder, "-m", "millrace", "finetune", str(dataset), *flags)
    told = done.stdout + done.stderr
    assert "of another project" not in told
    failed = (
        "RuntimeError: of the file itself" if find_spec("gr00t") else "ModuleNotFoundError: No module named 'gr00t'"
    )
    assert f"modality_config.py is known only by running it, which failed ({failed})" in " ".join(told.split())
