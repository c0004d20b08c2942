"""What is remarkable about converted episodes is counted by source and kind, and kept beside the dataset."""

import json
import shutil
from pathlib import Path

import pyarrow as pa

from conftest import convert_here, data_path, matrix, recipe_for
from engine.convert import plan_conversion
from engine.layout import LEDGER, MANIFEST
from engine.output.card import dataset_card
from engine.output.record import LEDGER_LINE, EpisodeRecord, Warned
from engine.output.warned import WarningSum, public_warnings, sum_warnings, without_roots
from synthetic import rewrite_parquet, write_dataset

GAP, DARK = Warned(code="timestamp-gap", message="a gap"), Warned(code="black-video", message="dark", camera="top")


def records_of(out: Path) -> list[EpisodeRecord]:
    """Those in a dataset's ledger, in the order of their numbers."""
    lines = [LEDGER_LINE.validate_json(line) for line in (out / LEDGER).read_bytes().splitlines()[1:]]
    return sorted((line for line in lines if isinstance(line, EpisodeRecord)), key=lambda record: record.index)


def test_warnings_are_counted_by_source_and_kind(aloha: Path, aloha_gr1: Path) -> None:
    told: list[tuple[Warned, ...]] = [(), (GAP, DARK), (GAP.model_copy(update={"message": "another"}),)]
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
    assert without_roots(text, plan) == f"aloha: see data/x.parquet, but {aloha}_v2 and b{aloha} are others"


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
