"""A dataset that has not changed since its full check is not read again, and whatever changes it is noticed."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import data_path, video_path
from millrace.train.preflight import Preflight, keep_full_checks, preflight
from millrace.train.preflight.full_check import RECORD, take_fingerprint
from support.training_setups import EVERYTHING, codes, printed, settings_of

pytest_plugins = ["support.training_fixtures"]
LONG_AGO = 1_600_000_000


@pytest.fixture
def aged(whole: Path, tmp_path: Path) -> Path:
    """A copy of the dataset with its manifest, whose files changed long ago."""
    return age(Path(shutil.copytree(whole, tmp_path / "aged")))


def age(root: Path) -> Path:
    for path in root.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return root


def start(dataset: Path, base: Path, *, verify: bool = False, **flags: Any) -> Preflight:
    """What `millrace finetune` does before it trains."""
    settings = settings_of(dataset, base, **flags)
    checked = preflight(settings, machine=EVERYTHING, verify=verify)
    if checked.is_valid:
        keep_full_checks(settings.run_folder, checked.full_checks)
    return checked


def damage_unseen(path: Path) -> None:
    """Other bytes, with the size and the time of before: what only reading the file shows."""
    content = bytearray(path.read_bytes())
    content[-20:] = bytes(20)
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def test_an_unchanged_dataset_is_trusted_and_that_is_said(aged: Path, base: Path) -> None:
    assert codes(start(aged, base)) == set()
    damage_unseen(video_path(aged, 1))
    again = start(aged, base)
    assert codes(again) == {"data-unchanged"}
    (line,) = [line for line in printed(again).splitlines() if "data-unchanged" in line]
    num_files = sum(path.is_file() for path in aged.rglob("*"))
    assert line.startswith(f"note     data-unchanged  {aged}: rows, videos and statistics were checked in full at 20")
    assert (
        f"all {num_files} files have the same sizes and times, those of meta/ and millrace.json the same cont" in line
    )
    assert line.endswith("--verify checks all of them")
    assert "digests" in codes(start(aged, base, verify=True))
    assert codes(start(aged, base)) == {"data-unchanged"}, "what has failed is not kept"


def test_warnings_of_the_full_check_are_told_at_every_start(aged: Path, base: Path) -> None:
    (aged / "videos/stray.mp4").write_bytes(b"x")
    age(aged)
    first, second = start(aged, base), start(aged, base)
    assert codes(first) == {"files-unlisted", "video-orphan"}
    assert codes(second) == {*codes(first), "data-unchanged"}
    assert {found.message for found in first.problems} < {found.message for found in second.problems}


def touch(path: Path) -> None:
    os.utime(path, (LONG_AGO + 1, LONG_AGO + 1))


def rewrite_meta(path: Path) -> None:
    path.write_text(path.read_text().replace("Pick", "Lift"))
    os.utime(path, (LONG_AGO, LONG_AGO))


def replace_by_link(path: Path) -> None:
    """To a file outside, which has the size of the one before."""
    other = path.parents[3].with_name("other.mp4")
    path.rename(other)
    touch(other)
    path.symlink_to(other)


CHANGES: dict[str, Callable[[Path], object]] = {
    "another time": lambda root: touch(video_path(root, 0)),
    "another size": lambda root: (video_path(root, 0).write_bytes(b"x"), age(root)),
    "fewer files": lambda root: data_path(root, 2).unlink(),
    "more files": lambda root: (data_path(root, 2).with_name("new.parquet").touch(), age(root)),
    "another name": lambda root: video_path(root, 2).rename(video_path(root, 2).with_name("new.mp4")),
    "other metadata": lambda root: rewrite_meta(root / "meta/tasks.jsonl"),
    "another manifest": lambda root: (root / "millrace.json").write_text("{}"),
    "other statistics": lambda root: (root / "meta/stats.json").write_text("{}"),
    "a link": lambda root: replace_by_link(video_path(root, 0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_lets_all_be_checked_again(change: Callable[[Path], object], aged: Path, base: Path) -> None:
    start(aged, base)
    damage_unseen(video_path(aged, 1))
    change(aged)
    assert "digests" in codes(start(aged, base)) or "meta-parse" in codes(start(aged, base))


@pytest.mark.parametrize(
    "flags", [{"stock_loader": True}, {"modality_config_path": Path("mine.py")}], ids=["decoder", "modality config"]
)
def test_a_check_for_something_else_is_another_check(
    flags: dict[str, Any], aged: Path, base: Path, tmp_path: Path
) -> None:
    start(aged, base)
    damage_unseen(video_path(aged, 1))
    if "modality_config_path" in flags:
        flags = {"modality_config_path": Path(shutil.copy(aged / "modality_config.py", tmp_path / "mine.py"))}
    assert "digests" in codes(start(aged, base, **flags))


def test_statistics_in_the_layout_of_groot_are_no_change(aged: Path, base: Path) -> None:
    start(aged, base)
    for name in ("meta/stats.json", "meta/relative_stats.json"):
        values = json.loads((aged / name).read_text())
        (aged / name).write_text(json.dumps(dict(reversed(values.items())), indent=4))
    assert codes(start(aged, base)) == {"data-unchanged"}


def test_an_empty_file_that_groot_leaves_is_no_change(aged: Path) -> None:
    (aged / "meta/relative_stats.json").unlink()
    before = take_fingerprint(aged, "")
    (aged / "meta/relative_stats.json").write_text("{}")
    assert take_fingerprint(aged, "").digest == before.digest


def test_files_that_have_just_changed_are_not_trusted(aged: Path, base: Path) -> None:
    """Within a step of the file system's clock another change would leave the time as it is."""
    os.utime(video_path(aged, 1))
    assert not start(aged, base).full_checks
    damage_unseen(video_path(aged, 1))
    assert "digests" in codes(start(aged, base))


@pytest.mark.parametrize("content", ["", "{", '{"datasets": {"x": {"fingerprint": 1}}}'])
def test_a_damaged_record_is_no_record(content: str, aged: Path, base: Path) -> None:
    start(aged, base)
    (base.parent / "run" / RECORD).write_text(content)
    assert codes(start(aged, base)) == set()
    assert codes(start(aged, base)) == {"data-unchanged"}


def test_a_folder_that_cannot_be_written_costs_only_the_next_check(aged: Path, base: Path) -> None:
    (base.parent / "run").write_text("a file")
    checks = preflight(settings_of(aged, base), machine=EVERYTHING).full_checks
    keep_full_checks(base.parent / "run", checks)
    assert (base.parent / "run").read_text() == "a file"


def test_links_to_folders_are_followed_and_circles_end(aged: Path) -> None:
    outside = aged.with_name("outside")
    (aged / "videos").rename(outside)
    (aged / "videos").symlink_to(outside)
    (outside / "circle").symlink_to(aged)
    before = take_fingerprint(aged, "")
    (outside / "nowhere").symlink_to(outside / "no such file")
    touch(next(outside.rglob("*.mp4")))
    after = take_fingerprint(aged, "")
    assert after.num_files == before.num_files + 1
    assert after.digest != before.digest


def test_a_fingerprint_says_how_many_files_it_has_looked_at(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number}.mp4").touch()
    seen: list[int] = []
    found = take_fingerprint(tmp_path, "", seen.append)
    assert (seen, found.num_files) == ([4096], 5000)
    assert not found.is_settled
    assert found.newest_ns <= found.taken_ns <= time.time_ns()
