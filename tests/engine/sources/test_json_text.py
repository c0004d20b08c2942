"""Sources and datasets under judgement read JSON by the same functions: one wording, with or without the place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.engine.dataset.json_files import JsonObject, Unreadable, read_json, read_jsonl
from millrace.engine.dataset.metadata import InfoFile
from millrace.engine.errors import DatasetError
from millrace.engine.sources.json_text import MAX_BYTES
from millrace.engine.sources.lerobot_metadata import Info, read_source_json
from support.synthetic import replace_with_lfs_pointer


def grow(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda path: path.write_text("{"), " is not JSON (Expecting"),
    "not text": (lambda path: path.write_bytes(b"{\xff}"), " cannot be read ('utf-8' codec"),
    "deep": (lambda path: path.write_text("[" * 100_000), " is not JSON ("),
    "too large": (grow, f" is {MAX_BYTES + 1} bytes, too large to be metadata"),
    "pointer": (replace_with_lfs_pointer, " is a Git LFS pointer"),
    "missing": (lambda path: path.unlink(), " is missing"),
    "wrong kind": (lambda path: path.write_text("[]"), ": the value: Input should be a valid dictionary"),
    "wrong value": (lambda path: path.write_text('{"fps": -1}'), ": fps: "),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_both_readers_say_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    path.write_text("{}")
    damage, reason = DAMAGES[name]
    damage(path)
    with pytest.raises(DatasetError) as source:
        read_source_json(path, Info)
    assert str(source.value).startswith(f"{path}{reason}")
    with pytest.raises(Unreadable) as judged:
        read_json(tmp_path, "info.json", InfoFile)
    assert judged.value.problem.message.startswith(reason.removeprefix(":").lstrip())
    assert "Value error" not in f"{source.value} {judged.value}"


def test_a_line_of_a_dataset_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{}\n\n{"a": }\n')
    with pytest.raises(Unreadable, match="line 3: is not JSON"):
        list(read_jsonl(tmp_path, "lines.jsonl", JsonObject))
    (tmp_path / "lines.jsonl").write_text('{}\n{"a": -Infinity}\n')
    with pytest.raises(Unreadable, match="line 2: holds -Infinity"):
        list(read_jsonl(tmp_path, "lines.jsonl", JsonObject))
