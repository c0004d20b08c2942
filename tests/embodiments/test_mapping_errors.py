"""What is wrong with a map is an error that says where, before any row is mapped."""

from pathlib import Path

import numpy as np
import pytest

from millrace.embodiments import (
    JointMap,
    MapError,
    UnknownName,
    load_map,
)
from support.small_maps import MAP, SOURCE, TARGET, compiled, frames


def test_an_episode_of_another_shape_is_refused(folder: Path) -> None:
    made = compiled(folder)
    for state, action in ((10, 7), (9, 8)):
        with pytest.raises(ValueError, match=r"\(5, 9\), \(5, 7\)"):
            made.apply(frames(state), frames(action))
    with pytest.raises(ValueError, match=r"got \[\(5, 9\), \(4, 7\)\]"):
        made.apply(frames(9), frames(7, 4))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("gather", [0], r"gather \(1,\), driven \(2,\), scale \(2,\), offset \(2,\), limits \(2, 2\), rest \(3,\)"),
        ("rest", [[0.0]], r"rest \(1, 1\)"),
        ("driven", [1, 1], "distinct columns"),
        ("driven", [1, 3], r"columns of \[0, 3\)"),
        ("gather", [0, -1], "columns from 0"),
    ],
)
def test_a_joint_map_checks_its_shapes(field: str, value: list[float], says: str) -> None:
    fields: dict[str, object] = {"gather": [0, 1], "driven": [0, 2], "scale": [1, 1], "offset": [0, 0]}
    fields["limits"] = [[-1, 1], [-1, 1]]
    fields |= {"rest": [0, 0, 0], field: value}
    with pytest.raises(ValueError, match=says):
        JointMap(**{name: np.array(value) for name, value in fields.items()})


def test_a_source_too_narrow_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"D at least 9, got \(5, 8\)"):
        compiled(folder).state(frames(8))


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("  leg: rest\n", "", 5, "leg of 'target' has no rule"),
        (
            "  leg: rest\n",
            "  leg: rest\n  leg: hold\n",
            7,
            "'leg' is named twice (first on line 6)",
        ),
        (
            "  leg: rest\n",
            "  legs: rest\n",
            6,
            "'legs' is not a joint group of 'target'. Did you mea",
        ),
        ("  leg: rest\n", "  leg: hold\n", 6, "`hold` is for actions; move the rule of 'leg'"),
        ("  leg: rest\n", "  leg: relax\n", 6, "one rule is needed"),
        ("  leg: rest\n", "  leg: {copy: arm, reorder: arm}\n", 6, "one rule is needed"),
        ("  leg: rest\n", "  leg:\n", 6, "one rule is needed"),
        (
            "  leg: rest\n",
            "  leg: {copy: arm}\n",
            6,
            "'arm' of 'source' has 3 joints, 'leg' of 'target'",
        ),
        (
            "{copy: arm}",
            "\n    copy: amr",
            8,
            "'amr' is not a joint group of 'source'. Did you mean",
        ),
        ("{copy: arm}", "{copy: hand}", 7, "the action of 'source' lacks 'hand'; under `action:`"),
        ("{copy: arm}", "{copy: arm, rescael: 1}", 7, "'rescael' is not a field of Copy. Did you"),
        (
            "{copy: arm}",
            "{reorder: arm}",
            7,
            "no joint is called 'b1' in arm of 'source': [a1, a2, a3",
        ),
        (
            "{copy: arm}",
            "{broadcast: arm}",
            7,
            "has 3 joints; name the one to broadcast: a1, a2, a3",
        ),
        (
            "{copy: arm}",
            "{broadcast: a9}",
            7,
            "'a9' is not a joint or joint group in the state of 'source'. Known: arm",
        ),
        ("{copy: arm}", "{reorder: arm, others: hold}", 7, "`hold` is for actions; move the rule of 'arm'"),
        ("{copy: arm}", "{joints: {b9: a1}}", 7, "'b9' is not a joint in 'arm' of 'target'. Known: b1, b2"),
        ("{copy: arm}", "{joints: {b1: a9}}", 7, "'a9' is not a joint in the state of 'source'. Known: a1, a2"),
        ("{copy: arm}", "{joints: {b1: thumb}}", 7, "'thumb' is not a joint in the action of 'source'"),
        ("{copy: arm}", "{joints: {}}", 7, "at least 1 item"),
        ("{copy: arm}", "{joints: {b1: a1}, others: relax}", 7, "'rest' or 'hold', got 'relax'"),
        (
            "{copy: arm}",
            "{joints: {b1: a1}, rescale: {source: [0, 1], target: [[0, 1], [0, 1]]}}",
            7,
            "rescale has 2 target ranges for 1 joints: b1",
        ),
        ("  leg: rest\n", "  leg: {rest: [1, 2, 3]}\n", 6, "rest has 3 values for 2 joints"),
        ("speed: rest", "speed: hold", 10, "`hold` needs 'forward' in the state of 'target'"),
        (
            "action:\n",
            "action:\n  arms: rest\n",
            12,
            "'arms' is not a joint group of 'target' in its a",
        ),
        (
            "action:\n",
            "state:\n  speed: rest\naction:\n",
            12,
            "'speed' is not a joint group of 'target'",
        ),
        (
            "action:\n",
            "state: {arm: rest}\naction:\n",
            7,
            "the action of 'arm' is relative to its state",
        ),
        ("action:\n", "also_train: [arm, lag]\naction:\n", 11, "'lag' is not a joint group"),
        ("source: [0, 2]", "source: [2, 2]", 13, "source range [2, 2] must rise"),
        ("source: [0, 2]", "source: [0, .inf]", 13, "finite number"),
        ("source: [0, 2]", "source: [0]", 13, "action.hand.rescale.source"),
        ("target: [-1, 1]", "target: [1, -1]", 13, "target range [1, -1] falls"),
        ("target: [-1, 1]", "target: [[0, 1], [0, 1], [0, 1]]", 13, "3 target ranges for 2 joints"),
        ("polarity: inverted", "polarity: reversed", 13, "'same' or 'inverted', got 'reversed'"),
        ("{ego_view: top}", "{ego: top}", 4, "'ego' is not a camera of 'target'"),
        (
            "{ego_view: top}",
            "\n  ego_view: tip",
            5,
            "'tip' is not a camera of 'source'. Did you mean",
        ),
        (
            "source: ./source.yaml",
            "source: alhoa",
            2,
            "'alhoa' is not a robot. Did you mean 'aloha'?",
        ),
        ("source: ./source.yaml", "source: [aloha]", 2, "source must be a robot's name or file"),
        ("source: ./source.yaml\n", "", 1, "source is missing"),
        ("name: try", "name: 'a\"b'", 1, "should match pattern"),
    ],
)
def test_a_wrong_rule_is_cited_with_its_line(folder: Path, was: str, becomes: str, line: int, says: str) -> None:
    assert was in MAP
    with pytest.raises(MapError) as caught:
        compiled(folder, MAP.replace(was, becomes, 1))
    message = str(caught.value)
    assert message.startswith(f"{folder / 'map.yaml'}:{line}: ")
    assert says in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_a_map_that_drives_nothing_is_refused(folder: Path) -> None:
    rules = "".join(f"  {group}: rest\n" for group in ("leg", "arm", "hand", "waist", "speed"))
    with pytest.raises(MapError, match=r"map\.yaml:5: no rule drives the state of 'target'"):
        compiled(folder, MAP[: MAP.index("  leg")] + rules)


def test_two_joints_for_one_name_are_refused(folder: Path) -> None:
    robot = SOURCE.replace("aliases: {a1: [one]", "aliases: {a1: [one], grip: [pointer]")
    robot = robot.replace("[arm, hand, gripper, waist]", "[arm, hand, waist], b: [gripper]")
    (folder / "source.yaml").write_text(robot, encoding="utf-8")
    with pytest.raises(MapError, match=r"map\.yaml:8: 'pointer' could be any of index, grip"):
        compiled(folder)


def test_one_joint_for_two_names_is_refused(folder: Path) -> None:
    robot = TARGET.replace("pointer, thumb", "finger, pointer, thumb") + "aliases: {finger: [index]}\n"
    (folder / "target.yaml").write_text(robot, encoding="utf-8")
    with pytest.raises(MapError, match=r"map\.yaml:8: one joint of 'source' fits two of 'hand': finger <- index"):
        compiled(folder)


def test_reorder_prefers_the_name_to_an_alias(folder: Path) -> None:
    robot = SOURCE.replace("aliases: {a1: [one]", "aliases: {thumb: [pollex]").replace("[grip]", "[pollex]")
    (folder / "source.yaml").write_text(robot.replace("gripper, waist]", "waist], b: [gripper]"), encoding="utf-8")
    target = TARGET.replace("pointer, thumb", "pointer, pollex")
    (folder / "target.yaml").write_text(target, encoding="utf-8")
    made = compiled(folder)
    mapped, _ = made.apply(frames(9), frames(7))
    _, pollex = mapped[:, made.target.layout("state").slices["hand"]].T
    np.testing.assert_array_equal(pollex, frames(9)[:, made.source.layout("state").joints.index("pollex")])


def test_an_unknown_map_brings_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'aloha_to_gr' is not a map\. Did you mean 'aloha_to_gr1'"):
        load_map("aloha_to_gr")
