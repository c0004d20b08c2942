"""Every check of validate() notices what breaks it, and nothing else is said; bad data never raises."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from conftest import convert_here, data_path, matrix, read_meta, read_table, video_path
from millrace import cli
from millrace.engine.dataset.groot_stats import float32_moments
from millrace.engine.dataset.problems import Problem, Report
from millrace.engine.dataset.stats import Statistics
from millrace.engine.errors import NoScratchSpace
from millrace.engine.validate import CHECKS, format_report, to_json, validate
from millrace.engine.validate.statistics import _difference
from support.broken_datasets import (
    BREAKS,
    LENGTHS,
    NEED_MANIFEST,
    OTHER_TASK,
    add_task,
    append,
    codes,
    column,
    copy,
    drop_config,
    encode,
    info,
    refresh_statistics,
    relative_stats,
    set_gripper,
    shift_relative_mean,
    stats,
)
from support.synthetic import (
    cut_by_edit_list,
    edit_json,
    edit_jsonl,
    rewrite_parquet,
    truncate_file,
    write_dataset,
)


def test_every_check_is_broken_by_one_test_and_has_a_remedy() -> None:
    assert list(BREAKS) == list(CHECKS)
    assert all(check.remedy for check in CHECKS.values())


def test_a_fresh_conversion_has_no_problem(whole: Path) -> None:
    report = validate(whole, deep=True)
    assert format_report(report) == f"valid: 3 episodes, 160 frames, {len(CHECKS) - 1} checks"


def test_a_dataset_of_another_tool_has_no_problem(dataset: Path) -> None:
    drop_config(dataset)
    assert validate(dataset, deep=True).problems == ()


def test_files_that_a_system_left_are_no_part_of_a_dataset(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    for path in (video_path(root, 0), root / "data/chunk-000/x"):
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")
    assert validate(root).problems == ()


@pytest.mark.parametrize("code", CHECKS)
def test_each_check_notices_just_what_breaks_it(code: str, whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=code in NEED_MANIFEST)
    BREAKS[code](root)
    needs = CHECKS[code].needs
    report = validate(root, deep=needs == "deep", video_backend="decord" if needs == "video_backend" else None)
    assert codes(report) == {code}, format_report(report)
    assert {found.severity for found in report.problems} == {CHECKS[code].severity}
    assert report.is_valid == (CHECKS[code].severity != "error")
    assert all(found.path is None or not found.path.is_absolute() for found in report.problems)


def test_joints_that_the_map_rests_are_a_note_in_one_line(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", fps="source")
    report = validate(tmp_path / "out")
    assert [(found.code, found.severity) for found in report.problems] == [("stats-at-rest", "note")]
    assert "10 trained values rest" in report.problems[0].message
    assert report.verdict.endswith("1 note")


def test_a_plain_lerobot_dataset_lacks_what_groot_needs(aloha: Path) -> None:
    report = validate(aloha)
    assert codes(report) == {"meta-missing", "video-codec", "stats-missing"}
    assert "modality.json" in str(report.errors[0].path)
    told = [found for found in report.warnings if found.code == "video-codec"]
    assert len(told) == 3
    assert "torchcodec, reads it, decord cannot" in told[0].message


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


def test_a_video_cut_by_an_edit_list_is_fine(dataset: Path) -> None:
    encode(dataset, num_frames=LENGTHS[0] + 3)
    cut_by_edit_list(video_path(dataset, 0), 3)
    assert validate(dataset, deep=True).problems == ()


def test_float64_rows_are_fine_where_info_says_so(dataset: Path) -> None:
    """As in NVIDIA's GR1 demo."""
    for name in ("observation.state", "action"):
        column(dataset, name, lambda old: old, pa.list_(pa.float64(), 14))
        info(dataset, lambda content, name=name: content["features"][name].update(dtype="float64"))
    refresh_statistics(dataset)
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
    report = validate(root)
    assert report.is_valid, "texts may be edited: every other check judges them"
    assert sorted(str(found.path) for found in report.warnings) == ["README.md", "modality_config.py"]


def test_a_cut_manifest_is_noticed(whole: Path, tmp_path: Path) -> None:
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    truncate_file(root / "millrace.json", 0.9)
    assert codes(validate(root)) == {"meta-parse"}


def test_several_processes_find_the_same_in_the_same_order(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.engine.validate.EPISODES_A_PROCESS", 1)
    root = copy(whole, tmp_path / "dataset", keep_manifest=True)
    assert validate(root, num_processes=2) == validate(root)
    for number in range(3):
        truncate_file(video_path(root, number), 0.5)
    data_path(root, 1).unlink()
    edit_json(root / "meta/info.json", lambda info: {**info, "total_frames": 7})
    (root / "data/chunk-000/stray.parquet").write_bytes(b"x")
    one, two = validate(root), validate(root, num_processes=2)
    assert len(codes(one)) > 5
    assert two.problems == one.problems
    truncate_file(root / "millrace.json", 0.9)
    assert validate(root, num_processes=2).problems == validate(root).problems


def test_progress_is_told_of_every_stage(whole: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    validate(whole, on_progress=lambda *step: told.append(step))
    assert ("episodes", 3, 3) in told
    assert ("statistics", 3, 3) in told
    assert {stage for stage, _, _ in told} == {"files", "episodes", "statistics"}


def test_many_problems_of_a_kind_are_cut_short() -> None:
    errors = [Problem.of("rows-missing", f"data/{number}", "is missing") for number in range(1000)]
    warning = Problem.of("stats-missing", "meta/stats.json", "is missing")
    report = Report((warning, *errors), 1, 2, 3)
    lines = list(report.lines(limit_per_code=5))
    assert lines[0] == "error    rows-missing  data/0: is missing"
    assert lines[5] == "error    rows-missing  and 995 more of this kind"
    assert lines[6] == "         Copy the dataset again, as a whole, or convert its source again"
    assert lines[7] == "warning  stats-missing  meta/stats.json: is missing"
    assert len(report.problems) == 1001
    assert report.verdict == "invalid: 1,000 errors, 1 warning"


def test_av1_is_an_error_only_for_a_decoder_that_cannot_read_it(dataset: Path) -> None:
    encode(dataset, codec="libsvtav1")
    assert codes(validate(dataset, deep=True, video_backend="torchcodec")) == set()
    (found,) = validate(dataset).problems
    assert (found.code, found.severity) == ("video-codec", "warning")
    (found,) = validate(dataset, video_backend="decord").problems
    assert (found.code, found.severity) == ("video-decoder", "error")


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e5])
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_statistics_are_held_against_the_rows_by_their_own_scale(scale: float, offset: float, dataset: Path) -> None:
    """Steps of an end effector are of 1e-5 m, encoders count thousands."""

    def values(num_frames: int) -> NDArray[Any]:
        return scale * (offset + np.random.default_rng(num_frames).normal(size=num_frames))

    set_gripper(dataset, values)
    sound = read_meta(dataset, "stats.json")
    assert codes(validate(dataset)) <= {"stats-tiny-range", "beyond-limits"}
    for stat in ("mean", "std", "min", "max", "q01", "q99"):
        changed = json.loads(json.dumps(sound))
        changed["action"][stat][6] *= 0.9
        stats(dataset, lambda _, changed=changed: changed)
        assert "stats-values" in codes(validate(dataset)) or abs(sound["action"][stat][6]) < 0.02 * scale, stat


@pytest.mark.parametrize("value", [0.0, 1.57, -1e-6, 512.3])
def test_statistics_of_what_never_changes_pass_as_groot_rounds_them(value: float) -> None:
    """Added up in float32, row by row, a constant's mean drifts away with the number of rows."""
    values = np.full((50_000, 2), value, np.float32)
    exact = {name: np.full(2, value) for name in ("mean", "min", "max", "q01", "q99")} | {"std": np.zeros(2)}
    stored = {**exact, "mean": values.mean(axis=0), "std": values.std(axis=0)}
    right = Statistics(**exact)
    assert not list(_difference(Statistics(**stored), right, "meta/relative_stats.json", "left_arm"))
    wrong = {**stored, "max": np.full(2, value + 1)}
    assert list(_difference(Statistics(**wrong), right, "meta/relative_stats.json", "left_arm"))


def test_groots_own_rounding_is_reproduced(tmp_path: Path) -> None:
    values = (1.57 + 0.05 * np.random.default_rng(0).normal(size=(60_000, 3))).astype(np.float32)
    paths = [tmp_path / f"{number}.parquet" for number in range(7)]
    for path, rows in zip(paths, np.array_split(values, len(paths)), strict=True):
        pq.write_table(pa.table({"action": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 3)}), path)
    mean, std = float32_moments(paths, "action")
    assert np.array_equal(mean, values.mean(axis=0))
    assert np.array_equal(std, values.std(axis=0))


@pytest.mark.parametrize(("listed", "code"), [([OTHER_TASK], "tasks-differ"), ([None, OTHER_TASK], "task-unused")])
def test_tasks_of_rows_and_episodes_are_compared(listed: list[str | None], code: str, dataset: Path) -> None:
    own = read_meta(dataset, "tasks.jsonl")[0]["task"]
    add_task(dataset, [task or own for task in listed])
    (found,) = validate(dataset).problems
    assert (found.code, found.path) == (code, Path("meta/episodes.jsonl"))
    assert "for episode 0" in found.message
    assert repr(OTHER_TASK) in found.message


def test_label_of_an_annotation_column_may_be_listed_as_a_task(dataset: Path) -> None:
    """As in NVIDIA's GR1 demo, which lists "valid" beside the instruction."""
    own = read_meta(dataset, "tasks.jsonl")[0]["task"]
    add_task(dataset, [own, OTHER_TASK])
    name = "annotation.human.validity"
    rows = [pa.array(np.ones(length, np.int64)) for length in LENGTHS]
    for episode, values in enumerate(rows):
        rewrite_parquet(data_path(dataset, episode), lambda table, values=values: table.append_column(name, values))
    info(dataset, lambda content: content["features"].update({name: {"dtype": "int64", "shape": [1], "names": None}}))
    edit_jsonl(
        dataset / "meta/episodes.jsonl", lambda lines: [line.update(tasks=[own, OTHER_TASK]) for line in lines] and None
    )
    assert validate(dataset).problems == ()


@pytest.mark.parametrize("free", [0, 1000])
def test_small_temporary_folder_says_nothing_about_the_dataset(
    free: int, dataset: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a RAM disk at /tmp is, on a dataset of many rows."""
    (small_disk / "full").write_bytes(b"0" * (shutil.disk_usage(small_disk).free - free))
    with pytest.raises(NoScratchSpace, match=r"scratch=DIR"):
        validate(dataset, scratch=small_disk)
    # Others may fill the disk meanwhile: then writing fails.
    monkeypatch.setattr("millrace.engine.validate.statistics.check_scratch_space", lambda *arguments: None)
    with pytest.raises(NoScratchSpace, match=r"scratch=DIR"):
        validate(dataset, scratch=small_disk)
    assert validate(dataset).problems == ()


def test_what_is_no_dataset_says_what_to_do(aloha: Path, tmp_path: Path) -> None:
    def told(path: Path | str) -> str:
        return validate(path, layout="v2.1").errors[0].message

    assert "name the folder of the dataset" in told(aloha / "meta/info.json")
    assert "hf download me/it --repo-type dataset --local-dir DIR --revision v2" in told("me/it@v2")
    write_dataset(tmp_path / "v3", version="v3.0", lengths=(3,), cameras=())
    assert f"LeRobot v3 dataset, which GR00T does not read: millrace convert {tmp_path}" in told(tmp_path / "v3")


def test_report_as_json_has_every_problem_with_its_remedy(dataset: Path) -> None:
    data_path(dataset, 1).unlink()
    content = json.loads(to_json(validate(dataset)))
    assert (content["is_valid"], content["num_episodes"]) == (False, 3)
    assert content["problems"][0]["code"] == "rows-missing"
    assert content["problems"][0]["path"] == "data/chunk-000/episode_000001.parquet"
    assert "Copy the dataset again" in content["problems"][0]["remedy"]


def test_warnings_alone_leave_a_dataset_valid() -> None:
    report = Report((Problem.of("stats-missing", None, "is missing"),), 8, 1280, 70)
    assert report.verdict == "valid: 8 episodes, 1280 frames, 70 checks, 1 warning"


def test_untrusted_text_stays_in_its_line() -> None:
    found = Problem.of("meta-parse", "a\x1b[2J", "evil\r\n\u202etext")
    assert str(found) == "error    meta-parse  a\\x1b[2J: evil\\r\\n\\u202etext"


def test_strict_makes_warnings_fail(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "meta/stats.json").unlink()
    assert cli.main(["validate", str(dataset)]) == 0
    assert cli.main(["validate", str(dataset), "--strict", "--json"]) == 1
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :])["is_valid"]
