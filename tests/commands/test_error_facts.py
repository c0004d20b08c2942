"""An error says as data what its message says: where, what it got and expected, the known names, and the remedy."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import millrace
from millrace import MillraceError, Recipe, Workers
from millrace.commands.convert import Convert
from millrace.commands.json_output import describe_error
from millrace.commands.unknown_flags import check_flags
from millrace.embodiments import Remedy
from millrace.embodiments.mapping import load_map
from millrace.embodiments.robot import load_robot, read_robot
from millrace.engine.convert import plan_conversion
from millrace.engine.errors import EpisodeError, FaultCode, RowsError
from millrace.engine.output.folder import check_output
from millrace.engine.output.upload import check_uploadable
from millrace.engine.planning.recipe_file import read_recipe
from millrace.engine.sources.dataset import Feature
from support.synthetic import edit_json, edit_jsonl, replace_with_lfs_pointer, write_dataset

LENGTHS = (30, 20)
ROBOT = """\
name: mine
groups:
  arm: {unit: rad, joints: [a, b], rest: [0, 0, 0]}
state: [arm]
action: [arm]
"""


def plan(root: Path, **settings: Any) -> object:
    return plan_conversion(Recipe.single(root, **{"robot": "aloha", **settings}))


def edit_info(root: Path, **values: Any) -> Path:
    edit_json(root / "meta/info.json", lambda info: info.update(values))
    return root


def shorten(root: Path) -> Path:
    edit_jsonl(root / "meta/episodes.jsonl", lambda lines: [{**line, "length": 0} for line in lines])
    return root


def narrow(root: Path) -> Path:
    def change(info: dict[str, Any]) -> None:
        info["features"]["action"] |= {"shape": [13], "names": None}

    edit_json(root / "meta/info.json", change)
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def with_pointer(root: Path) -> Path:
    replace_with_lfs_pointer(root / "meta/info.json")
    return root


def empty(root: Path) -> Path:
    (root.parent / "empty/sub").mkdir(parents=True)
    return root.parent / "empty"


MATCH = "Name the right robot, or give a robot file whose aliases hold these names; `millrace robots new` drafts one."
Expected = dict[str, Any]
# What is done with a dataset of two episodes of 50 Hz, and what the error knows; {root} is the dataset's folder.
SAMPLES: dict[str, tuple[Callable[[Path], object], Expected]] = {
    "rate": (
        lambda root: plan(root, fps=60),
        {"got": 60, "expected": 50, "remedy": "Choose fps at or below the source's rate, or fps='source'"},
    ),
    "horizon": (
        lambda root: plan(root, horizon=99),
        {"got": 99, "expected": 12, "remedy": "Choose horizon=12 or less"},
    ),
    "camera": (
        lambda root: plan(root, cameras={"top": "tip"}),
        {
            "dataset": "{root}",
            "camera": "tip",
            "got": "tip",
            "known": ("top",),
            "remedy": "Say which one becomes 'top': cameras={'top': 'NAME'}, or leave it out: without_cameras=['top']",
        },
    ),
    "cameras of the output": (
        lambda root: plan(root, only_cameras=("tip",)),
        {"camera": "tip", "got": "tip", "remedy": "name it under `cameras:` of one, tip: CAMERA"},
    ),
    "task": (
        lambda root: plan(root, task="Fold it."),
        {"got": "Fold it.", "remedy": "Leave it out, or replace all of them by it: task_all=True"},
    ),
    "field": (
        lambda root: plan(root, gop=0),
        {"got": 0, "expected": "greater than or equal to 1"},
    ),
    "selection": (
        lambda root: plan(root, episodes="0:9"),
        {
            "episode": 8,
            "got": 8,
            "expected": "at most 1",
            "remedy": "A range without an end, A:, takes all that are there",
        },
    ),
    "text of a selection": (
        lambda root: plan(root, episodes="1~2"),
        {"got": "1~2"},
    ),
    "robot": (
        lambda root: load_robot("aloah"),
        {"got": "aloah", "known": millrace.robot_names(), "remedy": "Or give the path of a .yaml file."},
    ),
    "map": (
        lambda root: load_map("aloha_to_gr2"),
        {"got": "aloha_to_gr2", "known": millrace.map_names(), "remedy": "Or give the path of a .yaml file."},
    ),
    "field of a robot file": (
        lambda root: read_robot(write(root / "mine.yaml", ROBOT)),
        {"file": "{root}/mine.yaml", "line": 3, "got": 3, "expected": 2},
    ),
    "width": (
        lambda root: plan(narrow(root)),
        {"got": 13, "expected": 14, "remedy": MATCH},
    ),
    "map of another robot": (
        lambda root: plan(root, map="aloha_to_gr1"),
        {"got": "gr1", "expected": "aloha"},
    ),
    "dataset": (
        lambda root: millrace.open_source(root.parent / "dato"),
        {"dataset": "{parent}/dato", "got": "{parent}/dato", "known": ("data",)},
    ),
    "file for a dataset": (
        lambda root: millrace.open_source(root / "meta/info.json"),
        {"file": "{root}/meta/info.json", "remedy": "name the dataset's folder, which holds meta/"},
    ),
    "layout": (
        lambda root: millrace.open_source(empty(root)),
        {"file": "{parent}/empty", "got": ["sub"]},
    ),
    "pointer": (
        lambda root: millrace.open_source(with_pointer(root)),
        {"file": "{root}/meta/info.json", "remedy": "run `git lfs pull` where it came from"},
    ),
    "metadata": (
        lambda root: millrace.open_source(edit_info(root, fps="fast")),
        {"dataset": "{root}", "file": "{root}/meta/info.json", "got": "fast"},
    ),
    "lengths": (
        lambda root: plan(shorten(root)),
        {
            "file": "{root}/meta/episodes.jsonl",
            "episode": 0,
            "got": 0,
            "remedy": "Fix the dataset's metadata, or select others with episodes",
        },
    ),
    "size of a feature": (
        lambda root: Feature("float32", (-1,), None),
        {"got": [-1]},
    ),
    "cores": (
        lambda root: Workers(num=0),
        {"got": 0, "expected": "at least 1"},
    ),
    "executor": (
        lambda root: Workers(executor="spark"),  # type: ignore[arg-type]
        {"got": "spark", "known": ("auto", "local", "ray")},
    ),
    "workers beside local": (
        lambda root: Workers(num=2, local=True),
        {"remedy": "leave out Workers(num=...), Workers(address=...) and Workers(executor=...)"},
    ),
    "folder of the source": (
        lambda root: check_output(root, [root], overwrite=False),
        {"dataset": "{root}", "file": "{root}", "remedy": "Choose another folder"},
    ),
    "folder of others": (
        lambda root: check_output(root, [], overwrite=False),
        {"file": "{root}", "got": ["data", "meta", "videos"], "remedy": "Choose another folder"},
    ),
    "checkpoint": (
        lambda root: check_uploadable(root, "model"),
        {"file": "{root}", "expected": "config.json"},
    ),
    "flag": (
        lambda root: check_flags(["--fpss", "20"], Convert, name="convert"),
        {"got": "--fpss", "remedy": "Did you mean --fps?"},
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", lengths=LENGTHS, cameras=("top",), tasks=["fold", "stack"])
    return tmp_path / "data"


@pytest.mark.parametrize("name", SAMPLES)
def test_an_error_has_as_data_what_its_message_says(root: Path, name: str) -> None:
    work, expected = SAMPLES[name]
    with pytest.raises(MillraceError) as caught:
        work(root)
    error = caught.value
    found = {**error.facts.given, "remedy": error.remedy, "file": str(error.facts.file)}
    filled = {key: _fill(value, root) for key, value in expected.items()}
    assert {key: found.get(key) for key in filled} == filled
    assert error.remedy in str(error)


def _fill(value: object, root: Path) -> object:
    return value.format(root=root, parent=root.parent) if isinstance(value, str) and value.startswith("{") else value


def test_each_problem_of_a_recipe_file_has_its_facts(root: Path) -> None:
    lines = ["robot: alohaa", "gop: 0", "fpss: 20", "sources:", f"  - path: {root}", "    episodes: 99"]
    recipe = write(root.parent / "mine.yaml", "\n".join(lines) + "\n")
    with pytest.raises(MillraceError) as caught:
        read_recipe(recipe)
    assert isinstance(caught.value, millrace.engine.errors.RecipeProblems)
    facts = {problem.facts.line: problem.facts for problem in caught.value.problems}
    assert {fact.file for fact in facts.values()} == {recipe}
    assert (facts[2].got, facts[2].expected) == (0, "greater than or equal to 1")
    assert (facts[3].got, "fps" in facts[3].known) == ("fpss", True)


def test_an_error_of_a_worker_keeps_what_its_causes_know() -> None:
    cause = RowsError("3 rows, ", Remedy("fetch it again"), code=FaultCode.ROW_COUNT, got=3, expected=4)
    here = EpisodeError(7, "top", "its rows are wrong")
    here.__cause__ = cause
    there = pickle.loads(pickle.dumps(here))
    assert describe_error(there) == describe_error(here)
    assert (there.facts.got, there.facts.expected, there.facts.episode) == (3, 4, 7)
    assert there.remedy == here.remedy
