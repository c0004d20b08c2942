"""--json: what a command did, or why it did not, for scripts; nothing else stands on standard output."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import LENGTHS
from millrace import cli
from support.synthetic import write_dataset

FLAGS = ["--robot", "aloha", "--image-size", "32", "--local", "--json"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", lengths=LENGTHS, cameras=("top",))
    return tmp_path / "data"


def run(capsys: Any, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON on standard output, and standard error."""
    code = cli.main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, json.loads(shown.out), shown.err


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
    where = {"dataset": str(source), "episode": 1, "camera": "top", "file": None, "line": None}
    assert error["problems"][0]["where"] == where
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
        (["--fps", "60"], "CannotUpsample", "or --fps source", {"fps": "source"}),
        (["--gop", "0"], "RecipeError", "--gop: Input", {"gop": None}),
        (["--nonsense"], "RecipeError", "--nonsense", {}),
    ],
)
def test_a_wrong_command_is_json_too(
    source: Path, capsys: Any, flags: list[str], kind: str, message: str, settings: dict[str, Any]
) -> None:
    code, found, err = run(capsys, "convert", source, source.parent / "out", *FLAGS, *flags)
    error = found["error"]
    assert (code, error["type"], error["settings"], found["quarantined"], err) == (2, kind, settings, [], "")
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
    assert "aloha" in found["error"]["problems"][0]["known"]


def test_inspect_and_validate_print_errors_as_json(source: Path, capsys: Any) -> None:
    code, found, err = run(capsys, "inspect", source, "--json", "--episodes", "99")
    assert (code, found["error"]["where"]["episode"], err) == (2, 99, "")
    assert found["error"]["message"].startswith("--episodes 99: ")
    code, report, _ = run(capsys, "validate", source / "nowhere", "--json")
    assert (code, report["is_valid"]) == (1, False)
    code, found, _ = run(capsys, "inspect", source, "--json", "--sheet", source / "sheet.jpg")
    assert (code, found["error"]["type"]) == (2, "RecipeError")
