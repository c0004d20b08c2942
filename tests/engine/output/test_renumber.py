"""Numbers of finished episodes follow the plan: rows are rewritten once, at the end, in any number of processes."""

from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, convert_here, data_path, files_of, recipe_for
from millrace.engine.convert import Workers, convert
from millrace.engine.errors import OutputFailed
from millrace.engine.layout import EpisodePaths
from millrace.engine.output import renumber
from support.still_stretches import hold
from support.synthetic import write_dataset

SETTINGS: dict[str, Any] = {
    "robot": "aloha",
    "fps": "source",
    "horizon": 1,
    "trim_idle": True,
    "filter": {"max_idle": 0.9},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of six episodes number 1 is still nearly throughout, and 2 at its start."""
    root = tmp_path_factory.mktemp("renumbered") / "source"
    write_dataset(root, lengths=(20, 40, 40, 20, 20, 20), fps=20)
    for episode, stop in ((1, 38), (2, 25)):
        hold(root, [(0, stop)], episode=episode)
    return root


@pytest.fixture(scope="module")
def converted(source: Path) -> Path:
    out = source.parent / "out"
    convert_here(source, out, **SETTINGS)
    return out


def test_processes_write_the_same_bytes(
    source: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EPISODES_PER_PROCESS", "EPISODES_AT_ONCE"):
        monkeypatch.setattr(renumber, name, 1)
    done: list[tuple[int, int]] = []
    workers = Workers(2, executor="local")
    tell = {"on_renumber": lambda *numbers: done.append(numbers)}
    convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=workers, **tell)  # type: ignore[arg-type]
    assert files_of(tmp_path / "out") == files_of(converted)
    # Number 0 has the numbers that it was converted with; of 1, which is left out, there are none.
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_episode_that_moves_is_rewritten_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one of the episodes move when the filter leaves number 1 out, then cuts change their frames' numbers."""
    written: list[int] = []
    rewrite = renumber._rewrite

    def count(numbers: renumber.Renumbered, *folders: Path) -> Any:
        written.append(numbers.index)
        return rewrite(numbers, *folders)

    monkeypatch.setattr(renumber, "_rewrite", count)
    convert_here(source, tmp_path / "out", **SETTINGS)
    assert written == [1, 2, 3, 4]


def test_rows_that_were_changed_meanwhile_are_refused_and_made_again(
    source: Path, converted: Path, tmp_path: Path
) -> None:
    recipe, out = recipe_for(source, **SETTINGS), tmp_path / "out"

    def damage(num_done: int, num_all: int) -> None:
        path = data_path(out, 4)
        path.write_bytes(b"0" * path.stat().st_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renumber, "EPISODES_AT_ONCE", 1)
        with pytest.raises(OutputFailed, match=r"episode_000004\.parquet was changed since it was written; the same"):
            convert(recipe, out, workers=LOCAL, on_renumber=damage)
    assert not (out / "meta").exists()
    assert convert(recipe, out, workers=LOCAL).num_episodes == 5
    assert files_of(out) == files_of(converted)
    assert (out / EpisodePaths(4, 1000).data).is_file()
