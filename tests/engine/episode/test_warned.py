"""What is remarkable about converted episodes is counted by source and kind, and kept beside the dataset."""

import json
import shutil
from collections.abc import Generator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conftest import LOCAL, convert_here, data_path, files_of, matrix, recipe_for
from millrace.cli import main
from millrace.engine.convert import Summary, plan_conversion
from millrace.engine.dataset.record import LEDGER_LINE, EpisodeRecord, EpisodeResult, EpisodeWarning
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.local import InlineExecutor
from millrace.engine.inspection import inspect_dataset
from millrace.engine.layout import CARD, LEDGER, MANIFEST
from millrace.engine.output.card import dataset_card
from millrace.engine.output.warning_sums import WarningSum, public_warnings, remove_roots, sum_warnings
from millrace.engine.planning.plan import EpisodePlan, Job
from millrace.engine.run import Watch, run_plan
from support.synthetic import SyntheticVideo, edit_column, rewrite_parquet, write_dataset

GAP, DARK = (
    EpisodeWarning(code="timestamp-gap", message="a gap"),
    EpisodeWarning(code="black-video", message="dark", camera="top"),
)


def records_of(out: Path) -> list[EpisodeRecord]:
    """Those in a dataset's ledger, in the order of their numbers."""
    lines = [LEDGER_LINE.validate_json(line) for line in (out / LEDGER).read_bytes().splitlines()[1:]]
    return sorted((line for line in lines if isinstance(line, EpisodeRecord)), key=lambda record: record.index)


def test_warnings_are_counted_by_source_and_kind(aloha: Path, aloha_gr1: Path) -> None:
    told: list[tuple[EpisodeWarning, ...]] = [(), (GAP, DARK), (GAP.model_copy(update={"message": "another"}),)]
    records = [
        record.model_copy(update={"warnings": warnings})
        for record, warnings in zip(records_of(aloha_gr1), told, strict=True)
    ]
    plan = plan_conversion(recipe_for(aloha))
    found = sum_warnings(records, plan)
    assert [(one.code, one.num_episodes, one.first_episode, one.camera, one.message) for one in found] == [
        ("black-video", 1, 1, "top", "dark"),
        ("timestamp-gap", 2, 1, None, "a gap"),
    ]
    assert str(found[1]) == f"{aloha}: timestamp-gap in 2 episodes; the first is episode 1: a gap"
    public = tuple(public_warnings(found, plan))
    assert str(public[0]) == "aloha: black-video: episode 1, camera top: dark"
    assert "## Warnings\n\n- `aloha: black-video: episode 1, camera top: dark`\n" in dataset_card(plan, public)
    assert "## Warnings" not in dataset_card(plan)


def test_records_of_an_older_ledger_have_no_warnings(aloha_gr1: Path) -> None:
    content = json.loads((aloha_gr1 / LEDGER).read_bytes().splitlines()[1])
    del content["warnings"]
    record = LEDGER_LINE.validate_json(json.dumps(content))
    assert isinstance(record, EpisodeRecord)
    assert record.warnings == ()


def test_public_texts_do_not_say_where_a_source_lies(aloha: Path) -> None:
    plan = plan_conversion(recipe_for(aloha))
    text = f"{aloha}: see {aloha}/data/x.parquet, but {aloha}_v2 and b{aloha} are others"
    assert remove_roots(text, plan) == f"aloha: see data/x.parquet, but {aloha}_v2 and b{aloha} are others"


def test_the_manifest_keeps_notes_and_warnings(tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=(41,), names=None)
    summary = convert_here(tmp_path / "aloha", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert [note.replace(str(tmp_path / "aloha"), "aloha") for note in summary.notes] == manifest["notes"]
    assert any("taken by position" in note for note in manifest["notes"])
    assert [WarningSum.model_validate(one) for one in manifest["warnings"]] == list(summary.warnings)


def test_jumps_of_joints_are_warnings(aloha: Path, tmp_path: Path) -> None:
    """What inspect finds in an episode's rows, convert says, too."""
    shutil.copytree(aloha, tmp_path / "aloha")

    def edit(table: pa.Table) -> pa.Table:
        state = matrix(table, "observation.state")
        state[20, 3] += 5000
        place = table.column_names.index("observation.state")
        column = pa.array(list(state)).cast(table.schema.field(place).type)
        return table.set_column(place, table.schema.field(place), column)

    rewrite_parquet(data_path(tmp_path / "aloha", 1), edit)
    (found,) = (one for one in convert_here(tmp_path / "aloha", tmp_path / "out").warnings if one.code == "spike")
    assert (found.num_episodes, found.first_episode) == (1, 1)
    assert "left_forearm_roll jumps by +5e+03 in row 20, for one frame" in found.message


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes; of two a frame was dropped while they were recorded."""
    root = tmp_path_factory.mktemp("gappy") / "source"
    write_dataset(root, lengths=(8, 9, 7, 8), fps=20, video=SyntheticVideo(codec="libx264", gop=10, bframes=0))
    for episode in (1, 3):
        edit_column(data_path(root, episode), "timestamp", lambda times: [t + 0.05 * (t > 0.22) for t in times])
    return root


DROPPED = "frames were dropped in 1 places, where motion jumps"
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2}


def told(summary: Summary, out: Path) -> tuple[Any, ...]:
    """The warnings of a run, and of its files."""
    manifest = json.loads((out / MANIFEST).read_text())
    return summary.warnings, manifest["warnings"], (out / CARD).read_text(), files_of(out)


@pytest.mark.parametrize("num_done", [1, 2, 3, 4])
def test_warnings_are_the_same_after_a_stop_and_in_whatever_order_workers_end(
    gappy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_done: int
) -> None:
    plan, seen = plan_conversion(recipe_for(gappy, **SETTINGS)), count(1)

    def stop(_: EpisodeResult) -> None:
        if next(seen) == num_done:
            raise KeyboardInterrupt

    class Reversed(InlineExecutor):
        """An executor whose workers end in the opposite order."""

        def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
            yield from reversed(list(super().run(plans, job, folders)))

    out = tmp_path / "out"
    expected = told(run_plan(plan, tmp_path / "undisturbed", workers=LOCAL, started=0.0), tmp_path / "undisturbed")
    assert [(one.code, one.num_episodes, one.first_episode) for one in expected[0]] == [("timestamp-gap", 2, 1)]
    monkeypatch.setattr("millrace.engine.run.choose_executor", lambda *_: Reversed())
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, out, workers=LOCAL, started=0.0, watch=Watch(on_result=stop))
    summary = run_plan(plan, out, workers=LOCAL, started=0.0)
    assert summary.num_resumed == num_done
    assert told(summary, out) == expected


def test_dropped_frames_are_said_printed_and_kept(
    gappy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = ("--robot", "aloha", "--horizon", "2", "--image-size", "64", "--local")
    assert main(["convert", str(gappy), str(out), *flags]) == 0
    printed = capsys.readouterr()
    assert "timestamp-gap in 2 episodes; the first is episode 1: " in printed.out + printed.err
    assert DROPPED in printed.out + printed.err
    (kept,) = json.loads((out / MANIFEST).read_text())["warnings"]
    assert (kept["code"], kept["num_episodes"], kept["first_episode"]) == ("timestamp-gap", 2, 1)
    assert DROPPED in kept["message"]
    assert DROPPED in (out / CARD).read_text()
    findings = [one for one in inspect_dataset(gappy).findings if one.code == "timestamp-gap"]
    assert [DROPPED in str(finding) for finding in findings] == [True, True]
    assert main(["inspect", str(gappy)]) == 0
    assert DROPPED in capsys.readouterr().out
