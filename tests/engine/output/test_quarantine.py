"""Whatever is wrong with an episode has a word that stays the same, in quarantine.jsonl and in the result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conftest import LENGTHS, convert_here, data_path, files_of, video_path
from millrace.engine.errors import EpisodesFailed, FaultCode
from support.synthetic import (
    SyntheticVideo,
    corrupt_bytes,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
    write_video,
)

B_FRAMES = SyntheticVideo(codec="libx264", gop=250, bframes=3)
CODES = {code.value for code in FaultCode}


def with_column(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Rows with other values in a column."""

    def rewrite(table: pa.Table) -> pa.Table:
        values = np.array(table[name].to_pylist())
        return table.set_column(table.column_names.index(name), name, [pa.array(list(change(values)))])

    return lambda path: rewrite_parquet(path, rewrite)


def with_value(row: int, joint: int, value: float) -> Callable[[Path], None]:
    def change(values: Any) -> Any:
        values[row, joint] = value
        return values.astype(np.float32)

    return with_column("observation.state", change)


ROW_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (Path.unlink, "missing", "no rows at"),
    "pointer": (replace_with_lfs_pointer, "missing", "is a Git LFS pointer"),
    "truncated": (lambda path: truncate_file(path, 0.5), "truncated", "is truncated or corrupt"),
    "corrupt": (lambda path: corrupt_bytes(path, 0.0, 3000), "corrupt", "is truncated or corrupt"),
    "no column": (
        lambda path: rewrite_parquet(path, lambda rows: rows.drop_columns(["action"])),
        "missing",
        "has no column 'action'",
    ),
    "short": (lambda path: rewrite_parquet(path, lambda rows: rows.slice(0, 30)), "row-count", "30 rows in"),
    "nan": (with_value(7, 3, np.nan), "not-finite", "1 values that are NaN or infinite"),
    "infinite": (with_value(7, 3, -np.inf), "not-finite", "1 values that are NaN or infinite"),
    "wide": (
        with_column("action", lambda values: np.hstack([values, values[:, :1]])),
        "width",
        "column 'action' holds 15 values a row in",
    ),
    "text": (with_column("action", lambda values: values.astype(str)), "not-numbers", "holds string in"),
    "order": (
        lambda path: rewrite_parquet(path, lambda rows: rows.take([1, 0, *range(2, 33)])),
        "row-order",
        "frame_index goes from 1 to 0 in row 1 of",
    ),
    "twice": (
        lambda path: rewrite_parquet(path, lambda rows: rows.take([0, 0, *range(2, 33)])),
        "row-order",
        "frame_index goes from 0 to 0 in row 1 of",
    ),
    "task": (with_column("task_index", lambda values: values + 7), "task", "task_index [7]"),
}
VIDEO_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (Path.unlink, "missing", "no video at"),
    "truncated": (lambda path: truncate_file(path, 0.5), "truncated", "is truncated or corrupt"),
    "empty": (lambda path: truncate_file(path, 0), "truncated", "is empty"),
    "corrupt": (lambda path: corrupt_bytes(path, 0.0, 5000), "corrupt", "is truncated or corrupt"),
    "short": (
        lambda path: write_video(path, num_frames=32, fps=50, episode=1, video=B_FRAMES),
        "frame-count",
        "33 rows, but 32 frames",
    ),
}
FAULTS = {
    **{f"rows {name}": (data_path, None, *fault) for name, fault in ROW_FAULTS.items()},
    **{f"video {name}": (video_path, "top", *fault) for name, fault in VIDEO_FAULTS.items()},
}

EQUAL = "they must be equal, unless trim_mismatch=1 drops what is too much at the end"
# What programs read of a fault: got, expected, and what to do.
FACTS: dict[str, tuple[object, object, str]] = {
    "rows pointer": (None, None, "run `git lfs pull` where it came from"),
    "rows no column": (["action"], None, ""),
    "rows short": (30, 33, EQUAL.replace("=1", "=3")),
    "rows nan": ("nan", "a finite number", ""),
    "rows infinite": ("-inf", "a finite number", ""),
    "rows wide": (15, 14, ""),
    "rows text": ("string", "numbers", ""),
    "rows order": (0, "more than 1", ""),
    "rows twice": (0, "more than 0", ""),
    "rows task": ([7], None, ""),
    "video missing": (None, None, "to do without this camera, pass without_cameras=['top']"),
    "video short": (32, 33, EQUAL),
}


def failed(source: Path, out: Path, **settings: Any) -> EpisodesFailed:
    with pytest.raises(EpisodesFailed) as caught:
        convert_here(source, out, **settings)
    return caught.value


def quarantine(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_code_and_says_what_is_wrong(tmp_path: Path, fault: str) -> None:
    path_of, camera, spoil, code, told = FAULTS[fault]
    write_dataset(tmp_path / "source", lengths=(20, 33), video=B_FRAMES)
    path = path_of(tmp_path / "source", 1)
    spoil(path)
    error = failed(tmp_path / "source", tmp_path / "out", horizon=4)
    (line,) = quarantine(tmp_path / "out")
    assert {key: line[key] for key in ("code", "source", "episode", "camera")} == {
        "code": code,
        "source": str(tmp_path / "source"),
        "episode": 1,
        "camera": camera,
    }
    assert told in line["reason"]
    assert str(path) in line["reason"]
    assert [one.model_dump(mode="json") for one in error.quarantined] == [line]
    (problem,) = error.problems
    facts = problem.facts
    assert (facts.dataset, facts.episode, facts.camera, facts.file) == (str(tmp_path / "source"), 1, camera, path)
    assert (facts.got, facts.expected, problem.remedy) == FACTS.get(fault, (None, None, ""))
    assert line["remedy"] == problem.remedy
    assert not (tmp_path / "out/meta").exists()


def test_codes_are_words_that_stay() -> None:
    assert {
        *("missing", "truncated", "corrupt", "unreadable", "frame-count", "row-count", "row-order", "not-finite"),
        *(
            "foreign",
            "filtered",
            "still",
            "too-large",
            "changed",
            "not-numbers",
            "width",
            "metadata",
            "place",
            "rate",
            "task",
            "picture-size",
            "worker-died",
            "memory",
            "internal",
            "gpu",
            "hub",
            "store",
            "output",
        ),
    } == CODES


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_joint_that_nothing_uses_may_hold_anything(tmp_path: Path, value: float) -> None:
    """GR1 gets ALOHA's arms without their grippers: what those say does not matter."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\nsource: aloha\ntarget: aloha\ncameras: {top: top}\ngroups:\n  left_arm: {copy: left_arm}\n"
        "  left_gripper: rest\n  right_arm: {copy: right_arm}\n  right_gripper: {copy: right_gripper}\n"
    )
    for name in ("source", "whole"):
        write_dataset(tmp_path / name, lengths=LENGTHS)
    with_value(7, 6, value)(data_path(tmp_path / "source", 1))
    for name in ("source", "whole"):
        convert_here(tmp_path / name, tmp_path / f"{name}_out", map=str(mine))
    ours, theirs = files_of(tmp_path / "source_out"), files_of(tmp_path / "whole_out")
    # Notes in the card, and the manifest, name the source.
    assert [name for name in theirs if ours[name] != theirs[name]] == ["README.md", "millrace.json"]
    failed(tmp_path / "source", tmp_path / "other", robot="aloha")


def test_unused_values_beside_the_robots_may_hold_anything(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    convert_here(tmp_path / "source", tmp_path / "out")
    with_column("action", lambda values: np.hstack([values, values[:, :1] * np.nan]))(data_path(tmp_path / "source", 1))
    error = failed(tmp_path / "source", tmp_path / "other")
    assert [one.code for one in error.quarantined] == [FaultCode.WIDTH]  # and not for the NaN


def test_it_goes_once_nothing_fails(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    content = video_path(tmp_path / "source", 1).read_bytes()
    video_path(tmp_path / "source", 1).unlink()
    video_path(tmp_path / "source", 2).unlink()
    failed(tmp_path / "source", tmp_path / "out")
    assert [line["episode"] for line in quarantine(tmp_path / "out")] == [1, 2]
    video_path(tmp_path / "source", 1).write_bytes(content)
    failed(tmp_path / "source", tmp_path / "out")
    assert [line["episode"] for line in quarantine(tmp_path / "out")] == [2]
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    convert_here(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out/quarantine.jsonl").exists()


def test_an_old_dataset_without_frame_numbers_is_taken_as_it_stands(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    convert_here(tmp_path / "source", tmp_path / "out")
    rewrite_parquet(data_path(tmp_path / "source", 1), lambda rows: rows.drop_columns(["frame_index"]))
    convert_here(tmp_path / "source", tmp_path / "other")
    ours, theirs = files_of(tmp_path / "other"), files_of(tmp_path / "out")
    assert [name for name in theirs if ours[name] != theirs[name]] == []
