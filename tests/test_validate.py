"""Every check of validate() notices what breaks it, and nothing else is said; bad data never raises."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from broken_datasets import (
    BREAKS,
    NEED_MANIFEST,
    append,
    codes,
    column,
    copy,
    drop_config,
    encode,
    info,
    relative_stats,
    shift_relative_mean,
    stats,
)
from conftest import convert_here, matrix, read_meta, read_table
from engine.validate import CHECKS, format_report, validate
from engine.validate.report import Report, problem
from synthetic import (
    edit_json,
    truncate_file,
)


def test_every_check_is_broken_by_one_test() -> None:
    assert list(BREAKS) == list(CHECKS)


def test_a_fresh_conversion_has_no_problem(whole: Path) -> None:
    report = validate(whole, deep=True)
    assert format_report(report) == f"valid: 3 episodes, 160 frames, {len(CHECKS)} checks"


def test_a_dataset_of_another_tool_has_no_problem(dataset: Path) -> None:
    drop_config(dataset)
    assert validate(dataset, deep=True).problems == ()


@pytest.mark.parametrize("code", CHECKS)
def test_each_check_notices_just_what_breaks_it(code: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=code in NEED_MANIFEST)
    BREAKS[code](root)
    report = validate(root, deep=CHECKS[code].is_deep)
    assert codes(report) == {code}, format_report(report)
    assert {found.severity for found in report.problems} == {CHECKS[code].severity}
    assert report.is_valid == (CHECKS[code].severity == "warning")
    assert all(found.path is None or not found.path.is_absolute() for found in report.problems)


def test_padding_gives_one_warning_in_one_line(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", fps="source")
    report = validate(tmp_path / "out")
    assert report.is_valid
    assert [found.code for found in report.problems] == ["stats-constant"]


def test_a_plain_lerobot_dataset_lacks_what_groot_needs(aloha: Path) -> None:
    report = validate(aloha)
    assert codes(report) == {"meta-missing", "video-codec", "stats-missing"}
    assert "modality.json" in str(report.errors[0].path)
    assert len([found for found in report.errors if found.code == "video-codec"]) == 3


def test_statistics_written_by_groot_itself_pass(dataset: Path) -> None:
    """As gr00t/data/stats.py computes them: everything in float32."""
    names = ("observation.state", "action")
    rows = {name: np.vstack([matrix(read_table(dataset, episode), name) for episode in range(3)]) for name in names}
    stats(dataset, lambda content: content.update({name: groot_own(values) for name, values in rows.items()}))
    assert validate(dataset).problems == ()


def groot_own(values: NDArray[np.float32]) -> dict[str, Any]:
    found = {name: getattr(np, name)(values, axis=0) for name in ("mean", "std", "min", "max")}
    found |= {"q01": np.quantile(values, 0.01, axis=0), "q99": np.quantile(values, 0.99, axis=0)}
    return {name: np.asarray(value).tolist() for name, value in found.items()}


def test_statistics_of_other_rows_are_noticed_in_every_number(dataset: Path) -> None:
    content = read_meta(dataset, "stats.json")
    for stat in ("mean", "std", "min", "max", "q01", "q99"):
        changed = json.loads(json.dumps(content))
        changed["action"][stat][0] += 0.004
        stats(dataset, lambda _, changed=changed: changed)
        assert codes(validate(dataset)) == {"stats-values"}, stat


def test_stale_relative_statistics_are_noticed(dataset: Path) -> None:
    relative_stats(dataset, shift_relative_mean)
    report = validate(dataset)
    assert [(found.code, found.path) for found in report.problems] == [
        ("stats-values", Path("meta/relative_stats.json"))
    ]


def test_a_b_frame_video_with_an_edit_list_is_fine(dataset: Path) -> None:
    encode(dataset, bframes=2)
    assert validate(dataset).problems == ()


def test_float64_rows_are_fine_where_info_says_so(dataset: Path) -> None:
    """As in NVIDIA's GR1 demo."""
    for name in ("observation.state", "action"):
        column(dataset, name, lambda old: old, pa.list_(pa.float64(), 14))
        info(dataset, lambda content, name=name: content["features"][name].update(dtype="float64"))
    assert validate(dataset).problems == ()


@pytest.mark.parametrize("name", ["data_path", "video_path"])
@pytest.mark.parametrize(
    "template",
    [
        "../out/{episode_index}",
        "/tmp/{episode_index}.parquet",
        "data/{episode_index:0999999999d}/x.parquet",
        "data/{episode_index.__class__}/x.parquet",
        "data/{episode_index[0]}/x.parquet",
        "data/{secret}/{episode_index}.parquet",
        "data/{episode_index}/{",
    ],
)
def test_path_templates_are_not_trusted(name: str, template: str, dataset: Path) -> None:
    info(dataset, lambda content: content.update({name: template}))
    assert codes(validate(dataset)) == {"path-template"}


def test_missing_video_path_is_an_error_as_groot_would_train_blind(dataset: Path) -> None:
    info(dataset, lambda content: content.update(video_path=None))
    assert codes(validate(dataset)) == {"path-template"}


@pytest.mark.parametrize("path", ["/etc/hostname", "../outside"])
def test_digests_are_never_taken_outside_the_dataset(path: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    edit_json(root / "millrace.json", lambda content: content["files"][0].update(path=path))
    found = [found for found in validate(root).errors if found.code == "digests"]
    assert len(found) == 1
    assert "leads out of the dataset" in found[0].message


def test_missing_and_resized_files_of_the_manifest_are_noticed(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    (root / "README.md").unlink()
    append(root / "modality_config.py", "\n")
    found = [found.path for found in validate(root).errors]
    assert sorted(map(str, found)) == ["README.md", "modality_config.py"]


def test_a_cut_manifest_is_noticed(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    truncate_file(root / "millrace.json", 0.9)
    assert codes(validate(root)) == {"meta-parse"}


def test_progress_is_told_of_every_stage(whole: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    validate(whole, on_progress=lambda *step: told.append(step))
    assert ("episodes", 3, 3) in told
    assert ("statistics", 3, 3) in told
    assert {stage for stage, _, _ in told} == {"files", "episodes", "statistics"}


def test_many_problems_of_a_kind_are_cut_short() -> None:
    errors = [problem("rows-missing", f"data/{number}", "is missing") for number in range(1000)]
    warning = problem("stats-missing", "meta/stats.json", "is missing")
    report = Report((warning, *errors), 1, 2, 3)
    lines = list(report.lines(limit_per_code=5))
    assert lines[0] == "error    rows-missing  data/0: is missing"
    assert lines[5] == "error    rows-missing  and 995 more of this kind"
    assert lines[6] == "warning  stats-missing  meta/stats.json: is missing"
    assert len(report.problems) == 1001
    assert report.verdict == "invalid: 1000 errors, 1 warning"


def test_warnings_alone_leave_a_dataset_valid() -> None:
    report = Report((problem("stats-missing", None, "is missing"),), 8, 1280, 70)
    assert report.verdict == "valid: 8 episodes, 1280 frames, 70 checks, 1 warning"


def test_untrusted_text_stays_in_its_line() -> None:
    found = problem("meta-parse", "a\x1b[2J", "evil\r\n\u202etext")
    assert str(found) == "error    meta-parse  a\\x1b[2J: evil\\r\\n\\u202etext"
