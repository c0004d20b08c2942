"""A run is killed before every other change that it makes while it packs: the next one finishes, to the same bytes."""

import signal
from pathlib import Path

import pytest

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.convert import convert
from millrace.engine.packing import FileSizes
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe
from support.processes import convert_in_child
from support.synthetic import write_dataset

# An episode in each file.
SIZES = FileSizes(1, 1)
ALONE = Layouts(("v3.0",), SIZES)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Of two short episodes."""
    source = tmp_path_factory.mktemp("pack_kills") / "aloha"
    write_dataset(source, lengths=(9, 7))
    return recipe_for(source, robot="aloha", fps=50, horizon=4)


@pytest.fixture(scope="module")
def due(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run makes that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(recipe, out, workers=LOCAL, layouts=ALONE)
    return files_of(out)


def test_killed_before_every_fourth_change(recipe: Recipe, due: dict[str, bytes], tmp_path: Path) -> None:
    """From the first file that is joined to the deletion of the episodes."""
    out = tmp_path / "out"
    convert(recipe, ALONE.episodes_folder(out), workers=LOCAL)
    num_kills = 0
    while (code := convert_in_child(recipe, out, layouts=ALONE, killed_at=num_kills)) == -signal.SIGKILL:
        num_kills += 4  # each run does less than the one before, so that the others come by as well
        assert not (out / "meta").exists() or files_of(out) == due
    assert code == 0
    assert num_kills > 10
    assert files_of(out) == due
    assert not list(out.rglob("episode_*"))
