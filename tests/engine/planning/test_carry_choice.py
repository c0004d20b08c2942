"""Which columns of several sources are alike, and so are carried."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL
from millrace.embodiments.errors import UnknownName
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import RecipeError
from millrace.engine.layout import MANIFEST
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import Recipe
from support.synthetic import ALOHA_JOINTS, ExtraColumn, edit_json, write_dataset


def vector(width: int = 3, dtype: str = "float32", names: Any = None) -> ExtraColumn:
    return ExtraColumn(lambda episode, frames: np.zeros((len(frames), width)), dtype, (width,), names)


ROBOT = f"""\
name: own
state: {{observation.state.joints: [arm]}}
action: {{action.joints: [arm]}}
groups:
  arm: {{joints: [{", ".join(ALOHA_JOINTS)}], unit: rad, action: absolute}}
"""
FLAG = ExtraColumn(lambda episode, frames: frames == 3, dtype="bool")
FIRST = {"flag": FLAG, "effort": vector(), "force": vector(names=["x", "y", "z"]), "only": FLAG, "kind": FLAG}
SECOND = {
    "kind": ExtraColumn(lambda episode, frames: frames, dtype="int64"),
    "effort": vector(4),
    "force": vector(names=["x", "z", "y"]),
    "flag": FLAG,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, of which one column is alike."""
    folder = tmp_path_factory.mktemp("columns")
    for name, columns in (("a", FIRST), ("b", SECOND)):
        write_dataset(folder / name, lengths=(20,), extra_columns=columns)
    return folder


def plan(root: Path, **settings: Any) -> ConversionPlan:
    sources = [{"path": root / name} for name in ("a", "b")]
    return plan_conversion(Recipe.model_validate({"robot": "aloha", "horizon": 4, "sources": sources, **settings}))


def test_only_what_every_source_has_alike_is_carried(root: Path) -> None:
    found = plan(root)
    assert [column.name for column in found.job.carried] == ["flag"]
    reasons = {(Path(left.source).name, left.name): left.reason for left in found.left_out}
    assert reasons == {
        ("a", "only"): f"is not in {root / 'b'}",
        ("b", "effort"): f"is float32 [4], but float32 [3] in {root / 'a'}",
        ("b", "force"): f"is float32 [3] named x, z, y, but float32 [3] named x, y, z in {root / 'a'}",
        ("b", "kind"): f"is int64 [1], but bool [1] in {root / 'a'}",
    }
    assert set(found.dropped) == {"effort", "force", "kind", "only"}


def test_a_demanded_column_must_be_alike(root: Path) -> None:
    assert [column.name for column in plan(root, columns=["flag"]).job.carried] == ["flag"]
    with pytest.raises(RecipeError, match=r"column 'only' is not in .*b, and so is not in the output"):
        plan(root, columns=["only"])


@pytest.mark.parametrize("key", ["columns", "without_columns"])
def test_an_unknown_column_is_named_with_the_nearest(root: Path, key: str) -> None:
    with pytest.raises(UnknownName, match=r"'flga' is not a column beside state and action\. Did you mean 'flag'"):
        plan(root, **{key: ["flga"]})


def test_a_column_that_the_rows_lack_is_left_out_and_said(root: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(20,))
    feature = {"dtype": "bool", "shape": [1], "names": None}
    edit_json(tmp_path / "a/meta/info.json", lambda info: info["features"].update({"flag": feature}))
    found = plan_conversion(Recipe.single(tmp_path / "a", robot="aloha", horizon=4))
    assert [left.reason for left in found.left_out] == ["is in meta/info.json, but not in the rows"]


def test_a_name_that_no_file_can_hold_is_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(20,))
    feature = {"dtype": "bool", "shape": [1], "names": None}
    edit_json(tmp_path / "a/meta/info.json", lambda info: info["features"].update({"\ud800": feature, " ": feature}))
    recipe = Recipe.single(tmp_path / "a", robot="aloha", horizon=4, fps="source", image_size=64)
    summary = convert(recipe, tmp_path / "out", workers=LOCAL)
    assert summary.dropped == ("\ud800", " ")
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["columns"]["left_out"][0]["name"] == "\\ud800"


def test_a_name_that_lerobot_divides_is_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=(20,), extra_columns={"obs/force": vector()})
    found = plan_conversion(Recipe.single(tmp_path / "aloha", robot="aloha", horizon=4))
    assert [(left.name, left.reason.partition(",")[0]) for left in found.left_out] == [
        ("obs/force", "has a name with '/'")
    ]


def test_actions_of_another_robot_are_carried_only_where_no_frame_is_dropped(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(20,), extra_columns={"action.eef": vector()})
    for fps, carried in ((25, []), (50, ["action.eef"])):
        found = plan_conversion(Recipe.single(tmp_path / "a", robot="aloha", horizon=4, fps=fps))
        assert [column.name for column in found.job.carried] == carried


def test_a_column_by_the_name_of_one_of_the_outputs_is_left_out(tmp_path: Path) -> None:
    parts = {"observation.state.joints": ALOHA_JOINTS, "action.joints": ALOHA_JOINTS}
    others = {"observation.state": vector(8), "observation.images.top_available": FLAG}
    write_dataset(tmp_path / "a", lengths=(20,), parts=parts, extra_columns=others)
    (tmp_path / "own.yaml").write_text(ROBOT)
    found = plan_conversion(Recipe.single(tmp_path / "a", robot=str(tmp_path / "own.yaml"), horizon=4))
    assert {left.name for left in found.left_out} == others.keys()
    assert {left.reason for left in found.left_out} == {
        "has a name that the output gives to columns or cameras of its own"
    }
