"""Every check of validate() for LeRobot v3.0 notices what breaks it, and nothing else is said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import files_of
from millrace.engine.validate import V3_CHECKS, format_report, to_json, validate
from support.broken_datasets import codes, copy
from support.broken_v3 import V3_BREAKS, V3_NEED_MANIFEST, write_whole_v3


@pytest.fixture(scope="module")
def whole_v3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset with nothing wrong; not to be changed."""
    root = write_whole_v3(tmp_path_factory.mktemp("v3"))
    before = files_of(root)
    yield root
    assert files_of(root) == before


def test_every_check_of_v3_is_broken_by_one_test() -> None:
    assert list(V3_BREAKS) == list(V3_CHECKS)
    assert all(check.remedy for check in V3_CHECKS.values())


def test_our_own_v3_has_no_problem(whole_v3: Path) -> None:
    report = validate(whole_v3, deep=True)
    assert format_report(report) == f"valid: LeRobot v3.0, 4 episodes, 44 frames, {len(V3_CHECKS)} checks"
    assert json.loads(to_json(report))["layout"] == "v3.0"


@pytest.mark.parametrize("code", V3_CHECKS)
def test_each_check_of_v3_notices_just_what_breaks_it(code: str, whole_v3: Path, tmp_path: Path) -> None:
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=code in V3_NEED_MANIFEST)
    V3_BREAKS[code](root)
    report = validate(root, deep=V3_CHECKS[code].needs == "deep")
    assert codes(report) == {code}, format_report(report)
    assert {found.severity for found in report.problems} == {V3_CHECKS[code].severity}
    assert all(found.path is None or not found.path.is_absolute() for found in report.problems)


def test_problems_name_episode_and_camera(whole_v3: Path, tmp_path: Path) -> None:
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=False)
    V3_BREAKS["video-drift"](root)
    found = json.loads(to_json(validate(root)))["problems"]
    assert [(one["episode"], one["camera"], one["path"]) for one in found] == [
        (1, "observation.images.top", "videos/observation.images.top/chunk-000/file-000.mp4")
    ]
