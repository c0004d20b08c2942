"""The session on a machine with a GPU: no part costs another, and the summary is there whatever happens."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_session, gpu_wheels
from benchmarks.gpu_session import PARTS, TOTAL_SECONDS, Part, run_session
from conftest import REPOSITORY

SAYS = "print('2 passed, 1 skipped in 0.1s')"
NOTHING = "print('3 skipped in 0.1s')"
BREAKS = "raise SystemExit('no such codec')"
HANGS = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


def part(name: str, program: str, limit_seconds: float = 30.0, **settings: Any) -> Part:
    return Part(name, ("{python}", "-c", program), limit_seconds, **{"needs": (), **settings})


def summary(out: Path) -> Any:
    return json.loads((out / "session.json").read_text())


def test_a_part_that_fails_hangs_or_lacks_something_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        part("breaks", BREAKS),
        part("hangs", HANGS, 0.5),
        part("lacks", SAYS, needs=("gpu",)),
        part("has nothing", NOTHING),
        part("works", SAYS),
    ]
    run_session(parts, tmp_path / "out", lacks={"gpu": "no card"}, environment=os.environ, total_seconds=60)
    found = {outcome["name"]: (outcome["status"], outcome["said"]) for outcome in summary(tmp_path / "out")["parts"]}
    assert found == {
        "breaks": ("failed", "no such codec"),
        "hangs": ("late", "ended after 0 s; it said nothing"),
        "lacks": ("skipped", "no card"),
        "has nothing": ("skipped", "3 skipped in 0.1s"),
        "works": ("ok", "2 passed, 1 skipped in 0.1s"),
    }
    assert summary(tmp_path / "out")["is_complete"]
    assert len(capsys.readouterr().out.splitlines()) == len(parts)


def test_the_summary_of_an_ended_session_has_what_was_found_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(line: object, **_: object) -> None:
        if "second" in str(line):
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", stop)
    parts = [part(name, SAYS) for name in ("first", "second", "third")]
    with pytest.raises(KeyboardInterrupt):
        run_session(parts, tmp_path / "out", lacks={}, environment=os.environ, total_seconds=60)
    assert not summary(tmp_path / "out")["is_complete"]
    assert [outcome["name"] for outcome in summary(tmp_path / "out")["parts"]] == ["first", "second"]


def test_no_part_starts_when_the_time_is_over(tmp_path: Path) -> None:
    outcomes = run_session([part("late", SAYS)], tmp_path / "out", lacks={}, environment=os.environ, total_seconds=0.1)
    assert [(outcome.status, outcome.said) for outcome in outcomes] == [("skipped", "no time is left")]


def test_without_a_gpu_the_parts_that_need_one_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_session, "PARTS", [one for one in PARTS if "gpu" in one.needs])
    assert gpu_session.main(["--out", str(tmp_path / "out")]) == 0
    found = summary(tmp_path / "out/parts")["parts"]
    assert {(outcome["status"], outcome["said"].split(";")[0]) for outcome in found} == {
        ("skipped", "nvidia-smi names no NVIDIA GPU")
    }


def test_every_part_is_a_test_or_module_that_exists() -> None:
    words = [word for one in PARTS for word in one.words]
    assert all((REPOSITORY / word).is_file() for word in words if word.startswith("tests/"))
    modules = [one.words[2] for one in PARTS if one.words[2].startswith("benchmarks.")]
    assert all((REPOSITORY / f"{module.replace('.', '/')}.py").is_file() for module in modules)
    assert TOTAL_SECONDS <= 600


def test_wheels_are_cut_to_parts_and_joined_again(tmp_path: Path) -> None:
    sizes = {"a.whl": 70, "b.whl": 25, "c.whl": 30, "d.whl": 5}
    files = []
    for name, size in sizes.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(os.urandom(size))
    parts = gpu_wheels.deal_out(files, tmp_path / "parts", part_bytes=30)
    assert all(sum(file.stat().st_size for file in folder.iterdir()) <= 30 for folder in parts)
    joined = gpu_wheels.join_pieces(tmp_path / "parts", tmp_path / "joined")
    assert {path.name: path.read_bytes() for path in joined} == {path.name: path.read_bytes() for path in files}


def test_only_the_standard_library_is_needed_to_start() -> None:
    for module in (gpu_session, gpu_wheels):
        source = Path(module.__file__ or "").read_text(encoding="utf-8")
        imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
        assert imported <= sys.stdlib_module_names
