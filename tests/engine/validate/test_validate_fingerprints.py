"""validate() says which statistics GR00T N1.7 would compute again, and where N1.6 would stop."""

from pathlib import Path
from typing import Any

import pytest

from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.groot_view import ViewPlan
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.dataset.view_statistics import Purpose
from millrace.engine.validate import validate
from support.broken_datasets import codes, info, relative_stats, stats

WRONG = "sha256:" + "0" * 64
ENTRY = {key: [0.0] for key in ("mean", "std", "min", "max", "q01", "q99")}


def change(content: dict[str, Any], **fingerprints: object) -> None:
    content[FINGERPRINTS].update(fingerprints)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda content: change(content, action=WRONG), "fingerprints of another dtype, shape or name (action)"),
        (lambda content: content[FINGERPRINTS].pop("timestamp") and None, "no fingerprints (timestamp)"),
        (lambda content: change(content, wrist=WRONG), "fingerprints of what is no float feature (wrist)"),
        (lambda content: content.update(wrist=ENTRY), "statistics of what is no float feature (wrist)"),
        (lambda content: content.update({FINGERPRINTS: [WRONG]}), "is no object"),
    ],
)
def test_what_n1_7_computes_again_is_a_warning(break_it: Any, told: str, dataset: Path) -> None:
    stats(dataset, break_it)
    report = validate(dataset)
    assert [(found.code, found.path) for found in report.problems] == [("stats-fingerprints", Path("meta/stats.json"))]
    assert told in report.warnings[0].message
    assert "GR00T N1.7 computes statistics again" in report.warnings[0].message
    assert "millrace groot-view DATASET OUT --gr00t n1.7" in report.warnings[0].remedy


def test_another_dtype_in_info_makes_a_fingerprint_wrong(dataset: Path) -> None:
    info(dataset, lambda content: content["features"]["timestamp"].update(dtype="float64"))
    assert "stats-fingerprints" in codes(validate(dataset))


def test_a_dataset_without_fingerprints_is_sound_and_a_note_says_so(dataset: Path) -> None:
    stats(dataset, lambda content: content.pop(FINGERPRINTS) and None)
    report = validate(dataset)
    assert (codes(report), report.warnings) == ({"stats-no-fingerprints"}, ())


def test_relative_statistics_that_n1_7_wrote_stop_n1_6(dataset: Path) -> None:
    relative_stats(dataset, lambda content: content.update({FINGERPRINTS: {"left_arm": WRONG}}))
    report = validate(dataset)
    assert codes(report) == {"relative-fingerprints"}
    assert "GR00T N1.6 and the first N1.7 stop" in report.warnings[0].message
    assert "millrace groot-view DATASET OUT --gr00t n1.6" in report.warnings[0].remedy


def test_a_view_is_no_dataset_and_names_its_own(dataset: Path, tmp_path: Path) -> None:
    purpose = Purpose(read_config(dataset), "new_embodiment", has_fingerprints=True)
    ViewPlan.of(dataset, purpose).write(tmp_path / "view")
    report = validate(tmp_path / "view")
    assert codes(report) == {"dataset-missing"}
    assert f"is a view of {dataset}" in report.errors[0].message
