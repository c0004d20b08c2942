"""Files of a run for the tests of preflight, which name this module as a plugin of pytest."""

from pathlib import Path

import pytest

from support.training_setups import copy_to_break, write_base, write_run_dataset


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with nothing wrong; not to be changed."""
    return write_run_dataset(tmp_path_factory.mktemp("training"))


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return copy_to_break(whole, tmp_path / "dataset")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base model's folder to break."""
    return write_base(tmp_path / "base")
