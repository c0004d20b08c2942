"""--json: what a command did, or why it did not, for scripts; nothing else stands on standard output."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conftest import LENGTHS, REPOSITORY
from millrace import MillraceError, cli
from millrace.commands.evaluate import Evaluate
from millrace.commands.json_output import error_to_json, to_json_text
from millrace.commands.json_stdout import asks_for_json
from millrace.commands.parser_messages import BOX
from millrace.commands.robots import Robots
from millrace.train.serve import ServeSettings
from support.synthetic import write_dataset
from support.training_setups import write_base

SCHEMA = json.loads((REPOSITORY / "docs" / "errors.schema.json").read_text(encoding="utf-8"))
FLAGS = ["--robot", "aloha", "--image-size", "32", "--local", "--no-report", "--json"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", lengths=LENGTHS, cameras=("top",))
    return tmp_path / "data"


def run(capsys: Any, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON on standard output, and standard error."""
    code = cli.main([str(word) for word in words])
    shown = capsys.readouterr()
    found = json.loads(shown.out, parse_constant=pytest.fail)
    if "error" in found:
        jsonschema.validate(found, SCHEMA)
    return code, found, shown.err


def setting(name: str, value: Any, flag: str) -> dict[str, Any]:
    """A setting that no file sets."""
    return {"name": name, "value": value, "flag": flag, "key": None, "place": None}


def test_convert_prints_its_summary(source: Path, tmp_path: Path, capsys: Any) -> None:
    code, summary, _ = run(capsys, "convert", source, tmp_path / "out", *FLAGS)
    assert (code, summary["num_episodes"], summary["was_finished"]) == (0, len(LENGTHS), False)
    assert (summary["quarantined"], summary["held_out"]) == ([], None)
    code, summary, _ = run(capsys, "convert", source, tmp_path / "out", *FLAGS)
    assert (code, summary["was_finished"]) == (0, True)


def test_a_dry_run_prints_its_estimate(source: Path, tmp_path: Path, capsys: Any) -> None:
    code, estimate, _ = run(capsys, "convert", source, tmp_path / "out", *FLAGS, "--dry-run")
    assert (code, estimate["num_episodes"]) == (0, len(LENGTHS))
    assert estimate["core_seconds"] > 0


def test_failed_episodes_are_listed(source: Path, tmp_path: Path, capsys: Any) -> None:
    path = next(source.rglob("*episode_000001.mp4"))
    path.unlink()
    code, found, _ = run(capsys, "convert", source, tmp_path / "out", *FLAGS)
    error, (failed,) = found["error"], found["quarantined"]
    assert (code, error["type"]) == (1, "EpisodesFailed")
    where = {"dataset": str(source), "episode": 1, "camera": "top", "file": str(path), "line": None}
    (problem,) = error["problems"]
    assert (problem["where"], problem["what"]) == (where, f"episode 1, camera top: no video at {path}")
    assert problem["remedy"] == failed["remedy"] == "to do without this camera, pass --camera -top"
    assert problem["settings"] == [setting("without_cameras", ["top"], "--camera -top")]
    assert (error["where"], error["what"], error["remedy"]) == (where, problem["what"], problem["remedy"])
    (advice,) = error["advice"]
    assert advice.startswith(f"{len(LENGTHS) - 1} of {len(LENGTHS)} episodes are converted and kept")
    assert error["message"] == f"{problem['message']}\n{advice}"
    assert (failed["code"], failed["episode"], failed["camera"]) == ("missing", 1, "top")
    assert failed["reason"] == f"no video at {path}; to do without this camera, pass --camera -top"
    assert failed["reason"] in error["message"]
    code, summary, _ = run(capsys, "convert", source, tmp_path / "out", *FLAGS, "--skip-bad")
    (skipped,) = summary["quarantined"]
    assert (code, skipped["episode"]) == (0, 1)
    assert skipped["reason"].endswith("; to do without this camera, pass --camera -top")


@pytest.mark.parametrize(
    ("flags", "kind", "message", "settings"),
    [
        (
            ["--fps", "60"],
            "CannotUpsample",
            "or --fps source",
            [("fps", None, "--fps"), ("fps", "source", "--fps source")],
        ),
        (["--gop", "0"], "RecipeError", "--gop: Input", [("gop", None, "--gop")]),
        (["--nonsense"], "RecipeError", "--nonsense", []),
        (["--workers", "x"], "RecipeError", "--workers", []),
        (["--workers", "0"], "RecipeError", "at least 1", [("num", None, "--workers")]),
    ],
)
def test_a_wrong_command_is_json_too(
    source: Path, capsys: Any, flags: list[str], kind: str, message: str, settings: list[tuple[str, Any, str]]
) -> None:
    code, found, err = run(capsys, "convert", source, source.parent / "out", *FLAGS, *flags)
    error = found["error"]
    assert (code, error["type"], found["quarantined"], err) == (2, kind, [], "")
    assert error["settings"] == [setting(*one) for one in settings]
    assert message in error["message"]


def test_an_error_says_what_it_got_and_what_there_is(source: Path, capsys: Any) -> None:
    code, found, _ = run(capsys, "convert", source, source.parent / "out", *FLAGS, "--camera", "top=tip")
    error = found["error"]
    assert (code, error["got"], error["known"]) == (1, "tip", ["top"])
    assert (error["where"]["dataset"], error["where"]["camera"]) == (str(source), "tip")


def test_a_recipes_problems_each_have_file_and_line(source: Path, tmp_path: Path, capsys: Any) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"robot: alohaa\nsources:\n  - path: {source}\n    episodes: 99\n")
    code, found, _ = run(capsys, "convert", "--recipe", recipe, tmp_path / "out", "--json")
    places = [(problem["where"]["file"], problem["where"]["line"]) for problem in found["error"]["problems"]]
    assert (code, places) == (2, [(str(recipe), 1), (str(recipe), 4)])
    robot, episodes = found["error"]["problems"]
    assert "aloha" in robot["known"]
    assert robot["remedy"] == "Or give the path of a .yaml file."
    assert (episodes["got"], episodes["expected"]) == (99, f"at most {len(LENGTHS) - 1}")
    (named,) = episodes["settings"]
    assert (named["name"], named["key"], named["place"]) == ("episodes", "episodes: 99", f"{recipe}:4")


def test_a_failed_episode_of_a_recipe_names_keys_of_its_file(source: Path, tmp_path: Path, capsys: Any) -> None:
    next(source.rglob("*episode_000001.mp4")).unlink()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"robot: aloha\nimage_size: 32\nsources:\n  - path: {source}\n")
    code, found, _ = run(capsys, "convert", "--recipe", recipe, tmp_path / "out", "--local", "--json")
    (problem,) = found["error"]["problems"]
    assert (code, problem["remedy"]) == (1, "to do without this camera, pass without_cameras: [top]")
    assert problem["settings"][0]["place"] is None
    code, found, _ = run(capsys, "convert", "--recipe", recipe, tmp_path / "out", "--json", "--holdout", "1.5")
    (wrong,) = found["error"]["problems"]  # the flag is wrong, not the file
    assert (code, wrong["where"]["file"], wrong["settings"]) == (2, None, [setting("holdout", None, "--holdout")])
    assert wrong["message"].startswith("--holdout: a share of the episodes lies between 0 and 1")
    line = json.loads((tmp_path / "out/quarantine.jsonl").read_text())
    assert line["remedy"] == "to do without this camera, pass without_cameras=['top']"


def test_inspect_and_validate_print_errors_as_json(source: Path, capsys: Any) -> None:
    code, found, err = run(capsys, "inspect", source, "--json", "--episodes", "99")
    assert (code, found["error"]["where"]["episode"], err) == (2, 99, "")
    assert found["error"]["message"].startswith("--episodes 99: ")
    code, report, _ = run(capsys, "validate", source / "nowhere", "--json")
    assert (code, report["is_valid"]) == (1, False)
    code, found, _ = run(capsys, "inspect", source, "--json", "--sheet", source / "sheet.jpg")
    assert (code, found["error"]["remedy"]) == (2, f"name it {source / 'sheet.png'}")
    for command in ("inspect", "validate"):
        code, found, err = run(capsys, command, source, "--json", "--stric")
        error = found["error"]
        assert (code, error["got"], error["remedy"], err) == (2, "--stric", "Did you mean --strict?", "")
    code, found, err = run(capsys, "validate", source, "--json", "--video-backend", "none")
    assert (code, err) == (2, "")
    assert "--video-backend" in found["error"]["message"]
    assert not set(BOX) - {" "} & set(found["error"]["message"])


def test_report_and_robots_new_print_what_they_wrote(source: Path, tmp_path: Path, capsys: Any) -> None:
    page, robot = tmp_path / "page.html", tmp_path / "mine.yaml"
    code, found, _ = run(capsys, "report", source, "--out", page, "--json")
    assert (code, found["report"], page.is_file()) == (0, str(page), True)
    words = ("robots", "new", "--from", source, "--out", robot, "--json")
    code, found, _ = run(capsys, *words)
    assert (code, found["robot"], robot.is_file()) == (0, str(robot), True)
    assert any("millrace convert" in line for line in found["lines"])
    code, found, _ = run(capsys, *words)
    assert (code, found["error"]["type"]) == (2, "OutputExists")


def test_a_pipeline_prints_its_steps_and_nothing_of_what_they_print(source: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "steps.yaml"
    recipe = {"robot": "aloha", "image_size": 32, "sources": [{"path": str(source)}]}
    file.write_text(json.dumps({"convert": {"recipe": recipe, "out": str(tmp_path / "out"), "local": True}}))
    for was_done in (False, True):
        code, found, err = run(capsys, "pipeline", file, "--json")
        (step,) = found["steps"]
        assert (code, step["name"], step["was_done"], found["problems"]) == (0, "convert", was_done, [])
        assert str(tmp_path / "out") in err


def test_finetune_prints_what_is_wrong_with_a_run(tmp_path: Path, capsys: Any) -> None:
    base, out = write_base(tmp_path / "base"), tmp_path / "run"
    words = ("finetune", tmp_path / "none", "--base-model-path", base, "--output-dir", out, "--num-gpus", "9")
    code, found, err = run(capsys, *words, "--json")
    assert (code, found["is_valid"], found["plan"], found["run"]) == (1, False, None, None)
    assert {"gpus", "dataset-missing"} <= {
        problem["code"] for problem in found["problems"] if problem["severity"] == "error"
    }
    assert "dataset-missing" in err
    assert not out.exists()
    code, found, _ = run(capsys, *words, "--json", "--mix", "0.5", "0.5")
    assert (code, found["error"]["type"]) == (2, "SettingsError")


def test_evaluate_and_serve_print_errors_as_json(aloha_gr1: Path, tmp_path: Path, capsys: Any) -> None:
    for words in (("--json",), ("--json", "-"), ("--json", "--cpu"), ("--json=-",)):
        code, found, err = run(capsys, "evaluate", tmp_path / "none", aloha_gr1, *words)
        assert (code, err, found["quarantined"]) == (2, "", [])
    assert cli.main(["evaluate", "--json", str(tmp_path), str(tmp_path / "none"), str(aloha_gr1)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("pass --json - to print JSON")) == ("", 1)
    code, found, err = run(capsys, "serve", tmp_path / "none", "--json")
    assert (code, err) == (2, "")
    assert str(tmp_path / "none") in found["error"]["message"]
    code, found, _ = run(capsys, "evaluate", "--json", "--num-gpu", "1")
    assert (code, found["error"]["got"]) == (2, "--num-gpu")


def test_a_server_is_described_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_TOKEN", "3f9a7c")
    plain = ServeSettings(checkpoint="c").describe("tcp://127.0.0.1:5555", "new_embodiment")
    assert plain == {
        "address": "tcp://127.0.0.1:5555",
        "checkpoint": "c",
        "embodiment_tag": "NEW_EMBODIMENT",
        "robot": None,
        "needs_token": False,
    }
    told = ServeSettings(checkpoint="c", robot="aloha", api_token_env="POLICY_TOKEN").describe("tcp://[::1]:1", "gr1")
    assert (told["robot"], told["needs_token"]) == ("aloha", True)
    assert "3f9a7c" not in json.dumps(told)


def test_only_json_is_on_standard_output_whoever_prints(tmp_path: Path) -> None:
    """Below Python, too, and by processes that are started meanwhile."""
    script = """if True:
    import json, os, subprocess, sys
    from millrace.commands.json_stdout import keep_stdout
    with keep_stdout(True) as stdout:
        print("of Python")
        os.write(1, b"of C\\n")
        subprocess.run(["echo", "of a process"], check=True)
        print(json.dumps({"listening": 1}), file=stdout, flush=True)
    print(json.dumps({"end": 2}))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"listening": 1}, {"end": 2}]
    assert sorted(done.stderr.splitlines()) == ["of C", "of Python", "of a process"]


def test_the_example_of_the_docs_has_this_form() -> None:
    page = (REPOSITORY / "docs" / "what-can-go-wrong.md").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(page.split("```json\n")[1].split("```")[0]), SCHEMA)


def test_numbers_that_are_not_finite_are_null() -> None:
    numbers = {"a": float("nan"), "b": [float("-inf"), 1.5]}
    assert json.loads(to_json_text(numbers), parse_constant=pytest.fail) == {"a": None, "b": [None, 1.5]}
    error = MillraceError("a wrong number", got=float("nan"), expected=[float("inf")])
    found = json.loads(error_to_json(error), parse_constant=pytest.fail)["error"]
    assert (found["got"], found["expected"]) == ("nan", ["inf"])


@pytest.mark.parametrize(
    ("words", "command", "asks"),
    [
        ([], Robots, False),
        (["--json"], Robots, True),
        (["--json", "list"], Robots, True),
        (["--json"], Evaluate, True),
        (["--json", "scores.json"], Evaluate, False),
        (["--json=-"], Evaluate, True),
    ],
)
def test_a_command_line_asks_for_json_or_not(words: list[str], command: type, asks: bool) -> None:
    assert asks_for_json(words, command) is asks
