"""`millrace view` writes a recording, and says what it shows and what else it could."""

import json
from pathlib import Path

import pytest

from millrace import cli

pytest.importorskip("rerun")


def test_view_says_what_it_wrote_and_how_to_open_it(
    aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["view", str(aloha_gr1), "--episode", "1", "--save", str(tmp_path / "file.rrd")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/file.rrd: episode 1 of {aloha_gr1}, 13 frames, cameras ego_view, 88 curves",
        "made of episode 1 of 'aloha'; --source DATASET shows that beside it",
        f"open it: rerun {tmp_path}/file.rrd",
    ]


def test_view_in_json_has_the_source(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--episode=2", "--source", str(aloha), "--save", str(tmp_path / "file.rrd"), "--json"]
    assert cli.main(["view", str(aloha_gr1), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source_episode"], found["hint"], found["notes"]) == (2, None, [])


def test_errors_of_view_name_its_flags(aloha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["view", str(aloha), "--episode", "9", "--save", str(tmp_path / "file.rrd")]) == 2
    assert f"--episode 9: {aloha} has no episode 9; it has 3, 0 to 2" in capsys.readouterr().err
    assert cli.main(["view", str(aloha), "--source", str(aloha), "--save", str(tmp_path / "file.rrd")]) == 2
    assert "--source-episode N" in capsys.readouterr().err
