"""A dataset of a robot that GR00T has a tag and a config for says so, in its card and its modality config."""

import json
import re
from pathlib import Path

import pytest

from conftest import recipe_for
from millrace.embodiments import compile_map, load_map, modality_config, modality_config_source
from millrace.engine.convert import plan_conversion
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.output.card import dataset_card
from millrace.engine.packing.packed_card import own_tag
from support.g1_sources import COLUMNS
from support.synthetic import write_dataset


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("g1") / "g1"
    options = {"names": "nested", "parts": COLUMNS["g1_gripper"], "robot_type": None}
    write_dataset(root, lengths=(50,), fps=30, cameras=("cam_left_high",), **options)
    return dataset_card(plan_conversion(recipe_for(root, map="g1_gripper_to_unitree_g1")))


def test_the_card_names_gr00ts_own_tag_without_a_config(card: str) -> None:
    own, other = card.split("## Train\n")[1].split("Or as a new embodiment.")
    assert "--embodiment-tag UNITREE_G1\n" in own
    assert "--modality-config-path" not in own
    assert "--embodiment-tag NEW_EMBODIMENT" in other
    assert "--modality-config-path DATASET/modality_config.py" in other


@pytest.mark.parametrize(
    ("name", "told"),
    [("g1_gripper_to_unitree_g1", ["UNITREE_G1"]), ("g1_gripper_to_inspire", [])],
)
def test_a_card_of_v3_names_the_tag_too(name: str, told: list[str]) -> None:
    control = {"sources": [{"map": json.loads(compile_map(load_map(name)).text)}]}
    assert re.findall(r"--embodiment-tag (\w+)", own_tag(control)) == told
    assert own_tag({}) == ""


def test_the_cards_layout_says_which_groups_have_no_action(card: str) -> None:
    rows = {
        cells[1].strip(): cells[4].strip()
        for cells in (line.split("|") for line in card.split("\n"))
        if len(cells) == 6
    }
    assert rows["left_leg"] == rows["right_leg"] == "state only"
    assert (rows["left_arm"], rows["waist"], rows["navigate_command"]) == ("relative", "absolute", "absolute")


def test_the_modality_config_says_so_too_and_can_still_be_read(tmp_path: Path) -> None:
    texts = {}
    for name in ("g1_gripper_to_unitree_g1", "g1_gripper_to_inspire"):
        made = compile_map(load_map(name))
        texts[name] = modality_config_source(modality_config(made, ("front",), 30))
        (tmp_path / "modality_config.py").write_text(texts[name], encoding="utf-8")
        assert read_config(tmp_path).modalities["video"].modality_keys == ("front",)
    assert "--embodiment-tag UNITREE_G1, leave this file out" in texts["g1_gripper_to_unitree_g1"]
    assert "UNITREE_G1" not in texts["g1_gripper_to_inspire"]
