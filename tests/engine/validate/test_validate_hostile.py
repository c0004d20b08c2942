"""Whatever a dataset holds, validate() neither raises nor writes, and says what cannot be read."""

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from conftest import data_path, files_of, video_path
from millrace.engine.validate import format_report, validate
from support.broken_datasets import codes, copy
from support.ordinary_user import ordinary_user
from support.synthetic import (
    replace_with_lfs_pointer,
)

ODD_VALUES = (None, True, -1, 0, 3.5, 10**30, 1e308, "", "x", "\ud800", "\x1b[2J\n", [], [[]], [1, "a"], {}, {"a": 1})


def test_nothing_is_written(whole: Path) -> None:
    before = files_of(whole)
    validate(whole, deep=True)
    assert files_of(whole) == before


def test_lfs_pointers_are_named(dataset: Path) -> None:
    for path in (data_path(dataset, 0), video_path(dataset, 1), dataset / "meta/modality.json"):
        replace_with_lfs_pointer(path)
    report = validate(dataset)
    assert codes(report) == {"rows-unreadable", "video-unreadable", "meta-parse"}
    assert all("git lfs pull" in found.message for found in report.errors)


FILES = [
    "meta/info.json",
    "meta/modality.json",
    "meta/episodes.jsonl",
    "meta/tasks.jsonl",
    "meta/stats.json",
    "meta/relative_stats.json",
    "meta/episodes_stats.jsonl",
    "millrace.json",
]
CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "number": b"3",
    "text": b'"x"',
    "unfinished": b'{"features": ',
    "deep": b"[" * 100_000,
    "huge int": b'{"fps": ' + b"9" * 5000 + b"}",
    "not text": b"\xff\xfe\x00",
    "infinite": b'{"fps": Infinity}',
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", FILES)
def test_malformed_files_become_errors(name: str, content: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=name == "millrace.json")
    (root / name).write_bytes(CONTENTS[content])
    assert not validate(root).is_valid


@pytest.mark.parametrize("seed", range(40))
def test_odd_values_never_raise(seed: int, dataset: Path) -> None:
    """Replace a few values anywhere in the metadata by what has no business there."""
    chance = random.Random(seed)
    for name in chance.sample(FILES[:-1], 2):
        path = dataset / name
        lines = path.read_text().splitlines() if name.endswith("l") else [path.read_text()]
        values = [json.loads(line) for line in lines]
        for _ in range(2):
            replace_somewhere(values, chance)
        path.write_text("\n".join(map(json.dumps, values)))
    for line in format_report(validate(dataset)).splitlines():
        assert line.isprintable()


def replace_somewhere(value: Any, chance: random.Random) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    if not keys:
        return
    key = chance.choice(list(keys))
    if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.8:
        replace_somewhere(value[key], chance)
    else:
        value[key] = deepcopy(chance.choice(ODD_VALUES))


@pytest.mark.parametrize("mode", [0o000, 0o400])
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (".", "meta-missing"),
        ("meta", "meta-missing"),
        ("data/chunk-000", "rows-missing"),
        ("data", "rows-missing"),
        ("videos", "video-missing"),
    ],
)
def test_folders_that_may_not_be_read_become_errors(
    folder: str, expected: str, mode: int, whole: Path, shared_folder: Path
) -> None:
    root = copy(whole, shared_folder / "dataset", keep_manifest=False)
    (root / folder).chmod(mode)
    with ordinary_user():
        report = validate(root)
    (root / folder).chmod(0o755)
    assert expected in codes(report)
    assert "cannot be read (Permission denied; " in format_report(report)


@pytest.mark.parametrize("name", [*FILES, "modality_config.py"])
def test_files_that_may_not_be_read_become_errors(name: str, whole: Path, shared_folder: Path) -> None:
    root = copy(whole, shared_folder / "dataset", keep_manifest=True)
    (root / name).chmod(0o000)
    with ordinary_user():
        report = validate(root)
    assert name in {str(found.path) for found in report.errors}


def test_a_file_in_place_of_the_dataset_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert codes(validate(tmp_path / "file")) == {"dataset-missing"}


def test_an_unfinished_conversion_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    report = validate(tmp_path)
    assert codes(report) == {"meta-missing"}
    assert "has not finished" in report.errors[0].message
