"""Completion in a shell: one script completes every command and its flags."""

import shutil
import subprocess
from pathlib import Path

import pytest

from millrace import cli
from millrace.commands.unknown_flags import list_places


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, as a user writes it to a file."""
    out = tmp_path_factory.mktemp("completion") / "millrace"
    with pytest.raises(SystemExit) as end:
        cli.main(["--tyro-write-completion", "bash", str(out)])
    assert not end.value.code
    return out


def complete(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    run = (
        f"source '{script}'; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); "
        "$(complete -p millrace | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="NOT TESTED: there is no bash here")
def test_bash_completes_commands_and_their_flags(script: Path) -> None:
    assert set(cli.COMMANDS) <= set(complete(script, "millrace", ""))
    assert complete(script, "millrace", "fin") == ["finetune"]
    assert complete(script, "millrace", "finetune", "--base-m") == ["--base-model-path"]
    assert complete(script, "millrace", "convert", "--res") == ["--resample"]


def test_the_script_has_every_flag(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    flags = {flag for command in cli.COMMANDS.values() for flag in list_places(command).values()}
    assert [flag for flag in sorted(flags) if flag.startswith("--") and flag not in text] == []


def test_a_script_for_zsh_is_printed_behind_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", "--tyro-print-completion", "zsh"])
    assert not end.value.code
    shown = capsys.readouterr().out
    assert shown.startswith("#compdef millrace")
    assert "base-model-path" in shown
