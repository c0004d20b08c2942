"""A recording's JSON is read piece by piece, and what is wrong with it is told from a file that ends too early."""

import json
import tracemalloc
from pathlib import Path

import pytest

from millrace.engine.sources import xr_json
from millrace.engine.sources.damage import TooLarge
from millrace.engine.sources.thrift import Malformed
from millrace.engine.sources.xr_json import CutShort, read_last_row, read_pieces
from support.synthetic_recordings import AT_ONCE, RecordingStyle, recording_text

NOTE = 'a "quoted" \\ ☃ text'
ROWS = [{"idx": row, "states": {"π": [row / 7, -1e-9, 3]}, "actions": {}, "note": NOTE} for row in range(6)]
STYLES = {"at once": AT_ONCE, "row by row": RecordingStyle(is_streamed=True)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.json"


@pytest.fixture(params=STYLES)
def text(request: pytest.FixtureRequest) -> str:
    return recording_text(ROWS, style=STYLES[request.param])


def rows_of(path: Path) -> list[object]:
    return [value for key, value in read_pieces(path) if key == "data"]


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_pieces_are_those_of_the_whole_file(text: str, block: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xr_json, "BLOCK_CHARS", block)
    path.write_text(text)
    whole = json.loads(text)
    pieces = list(read_pieces(path))
    assert [value for key, value in pieces if key == "data"] == whole["data"] == ROWS
    assert {key: value for key, value in pieces if key != "data"} == {k: v for k, v in whole.items() if k != "data"}
    assert read_last_row(path) == ROWS[-1]


def test_a_file_cut_anywhere_keeps_its_whole_rows(text: str, path: Path) -> None:
    for cut in range(0, len(text), 7):
        path.write_bytes(text[:cut].encode())
        found: list[object] = []
        with pytest.raises(CutShort):
            found.extend(value for key, value in read_pieces(path) if key == "data")
        assert found == ROWS[: len(found)]
        assert read_last_row(path) is None or len(found) == len(ROWS)


def test_a_file_cut_within_a_character_is_cut_short(path: Path) -> None:
    content = recording_text(ROWS).encode()
    path.write_bytes(content[: content.index("☃".encode()) + 1])
    with pytest.raises(CutShort):
        rows_of(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (('"idx": 4,', '"idx": 4'), "Expecting ',' delimiter"),
        (('"idx": 4,', '"idx": 4]'), "Expecting ',' delimiter"),
        (('"idx": 4', '"idx": four'), "Expecting value"),
        (('"idx": 4', '"idx: 4'), "Invalid control character"),
        (('"text":', "text:"), "Expecting value"),
        (('"data": [', '"data": ('), r"'\(' at character \d+, expected \["),
        (('"idx": 4', '"idx": ' + "1" * 9999), "Exceeds the limit"),
        (('"idx": 4', '"idx": ' + "[" * 200_000), "nested too deeply"),
    ],
)
def test_damage_in_the_middle_is_no_cut(damage: tuple[str, str], reason: str, path: Path) -> None:
    path.write_text(recording_text(ROWS).replace(*damage, 1))
    with pytest.raises(Malformed, match=reason):
        rows_of(path)


def test_a_huge_value_is_refused_before_it_fills_the_memory(path: Path) -> None:
    with path.open("w") as file:
        file.write('{"info": {}, "text": {}, "data": [{"idx": 0, "states": "')
        for _ in range(64):
            file.write("x" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(TooLarge, match="longer than"):
        rows_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * xr_json.MAX_PIECE_CHARS < path.stat().st_size


def test_memory_does_not_grow_with_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xr_json, "BLOCK_CHARS", 1 << 14)
    row = json.dumps(ROWS[0])
    peaks = []
    for num_rows in (1000, 3000):
        path.write_text('{"data": [' + ", ".join([row] * num_rows) + "]}")
        tracemalloc.start()
        assert sum(1 for _ in read_pieces(path)) == num_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < path.stat().st_size
