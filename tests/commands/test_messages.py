"""An error names its setting as whoever reads it writes it: a flag, a key of the recipe, an argument of Python."""

import ast
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import millrace
from conftest import REPOSITORY, convert_here
from millrace import MillraceError, Recipe, Workers, cli, embodiments
from millrace.commands.flags import show, write_flag
from millrace.embodiments import Facts, Message, Remedy, Setting
from millrace.embodiments.messages import list_parts, read_message
from millrace.engine import errors
from millrace.engine.convert import plan_conversion
from millrace.engine.errors import EpisodesFailed, Quarantined, RecipeProblems
from millrace.engine.planning.recipe_file import read_recipe
from support.synthetic import write_dataset

# Both list the words of whole commands: what the user may run next, and nvidia-smi.
WITH_COMMANDS = ("next_step.py", "hardware.py")
# Commands ready to run, and flags of others: of `hf`, and of NVIDIA's launcher.
COMMAND = re.compile(
    r"millrace \w+|launch_finetune|hf download|--local-dir DIR|--repo-type dataset|--revision|--embodiment-tag"
)


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, MillraceError)


FLAG = re.compile(r"(?<![\w-])--[a-z]")
ERRORS = {name for module in (errors, embodiments.errors) for name, value in vars(module).items() if is_error(value)}
# What these change is no message about a setting: names, texts of tasks, tokens, paths of a machine.
SUBSTITUTES = {
    *("embodiments/matching.py", "engine/drafting/draft_cameras.py", "engine/drafting/robot_text.py"),
    *("engine/hub/calls.py", "engine/output/warning_sums.py", "engine/planning/vector_columns.py"),
    *("engine/validate/info.py", "engine/drafting/draft_layout.py", "engine/sources/containment.py"),
    "engine/output/card_sections.py",  # reasons that differ in numbers alone
}


def product_files() -> list[Path]:
    return sorted(path for room in ("engine", "embodiments") for path in (REPOSITORY / room).rglob("*.py"))


def strings(path: Path) -> list[str]:
    return [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_no_text_of_the_engine_names_a_flag() -> None:
    files = [path for path in product_files() if path.name not in WITH_COMMANDS]
    named = {path: [text for text in strings(path) if FLAG.search(text) and not COMMAND.search(text)] for path in files}
    assert not {path: found for path, found in named.items() if found}


def test_errors_are_given_facts_and_codes_by_name() -> None:
    """mypy does not check the keywords of facts, nor that a code is no part of the message."""
    names = {*Facts.__dataclass_fields__, "code", "kind", "short", "advice", "quarantined", "exit_code"}
    raised = [
        (path.name, call.lineno, call)
        for path in product_files()
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS
    ]
    assert len(raised) > 200
    wrong = [
        (file, line)
        for file, line, call in raised
        if not {word.arg for word in call.keywords} <= names
        or any("FaultCode" in ast.unparse(part) for part in call.args)
    ]
    assert not wrong


def test_no_message_is_rewritten() -> None:
    files = [*product_files(), *(REPOSITORY / "commands").glob("*.py"), *(REPOSITORY / "millrace").glob("*.py")]
    found = {str(path.relative_to(REPOSITORY)) for path in files if "re.sub(" in path.read_text(encoding="utf-8")}
    assert found == SUBSTITUTES


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset of 50 Hz, which also has no camera 'tip'."""
    write_dataset(tmp_path / "data", lengths=(30, 20), cameras=("top",), tasks=["fold", "stack"])
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("settings", "flags", "lines", "argument", "flag", "key"),
    [
        (
            {"cameras": {"top": "tip"}},
            ["--camera", "top=tip"],
            "    cameras: {top: tip}",
            "cameras={'top': 'NAME'}, or leave it out: without_cameras=['top']",
            "--camera top=NAME, or leave it out: --camera -top",
            "mine.yaml:4: 'tip' is not",
        ),
        (
            {"fps": 60},
            ["--fps", "60"],
            "fps: 60",
            "Choose fps at or below the source's rate, or fps='source'",
            "Choose --fps at or below the source's rate, or --fps source",
            "Choose fps at or below the source's rate, or fps: source",
        ),
        (
            {"horizon": 99},
            ["--horizon", "99"],
            "horizon: 99",
            "Choose horizon=12 or less",
            "Choose --horizon 12 or less",
            "Choose horizon: 12 or less",
        ),
        (
            {"task": "Fold it."},
            ["--task", "Fold it."],
            "    task: Fold it.",
            "replace all of them by it: task_all=True",
            "replace all of them by it: --task-all",
            "replace all of them by it: task_all: true",
        ),
        ({"gop": 0}, ["--gop", "0"], "gop: 0", "gop: Input", "--gop: Input", "mine.yaml:4: gop: Input"),
        (
            {"source_fps": "fast"},
            ["--source-fps", "fast"],
            "    fps: fast",
            "source_fps: ",
            "--source-fps: ",
            "mine.yaml:4: fps: ",
        ),
        (
            {"episodes": "7"},
            ["--episodes", "7"],
            "    episodes: 7",
            "episodes=7: ",
            "--episodes 7: ",
            "mine.yaml:4: episodes: 7: ",
        ),
    ],
)
def test_a_setting_is_shown_as_its_reader_writes_it(
    source: Path,
    capsys: Any,
    settings: dict[str, Any],
    flags: list[str],
    lines: str,
    argument: str,
    flag: str,
    key: str,
) -> None:
    with pytest.raises(MillraceError) as caught:
        plan_conversion(Recipe.single(source, robot="aloha", **settings))
    assert argument in str(caught.value)
    assert "--" not in str(caught.value)
    assert cli.main(["convert", str(source), str(source.parent / "out"), "--robot", "aloha", "--dry-run", *flags]) in (
        1,
        2,
    )
    assert flag in capsys.readouterr().err
    path = source.parent / "mine.yaml"
    path.write_text(f"robot: aloha\nsources:\n  - path: {source}\n{lines}\n")
    with pytest.raises(RecipeProblems) as problems:
        plan_conversion(read_recipe(path))
    assert key in str(problems.value)
    assert {problem.facts.file for problem in problems.value.problems} == {path}


@pytest.mark.parametrize(
    ("make", "argument", "flag"),
    [
        (
            lambda: Workers(num=0),
            "Workers(num=...) takes at least 1 core, not 0",
            "--workers takes at least 1 core, not 0",
        ),
        (
            lambda: Workers(local=True, address="auto"),
            "Workers(local=True) works in this process alone",
            "--local works in this process alone: leave out --workers, --address and --executor",
        ),
        (
            lambda: Workers(executor="local", address="auto"),
            "Workers(executor='local') works on this machine alone",
            "--executor local works on this machine alone: leave out --address",
        ),
    ],
)
def test_arguments_of_workers_say_where_they_belong(make: Callable[[], object], argument: str, flag: str) -> None:
    with pytest.raises(MillraceError) as caught:
        make()
    assert argument in str(caught.value)
    assert flag in show(caught.value.message)


def test_a_finished_dataset_advises_overwrite(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    settings = {"robot": "aloha", "image_size": 32, "episodes": "0", "task": "Pick.", "task_all": True}
    convert_here(aloha, out, **settings)
    with pytest.raises(MillraceError, match="pass overwrite=True to replace what is there") as caught:
        convert_here(aloha, out, **settings, gop=5)
    assert caught.value.facts.file == out
    flags = ["--robot", "aloha", "--image-size", "32", "--episodes", "0", "--task", "Pick.", "--task-all", "--gop", "5"]
    assert cli.main(["convert", str(aloha), str(out), *flags, "--local"]) == 2
    assert "pass --overwrite to replace what is there" in capsys.readouterr().err


def test_an_error_knows_what_it_is_about(source: Path) -> None:
    with pytest.raises(MillraceError) as caught:
        plan_conversion(Recipe.single(source, robot="aloha", cameras={"top": "tip"}))
    facts = caught.value.facts
    assert (facts.dataset, facts.camera, facts.got, facts.known) == (str(source), "tip", "tip", ("top",))
    with pytest.raises(MillraceError) as caught:
        millrace.open_source(source / "nowhere")
    assert caught.value.facts.dataset == str(source / "nowhere")


def test_a_message_survives_processes_and_files() -> None:
    message = Message("unless ", Setting("trim_mismatch", 2), " drops it")
    for copy in (pickle.loads(pickle.dumps(message)), read_message(list_parts(message))):
        assert (str(copy), copy.parts) == ("unless trim_mismatch=2 drops it", message.parts)
        assert show(copy) == "unless --trim-mismatch 2 drops it"
    advised = Message("out exists (a; ", Remedy("pass ", Setting("overwrite", True)), ")", ". Changed: gop")
    for copy in (pickle.loads(pickle.dumps(advised)), read_message(json.loads(json.dumps(list_parts(advised))))):
        assert str(copy) == "out exists (a; pass overwrite=True). Changed: gop"
        assert (copy.what, show(copy.remedy)) == ("out exists (a). Changed: gop", "pass --overwrite")
        assert copy.settings == (Setting("overwrite", True),)
    assert read_message("plain") == "plain"
    found = [Quarantined.model_validate(QUARANTINED | {"reason": message})]
    failed = EpisodesFailed([message], ["Fix them."], quarantined=found)
    again = pickle.loads(pickle.dumps(failed))
    assert (again.lines, again.quarantined) == (failed.lines, failed.quarantined)
    assert again.lines == ["unless trim_mismatch=2 drops it", "Fix them."]
    assert show(again.quarantined[0].reason) == "unless --trim-mismatch 2 drops it"
    assert again.quarantined[0].model_dump(mode="json")["reason"] == str(message)


QUARANTINED = {"code": "frame-count", "source": Path("a"), "episode": 1, "camera": None}


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        (Setting("task", "Pick it."), '--task "Pick it."'),
        (Setting("mix", [1, 2]), "--mix 1 2"),
        (Setting("num_gpus", 0), "--num-gpus 0"),
        (Setting("scratch", "DIR"), "--temp DIR"),
    ],
)
def test_a_flag_is_written_with_its_value(setting: Setting, flag: str) -> None:
    assert write_flag(setting) == flag
