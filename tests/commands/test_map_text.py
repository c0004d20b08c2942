"""`millrace maps show`: a map on the terminal and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.embodiments import load_map, map_names
from support.small_maps import MAP, write_robots


def shown(capsys: Any, monkeypatch: Any, *words: object) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["maps", "show", *map(str, words)]) == 0
    return str(capsys.readouterr().out)


def row_of(text: str, first: str) -> list[str]:
    """The cells of the first row that begins so."""
    (line, *_) = [line for line in text.splitlines() if line.split()[:1] == [first]]
    return [cell for cell in line.split("  ") if cell.strip()]


def test_a_shown_map_has_source_rule_target_and_ranges(capsys: Any, monkeypatch: Any) -> None:
    text = shown(capsys, monkeypatch, "aloha_to_gr1_rescaled")
    state, action = text.split("action, where it differs")
    cells = [cell.strip() for cell in row_of(state, "left_gripper")]
    assert cells == [
        "left_gripper",
        "broadcast left_gripper",
        "left_hand: left_pinky",
        "[0, 1] -> [1.5, 0]",
        "[-1.5, 1.85] rad",
    ]
    assert "left_leg: 6 joints" in state
    assert "left_waist" not in action.split("back to aloha")[0]
    assert "[0, 1] -> [1.5, -1.5]" in action


def test_a_shown_map_ends_in_the_way_back_and_in_what_it_loses(capsys: Any, monkeypatch: Any) -> None:
    text = shown(capsys, monkeypatch, "aloha_to_gr1_rescaled")
    back = text.split("back to aloha: state and action")[1]
    assert [cell.strip() for cell in row_of(back, "left_gripper")[1:]] == [
        "left_pinky, left_ring, 3 more",
        "mean of 5, rescaling undone",
    ]
    assert back.splitlines()[-1] == "every joint of aloha comes back"
    text = shown(capsys, monkeypatch, "g1_dex3_to_inspire")
    assert "LOST: rests at 0" in text
    assert "loses joints of the state and action of 'g1_dex3'" in text.splitlines()[-1]


def test_a_map_of_ones_own_is_shown_too(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    file = write_robots(tmp_path) / "map.yaml"
    file.write_text(MAP, encoding="utf-8")
    text = shown(capsys, monkeypatch, file)
    assert "hip (its state)" in text
    assert "rests at 0.25 rad" in text


@pytest.mark.parametrize("name", map_names())
def test_json_has_each_joint_of_both_robots(name: str, capsys: Any, monkeypatch: Any) -> None:
    found, embodiment_map = json.loads(shown(capsys, monkeypatch, name, "--json")), load_map(name)
    assert (found["map"], found["from"], found["to"]) == (name, embodiment_map.source.name, embodiment_map.target.name)
    assert list(found["undefined"]) == list(embodiment_map.undefined)
    for vector in ("state", "action"):
        target, source = embodiment_map.target.layout(vector), embodiment_map.source.layout(vector)
        assert [line["joint"] for line in found[vector]] == list(target.joints)
        assert [line["joint"] for line in found["inverse"][vector]] == list(source.joints)
    assert bool(found["losses"]) == any(
        joint["how"] == "rest" for vector in ("state", "action") for joint in found["inverse"][vector]
    )


def test_a_name_alone_shows_the_map(capsys: Any) -> None:
    assert main(["maps", "aloha_to_gr1"]) == 0
    assert "back to aloha" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["show"], ["show", "aloha_to_gr1", "aloha_to_gr1"], ["list", "aloha_to_gr1"]])
def test_other_words_are_answered_with_what_exists(words: list[str], capsys: Any) -> None:
    assert main(["maps", *words]) == 2
    assert "millrace maps lists all maps, millrace maps show NAME shows one" in capsys.readouterr().err
