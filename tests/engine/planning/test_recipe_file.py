"""A recipe file says what flags say, of many sources; all that is wrong is told at once, each with its line."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import millrace
from conftest import IMAGE_SIZE, LENGTHS, convert_here, files_of, read_meta
from millrace import cli
from millrace.engine.convert import plan_conversion
from millrace.engine.errors import RecipeError, RecipeProblems
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import read_recipe
from support.synthetic import write_dataset

ARM = ("ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "Elbow", "WristRoll", "WristPitch", "WristYaw")
GRIPPERS = ("kLeftGripper", "kRightGripper")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A recipe file beside the folder data/, in which `aloha` and `other` lie."""
    write_dataset(tmp_path / "data/aloha", lengths=LENGTHS, cameras=())
    write_dataset(tmp_path / "data/other", lengths=(60, 50), fps=30, cameras=("top",), tasks=["fold", "stack"])

    def write(text: str) -> Path:
        path = tmp_path / "recipes/mine.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def problems(path: Path) -> list[str]:
    """What is told of a recipe, without the path of the file."""
    with pytest.raises(RecipeProblems) as caught:
        plan_conversion(read_recipe(path))
    assert caught.value.exit_code == 2
    prefix = f"{path}:"
    assert all(line.startswith(prefix) and "\n" not in line for line in caught.value.lines)
    return [line.removeprefix(prefix) for line in caught.value.lines]


FULL = """
robot: gr1
cameras: [ego_view]
fps: 30000/1001
image_size: 64
crop: pad
resample: linspace
gop: 5
horizon: 8
chunks_size: 3
holdout: 0.25
sources:
  - path: ../data/aloha
    map: aloha_to_gr1
    cameras: {ego_view: observation.images.top}
    episodes: "0:2"
    task: Fold it.
    task_all: true
    fps: 29.97
  - path: /elsewhere/data
    map: ./mine.yaml
    rules: {left_hand: {broadcast: left_gripper}, waist: rest}
    black_cameras: [ego_view]
    episodes: [0, 7, "10:20"]
    task: {old: new}
    holdout: 7
"""


def test_every_field_is_read(write: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = read_recipe(write(FULL))
    one, other = recipe.sources
    assert (recipe.robot, recipe.cameras, recipe.fps) == ("gr1", ("ego_view",), Fraction(30000, 1001))
    assert (recipe.image_size, recipe.crop, recipe.resample, recipe.gop) == (64, "pad", "linspace", 5)
    assert (recipe.horizon, recipe.chunks_size, recipe.holdout) == (8, 3, Fraction(1, 4))
    assert (one.map, one.cameras, one.episodes) == ("aloha_to_gr1", {"ego_view": "observation.images.top"}, "0:2")
    assert (one.task, one.fps) == ("Fold it.", Fraction(2997, 100))
    assert (other.black_cameras, other.episodes, other.task, other.holdout) == (
        ("ego_view",),
        "0,7,10:20",
        {"old": "new"},
        "7",
    )
    assert set(other.rules) == {"left_hand", "waist"}
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_paths_are_relative_to_the_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    one, other = read_recipe(write(FULL)).sources
    assert one.path.resolve() == tmp_path / "data/aloha"
    assert other.path == Path("/elsewhere/data")
    assert other.map == str(tmp_path / "recipes/mine.yaml")


def test_a_path_that_is_nowhere_says_which_folder_it_is_relative_to(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not asked of the Hub where it is a folder seen from elsewhere."""
    own = f"Paths in a recipe are relative to its own folder, {tmp_path / 'recipes'}"
    assert problems(write("robot: aloha\nsources: [{path: ../data/alhoa}]"))[0].endswith(f"data/aloha?. {own}")
    monkeypatch.chdir(tmp_path)
    (message,) = problems(write("robot: aloha\nsources: [{path: data/aloha}]"))
    assert f"data/aloha is a folder of the working folder only. {own}: write ../data/aloha, or for the Hub" in message


def test_flags_are_a_recipe_of_one_source(write: Callable[[str], Path], tmp_path: Path) -> None:
    path = write("sources: [{path: ../data/aloha, map: aloha_to_gr1, episodes: 0}]\nfps: 10\nholdout: 0.5\n")
    source = tmp_path / "recipes/../data/aloha"
    single = Recipe.single(source, map="aloha_to_gr1", episodes="0", fps="10", holdout="0.5")
    assert read_recipe(path) == single


def test_a_list_to_hold_out_is_the_sources(tmp_path: Path) -> None:
    recipe = Recipe.single(tmp_path, robot="aloha", holdout="3,5")
    assert (recipe.holdout, recipe.sources[0].holdout) == (None, "3,5")


def test_a_recipe_converts_as_its_flags_do(aloha: Path, aloha_gr1: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"image_size: {IMAGE_SIZE}\nsources: [{{path: {aloha}, map: aloha_to_gr1}}]\n")
    assert cli.main(["convert", "--recipe", str(path), str(tmp_path / "out"), "--local"]) == 0
    assert files_of(tmp_path / "out") == files_of(aloha_gr1)
    assert "3 encoded, 0 copied" in capsys.readouterr().out


BAD = """\
robot: aloha
image_size: 257
sources:
  - path: ../data/nowhere
  - path: ../data/aloha
    episodes: first
    map: aloha_to_g1
  - path: ../data/other
    cameras: {top: tip}
    epsodes: 3
  - {path: ../data/aloha, episodes: [99], horizon: 3}
  - path: ../data/other
    episodes: [99]
    map: aloha_to_gr1
    task: {fld: Fold.}
  - map: aloha_to_gr1
"""


def test_every_problem_of_every_source_is_told_at_once_with_its_line(write: Callable[[str], Path]) -> None:
    found = problems(write(BAD))
    expected = [
        ("2: ", "image_size: 257 is odd"),
        ("4: ", "no dataset at "),
        ("6: ", "episodes: episodes are given as A:B"),
        ("7: ", "'aloha_to_g1' is not a map. Did you mean 'aloha_to_gr1'?"),
        ("9: ", "'tip' is not a camera of "),
        ("10: ", "'epsodes' is not a field of a source. Did you mean 'episodes'?"),
        ("11: ", "'horizon' is not a field of a source."),
        ("11: ", "has no episode 99"),
        ("13: ", "has no episode 99"),
        ("14: ", "map 'aloha_to_gr1' leads to 'gr1', not to 'aloha'"),
        ("15: ", "'fld' is not a task of "),
        ("16: ", "path: is missing"),
    ]
    assert len(found) == len(expected), found
    for line, (begins, holds) in zip(found, expected, strict=True):
        assert line.startswith(begins)
        assert holds in line


def test_a_misspelt_robot_is_named_beside_another_wrong_field(write: Callable[[str], Path]) -> None:
    robot, size = problems(write("robot: alhoa\nimage_size: 257\nsources: [{path: ../data/other}]\n"))
    assert robot.startswith("1: 'alhoa' is not a robot. Did you mean 'aloha'?")
    assert size.startswith("2: image_size")


def test_a_rate_that_cannot_be_made_is_told_beside_whatever_else_is_wrong(write: Callable[[str], Path]) -> None:
    other = "  - path: ../data/other\n"
    found = problems(
        write(
            f"robot: aloha\nfps: 40\nimage_size: 257\nsources:\n{other}    cameras: {{top: tip}}\n"
            f"{other}    map: aloha_to_g1\n{other}    episodes: first\n{other}    fps: fast\n{other}    fps: 50\n"
        )
    )
    told = [(int(line.partition(":")[0]), "cannot make 40 Hz from 30 Hz" in line) for line in found]
    assert told == [(3, False), (5, True), (6, False), (7, True), (8, False), (9, True), (10, False), (12, False)]


def test_fields_that_a_wrong_one_blurs_are_not_blamed(write: Callable[[str], Path]) -> None:
    """With its rules, black cameras or robot, a source might be right."""
    source = "  - path: ../data/aloha\n    map: aloha_to_gr1\n"
    one, other = f"{source}    rules: 3\n", f"{source}    black_cameras: 3\n    cameras: {{ego_view: tip}}\n"
    assert [line.partition(":")[0] for line in problems(write(f"robot: 3\nsources:\n{one}{other}"))] == ["1", "5", "8"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("robot: alohaa\nsources: [{path: ../data/aloha}]", "1: 'alohaa' is not a robot"),
        ("robot: aloha\nfps: 60\nsources:\n  - path: ../data/other", "4: cannot make 60 Hz from 30 Hz"),
        (
            "robot: aloha\nfps: source\ncameras: []\nsources: [{path: ../data/aloha}, {path: ../data/other}]",
            "2: fps: source needs sources of one rate",
        ),
        ("robot: aloha\nhorizon: 99\nsources: [{path: ../data/aloha}]", "2: an action chunk has 99 steps"),
        ("robot: aloha\nsources: []", "2: sources: there is no source to convert"),
        ("robot: aloha", "1: sources: is missing"),
        ("robot: aloha\nsources: 3", "2: sources: must be a list"),
        ("robot: aloha\nsources:\n  - path: ../data/aloha\n  - 3", "4: a source has fields"),
        ("robot: aloha\nsources:\n  - path: ../data/other\n    task: ''", "4: task: a task is a sentence"),
        (
            "robot: aloha\nsources:\n  - path: ../data/other\n    cameras: {top: tip}",
            "4: 'tip' is not a camera of ",
        ),
        ("fps: 10\nsources:\n  - path: ../data/aloha", "3: "),
        (
            "robot: aloha\nsources:\n  - path: ../data/other\n    rules:\n      left_arm: {copi: left_arm}",
            "5: rules.left_arm: one rule is needed",
        ),
        (
            "robot: aloha\nsources:\n  - path: ../data/other\n    rules:\n      left_arm: rest\n"
            "      left_gripper: {broadcast: left_griper}",
            "6: rules for map 'aloha', groups.left_gripper.broadcast: 'left_griper' is not a joint or joint group",
        ),
    ],
)
def test_a_wrong_field_cites_its_line(write: Callable[[str], Path], text: str, told: str) -> None:
    (line,) = problems(write(text))
    assert line.startswith(told)


def test_what_does_not_hang_on_a_wrong_robot_or_map_is_told_with_it(write: Callable[[str], Path]) -> None:
    source = "  - path: ../data/other\n    episodes: [99]\n    task: {fld: Fold.}\n    cameras: {top: tip}\n"
    found = problems(write(f"robot: alohaa\nsources:\n{source}{source}    map: alohaa_to_gr1\n"))
    assert [line.partition(": ")[0] for line in found] == ["1", "4", "5", "6", "8", "9", "10", "11"]


def test_advice_is_written_as_the_file_would_have_it(write: Callable[[str], Path]) -> None:
    (line,) = problems(write("robot: aloha\nsources:\n  - path: ../data/other\n    cameras: {top: tip}\n"))
    assert line.endswith("Say which one becomes 'top': cameras: {top: NAME}, or leave it out: without_cameras: [top]")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sources: [", "mine.yaml:1: "),
        ("- a", "mine.yaml:1: the file must hold a mapping"),
        ("robot: aloha\nrobot: gr1", "mine.yaml:2: 'robot' is named twice"),
    ],
)
def test_what_is_no_recipe_at_all_is_an_error(write: Callable[[str], Path], text: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told) as caught:
        read_recipe(write(text))
    assert caught.value.exit_code == 2


def test_a_missing_file_is_exit_code_2(tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["convert", "--recipe", str(tmp_path / "no.yaml"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'no.yaml'}: No such file or directory.\n"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--fps", "10", "--gop", "3"], "--gop, --fps: with --recipe, say it in "),
        (["--holdout", "1,2"], "list episodes under `holdout:` of a source"),
        (["second"], "--recipe takes OUT alone"),
    ],
)
def test_flags_beside_a_recipe_are_refused(
    write: Callable[[str], Path], tmp_path: Path, capsys: Any, flags: list[str], told: str
) -> None:
    path = write("robot: aloha\nsources: [{path: ../data/aloha}]\n")
    assert cli.main(["convert", str(tmp_path / "out"), *flags, "--recipe", str(path)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_only_map_that_can_be_meant_is_taken_and_told(tmp_path: Path, capsys: Any) -> None:
    joints = [f"k{side}{joint}" for side in ("Left", "Right") for joint in ARM]
    columns = {"observation.state": [*joints, *GRIPPERS], "action": [*joints, *GRIPPERS]}
    write_dataset(tmp_path / "source", lengths=(60,), cameras=("cam_left_high",), parts=columns)
    flags = ["--robot", "g1_inspire", "--image-size", "64", "--local"]
    assert cli.main(["convert", str(tmp_path / "source"), str(tmp_path / "out"), *flags]) == 0
    assert "note: " in (shown := capsys.readouterr().err)
    assert "taken for map 'g1_dex1_to_inspire': all 16 joints of 'g1_dex1' by name" in shown
    assert read_meta(tmp_path / "out", "info.json")["robot_type"] == "g1_inspire"


def test_a_robot_that_does_not_fit_is_told_where_no_map_can_be_meant(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(60,), state_width=12)
    with pytest.raises(millrace.MillraceError, match="12 columns cannot be 14 joints"):
        convert_here(tmp_path / "source", tmp_path / "out", robot="aloha")
