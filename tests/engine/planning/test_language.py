"""A column of the source's own may hold the instruction of each row, as text or as a number among the tasks."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import convert_here, data_path, read_meta, read_table
from millrace.embodiments.errors import UnknownName
from millrace.engine.errors import EpisodesFailed, FaultCode, HubError
from millrace.engine.layout import MANIFEST
from millrace.engine.planning.language import read_instructions
from millrace.engine.sources import open_source
from support.synthetic import ExtraColumn, edit_column, edit_jsonl, write_dataset

LENGTHS = (12, 9)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4, "fps": "source"}


def step_number(episode: int, frames: Any) -> Any:
    return np.where(np.asarray(frames) < 5, 1, 2)


def step_text(episode: int, frames: Any) -> Any:
    return [f"Reach {episode}." if frame < 5 else "Lift." for frame in frames]


def texts_of(out: Path, episode: int) -> list[str]:
    known = {line["task_index"]: line["task"] for line in read_meta(out, "tasks.jsonl")}
    return [known[index] for index in read_table(out, episode)["task_index"].to_pylist()]


def test_numbers_of_a_column_name_the_tasks(tmp_path: Path) -> None:
    column = ExtraColumn(step_number, dtype="int64")
    write_dataset(tmp_path / "source", lengths=LENGTHS, extra_columns={"annotation.step": column})
    steps = [{"task_index": 1, "task": "Reach."}, {"task_index": 2, "task": "Lift."}]
    edit_jsonl(tmp_path / "source/meta/tasks.jsonl", lambda lines: [*lines, *steps])
    summary = convert_here(tmp_path / "source", tmp_path / "out", language="annotation.step", **SETTINGS)
    assert texts_of(tmp_path / "out", 0) == ["Reach."] * 5 + ["Lift."] * 7
    assert read_meta(tmp_path / "out", "episodes.jsonl")[0]["tasks"] == ["Reach.", "Lift."]
    assert "annotation.step" not in summary.dropped
    assert '"language": "annotation.step"' in (tmp_path / "out" / MANIFEST).read_text()


def test_texts_of_a_column_are_the_tasks(tmp_path: Path) -> None:
    column = ExtraColumn(step_text, dtype="string")
    write_dataset(tmp_path / "source", lengths=LENGTHS, extra_columns={"language_instruction": column})
    convert_here(tmp_path / "source", tmp_path / "out", language="language_instruction", **SETTINGS)
    assert texts_of(tmp_path / "out", 0) == ["Reach 0."] * 5 + ["Lift."] * 7
    assert texts_of(tmp_path / "out", 1) == ["Reach 1."] * 5 + ["Lift."] * 4
    assert [line["tasks"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [
        ["Reach 0.", "Lift."],
        ["Reach 1.", "Lift."],
    ]


def test_a_row_without_text_is_named_and_an_unknown_column_too(tmp_path: Path) -> None:
    column = ExtraColumn(step_text, dtype="string")
    write_dataset(tmp_path / "source", lengths=LENGTHS, extra_columns={"instruction": column})
    edit_column(data_path(tmp_path / "source", 1), "instruction", lambda texts: [*texts[:3], "", *texts[4:]])
    with pytest.raises(
        EpisodesFailed, match=r"^episode 1: column 'instruction' holds no instruction in row 3, but ''$"
    ):
        convert_here(tmp_path / "source", tmp_path / "out", language="instruction", **SETTINGS)
    with pytest.raises(UnknownName, match="Did you mean 'instruction'"):
        convert_here(tmp_path / "source", tmp_path / "other", language="instructions", **SETTINGS)


@dataclass(frozen=True)
class Refusing:
    """A repository that gives nothing."""

    def fetch(self, paths: Iterable[Path]) -> None:
        raise HubError(f"refused {len(list(paths))} files")

    def fetch_rows(self, folder: Path) -> None:
        raise AssertionError(folder)

    def holding_files(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_rows_that_the_hub_does_not_give_are_no_bad_data(tmp_path: Path) -> None:
    column = ExtraColumn(step_text, dtype="string")
    write_dataset(tmp_path, lengths=LENGTHS, extra_columns={"annotation.step": column})
    source = open_source(tmp_path)
    episodes = [replace(episode, repository=Refusing()) for episode in source.episodes]
    _, found = read_instructions(source, episodes, "annotation.step")
    assert [(fault.code, fault.reason) for episode in found for fault in episode.faults] == [
        (FaultCode.HUB, "refused 1 files")
    ] * len(LENGTHS)
