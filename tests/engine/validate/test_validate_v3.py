"""Every check of validate() for LeRobot v3.0 notices what breaks it, and nothing else is said."""

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import files_of
from millrace.cli import main
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.stats import QUANTILES
from millrace.engine.errors import NoScratchSpace
from millrace.engine.validate import V3_CHECKS, format_report, to_json, validate
from millrace.engine.validate.v3.column_summary import find_differences, summarize_rows
from millrace.engine.validate.v3.shared_clips import VideoJob, clip_problems
from support.broken_datasets import codes, copy
from support.broken_v3 import CAMERAS, KEY, LENGTHS, ROWS, V3_BREAKS, V3_NEED_MANIFEST, VIDEO, write_whole_v3
from support.synthetic import ExtraColumn, edit_json, replace_with_lfs_pointer, truncate_file, write_dataset


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


@pytest.mark.parametrize(
    "options", [{"episodes_per_data_file": 2, "episodes_per_meta_file": 1}, {"images_as": "image"}]
)
def test_what_another_tool_wrote_has_no_problem(options: dict[str, Any], tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", version="v3.0", lengths=(9, 7, 8), **options)
    assert validate(tmp_path / "data").problems == ()


def test_several_processes_find_the_same_of_v3(whole_v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.engine.validate.v3.judge_v3.EPISODES_A_PROCESS", 1)
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=False)
    truncate_file(root / VIDEO.format(1), 0.5)
    for code in ("rows-finite", "rows-index", "video-drift", "episode-stats-values", "task-unused"):
        V3_BREAKS[code](root)
    one, two = validate(root), validate(root, num_processes=2)
    assert len(codes(one)) > 3
    assert two == one


def test_what_info_says_of_videos_is_compared(whole_v3: Path, tmp_path: Path) -> None:
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=False)
    said = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.height": 64, "video.width": None, "video.fps": 50}
    edit_json(root / "meta/info.json", lambda content: content["features"][KEY].update(info=said))
    assert validate(root).problems == ()
    edit_json(root / "meta/info.json", lambda content: content["features"][KEY]["info"].update({"video.fps": 30}))
    assert "has 50 fps where meta/info.json says 30" in validate(root).warnings[0].message


def test_progress_of_v3_is_told(whole_v3: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    validate(whole_v3, on_progress=lambda *step: told.append(step))
    num_episodes = len(LENGTHS)
    assert ("episodes", num_episodes, num_episodes) in told
    assert ("videos", len(CAMERAS) * num_episodes, len(CAMERAS) * num_episodes) in told


def test_who_asks_for_groot_is_refused_with_the_conversion(whole_v3: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(whole_v3)]) == 0
    capsys.readouterr()
    for flags in (["--gr00t", "n1.7"], ["--video-backend", "decord"]):
        assert main(["validate", str(whole_v3), *flags]) == 1
        assert f"millrace convert {whole_v3} OUT --layout v2.1" in capsys.readouterr().out


def test_lfs_pointers_of_v3_are_named(whole_v3: Path, tmp_path: Path) -> None:
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=False)
    for path in (root / ROWS.format(0), root / VIDEO.format(1)):
        replace_with_lfs_pointer(path)
    report = validate(root)
    assert codes(report) == {"rows-unreadable", "video-unreadable"}
    assert all("git lfs pull" in found.message for found in report.errors)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"features": ', b"[" * 100_000, b"\xff\xfe\x00", b'{"fps": Infinity}']
)
@pytest.mark.parametrize("name", ["info.json", "stats.json", "tasks.parquet", "episodes/chunk-000/file-000.parquet"])
def test_malformed_metadata_of_v3_becomes_an_error(name: str, content: bytes, whole_v3: Path, tmp_path: Path) -> None:
    root = copy(whole_v3, tmp_path / "dataset", keep_manifest=False)
    (root / "meta" / name).write_bytes(content)
    assert not validate(root).is_valid


def lerobot_statistics(values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """As LeRobot computes them: in float32, std from the mean of squares, quantiles from histograms."""
    mean = values.mean(axis=0)
    found = {"min": values.min(axis=0), "max": values.max(axis=0), "mean": mean, "count": np.array([len(values)])}
    found["std"] = np.sqrt(np.maximum((values**2).mean(axis=0) - mean**2, 0))
    for name, share in QUANTILES.items():
        found[name] = np.array([histogram_quantile(column, share) for column in values.T])
    return {name: np.asarray(numbers, np.float64) for name, numbers in found.items()}


def histogram_quantile(values: NDArray[np.float32], share: float) -> float:
    counts, edges = np.histogram(values, bins=np.linspace(values.min() - 1e-10, values.max() + 1e-10, 5001))
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, share * len(values)))
    if place == 0:
        return float(edges[0])
    before, inside = ends[place - 1], counts[place]
    return float(edges[place] + (share * len(values) - before) / inside * (edges[place + 1] - edges[place]))


@pytest.mark.parametrize("offset", [0.0, 3.0, -500.0])
@pytest.mark.parametrize("num_rows", [2, 7, 400, 20_000])
def test_statistics_as_lerobot_computes_them_pass(num_rows: int, offset: float) -> None:
    chance = np.random.default_rng(num_rows)
    columns = (chance.normal(size=num_rows), chance.random(num_rows) * 1e-3, np.ones(num_rows))
    values = (np.stack(columns, axis=1) + offset).astype(np.float32)
    exact, found = summarize_rows(values), lerobot_statistics(values)
    assert list(find_differences(found, exact)) == []
    # Of larger numbers float32 cannot tell as much.
    for name in ("min", "max", "mean", "std", "q50", "count") if abs(offset) < 10 else ("min", "max", "q50", "count"):
        changed = {**found, name: found[name] + 0.3 * max(values[:, 0].std(), 1)}
        assert [one.stat for one in find_differences(changed, exact)] == [name]


def judge_clips(start: NDArray[np.float64], *, length: int, fps: int) -> list[Problem]:
    """Episodes of one length in a file whose frames are exactly 1 / fps apart."""
    lengths = np.full(len(start), length)
    job = VideoJob("top", Path("a.mp4"), np.arange(len(start)), lengths, start, start + length / fps)
    return list(clip_problems(np.arange(length * len(start)) / fps, Fraction(fps), job))


def test_drift_is_noticed_from_where_lerobot_refuses_frames() -> None:
    start = np.arange(20) * (40 / 50 + 1.05e-5)  # ten episodes on, sums of rounded durations are 0.1 ms off
    found = judge_clips(start, length=40, fps=50)
    assert {one.code for one in found} == {"video-drift"}
    assert [one.episode for one in found] == list(range(10, 20))
    assert "40 of its 40 frames" in found[0].message


def test_frames_that_float32_cannot_tell_are_a_warning() -> None:
    exact = np.arange(12) * 100.0
    assert judge_clips(exact[:10], length=5000, fps=50) == []
    for start, refused in ((exact, 0), (exact + 5e-5, 3648)):
        found = judge_clips(start, length=5000, fps=50)
        assert [(one.code, one.severity) for one in found] == [("video-float32", "warning")]
        # As many as LeRobot 0.6.1's own comparison of such times refuses.
        assert f"1200 s long; LeRobot refuses {refused} of its 60000 frames" in found[0].message


def test_a_name_that_lerobot_divides_is_an_error(tmp_path: Path) -> None:
    column = ExtraColumn(lambda episode, frames: frames.astype(np.float32))
    write_dataset(tmp_path / "data", version="v3.0", lengths=(9, 7), extra_columns={"obs/force": column})
    found = [one for one in validate(tmp_path / "data").problems if one.code == "stats-keys"]
    assert [one.message for one in found] == ["has obs/force, which LeRobot divides at '/' into several features"]


def test_a_small_temporary_folder_says_nothing_about_a_v3_dataset(
    whole_v3: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "full").write_bytes(b"0" * shutil.disk_usage(small_disk).free)
    with pytest.raises(NoScratchSpace, match=r"scratch=DIR"):
        validate(whole_v3, scratch=small_disk)
    # Others may fill the disk meanwhile: then writing fails.
    monkeypatch.setattr("millrace.engine.validate.v3.judge_v3.check_scratch_space", lambda *arguments: None)
    with pytest.raises(NoScratchSpace, match=r"scratch=DIR"):
        validate(whole_v3, scratch=small_disk)
