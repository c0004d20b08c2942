"""`upload` takes its two words in either order, and tables in a pipe keep paths whole."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from millrace.commands.tables import make_console, make_table
from millrace.commands.upload import Upload


@pytest.mark.parametrize("is_swapped", [False, True])
def test_folder_and_repository_come_in_either_order(tmp_path: Path, is_swapped: bool) -> None:
    words = (str(tmp_path), "me/robot")
    folder, repo = reversed(words) if is_swapped else words
    assert Upload(folder=Path(folder), repo=repo)._uploads() == [(tmp_path, "me/robot")]


def test_a_path_in_a_table_stays_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    printed: Any = StringIO()
    monkeypatch.setattr("sys.stdout", printed)
    path = "/data/" + "episode/" * 40 + "episode_000002.parquet"
    make_console().print(make_table(("fault", "the first of them"), [("missing", path)]))
    assert path in printed.getvalue()
