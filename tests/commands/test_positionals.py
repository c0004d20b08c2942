"""Flags may stand before, between and behind what a command works on, in every version of tyro that is allowed."""

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from millrace import cli
from millrace.commands.convert import Convert
from millrace.commands.evaluate import Evaluate
from millrace.commands.finetune import Finetune
from millrace.commands.inspect import Inspect
from millrace.commands.positionals import move_positionals_first

# What a command does not go without.
NEEDED = {
    "inspect": ("DATASET",),
    "report": ("DATASET",),
    "validate": ("DATASET",),
    "view": ("DATASET",),
    "groot-view": ("DATASET", "OUT"),
    "finetune": ("DATASET", "--base-model-path", "MODEL"),
    "evaluate": ("CHECKPOINT", "DATASET"),
    "serve": ("CHECKPOINT",),
    "rollout": ("--env", "ENV", "--policy", "POLICY"),
    "pipeline": ("FILE.yaml",),
    "upload": ("FOLDER", "org/name"),
}


@pytest.mark.parametrize(
    ("command", "typed", "expected"),
    [
        (Convert, "IN OUT --fps 10", "IN OUT --fps 10"),
        (Convert, "IN --fps 10 OUT", "IN OUT --fps 10"),
        (Convert, "--fps 10 IN --local OUT", "IN OUT --fps 10 --local"),
        (Convert, "IN --fps=10 OUT --image_size 64", "IN OUT --fps=10 --image_size 64"),
        (Convert, "IN OUT --camera a=b c=d --task x", "IN OUT --camera a=b c=d --task x"),
        (Convert, "--camera a=b IN OUT", "IN OUT --camera a=b"),
        (Convert, "--camera a=b -wrist IN OUT --fps 3", "IN OUT --camera a=b wrist= --fps 3"),
        (Convert, "IN --task --odd OUT", "IN OUT --task=--odd"),
        (Convert, "IN --episodes -3: OUT", "IN OUT --episodes=-3:"),
        (Convert, "--recipe FILE OUT", "OUT --recipe FILE"),
        (Convert, "IN --no-such 3 OUT", "IN OUT --no-such 3"),
        (Convert, "IN --local -- --odd", "IN --local -- --odd"),
        (Evaluate, "A --num-gpus 0 B --cpu C", "A B C --num-gpus 0 --cpu"),
        (Evaluate, "A --import-module x.py B", "A B --import-module x.py"),
        (Finetune, "A --no-tune-llm B --mix 0.3 0.7", "A B --mix 0.3 0.7 --no-tune-llm"),
        (Finetune, "A --use-wandb True --tune_llm false B", "A B --use-wandb --no-tune-llm"),
        (Finetune, "--dataset-path A B --use-wandb=TRUE", "--dataset-path A B --use-wandb"),
        (Finetune, "A --cpu --seed 1 --cpu False --tune-llm --no-tune-llm", "A --seed 1 --no-cpu --no-tune-llm"),
        (Finetune, "A --use-wandb ./True B", "A ./True B --use-wandb"),
        (Finetune, "A --no-use-percentiles B", "A B --use-percentiles False"),
        (Finetune, "A --use-percentiles true B", "A B --use-percentiles True"),
        (Evaluate, "A B --json", "A B --json=-"),
        (Evaluate, "A B --json - --cpu", "A B --json=- --cpu"),
        (Evaluate, "A B --json --cpu --num-gpus 0", "A B --json=- --num-gpus 0 --cpu"),
        (Evaluate, "--json scores.json A B", "A B --json scores.json"),
        (Evaluate, "A --json=scores.json B", "A B --json=scores.json"),
        (Inspect, "--strict A", "A --strict=warning"),
        (Inspect, "--strict error A --html x.html", "A --strict error --html x.html"),
        (Inspect, "A --strict", "A --strict=warning"),
        (Inspect, "A --strict=error", "A --strict=error"),
        (Finetune, "A --tune-llm -- False", "A --tune-llm -- False"),
        (Finetune, "A --color-jitter-params hue 0.1 --seed -1 B", "A B --color-jitter-params hue 0.1 --seed=-1"),
    ],
)
def test_flags_come_last_with_their_values(command: type, typed: str, expected: str) -> None:
    assert move_positionals_first(typed.split(), command) == expected.split()


def switches_of(command: type) -> list[str]:
    hints = get_type_hints(command)
    return [field.name for field in dataclasses.fields(command) if hints[field.name] in (bool, bool | None)]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_switch_takes_true_and_false_as_the_guides_write_them(name: str) -> None:
    switches = switches_of(cli.COMMANDS[name])
    assert switches

    def read(*written: str) -> set[bool]:
        """What all switches of the command are read as, where each is written so."""
        flags = [(switch, switch.replace("_", "-")) for switch in switches]
        words = [word.format(plain=plain, flag=f"--{flag}") for plain, flag in flags for word in written]
        command = cli._parse([name, *NEEDED.get(name, ()), *words])
        return {getattr(command, switch) for switch in switches}

    assert read("{flag}") == read("{flag}", "True") == read("{flag}=true") == read("--{plain}", "TRUE") == {True}
    assert read("{flag}", "False") == read("{flag}=false") == read("{flag}", "{flag}", "False") == {False}


def test_the_word_after_a_switch_is_no_dataset() -> None:
    found = cli._parse(["finetune", "A", "--use-wandb", "True", "B", "--base-model-path", "M", "--tune-llm", "False"])
    assert [path.name for path in found.datasets] == ["A", "B"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--use-wandb", "1"), "--use-wandb takes no value, such as '1': write --use-wandb, or --no-use-wandb; "),
        (("--tune_llm=maybe",), "--tune_llm takes no value, such as 'maybe': write --tune-llm, or --no-tune-llm"),
        (("--no-tune-llm", "True"), "--no-tune-llm takes no value, such as 'True': write --tune-llm, or --no-tune-llm"),
        (("--dry-run", "off"), "'off': write --dry-run, or leave it out; a folder of that name is ./off"),
    ],
)
def test_another_value_of_a_switch_is_an_error_that_says_what_to_write(
    words: tuple[str, ...], told: str, capsys: Any
) -> None:
    assert cli.main(["finetune", "A", "--base-model-path", "M", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_flag_between_source_and_out_is_understood(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    words = [str(aloha), "--map", "aloha_to_gr1", str(tmp_path / "out"), "--dry-run", "--local"]
    assert cli.main(["convert", *words]) == 0
    assert "dry run: nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("convert a b --workers x", "--workers takes a whole number, not 'x'"),
        ("convert a b --gpu-share=x", "--gpu-share takes a number, not 'x'"),
        ("convert a b --device gpu", "--device takes auto, cpu or cuda, not 'gpu'"),
        ("convert a b --fps", "--fps needs a value: `millrace convert --help` lists all that it takes"),
        ("convert a b c", "millrace convert takes SOURCE OUT; 'c' is one word more: "),
        ("convert a b -x", "-x is not a flag of `millrace convert`: "),
        ("convert --recipe r out --task-all text", "--task-all takes no value, such as 'text': write --task 'text' "),
        ("inspect", "millrace inspect needs DATASET: "),
        ("upload a", "millrace upload needs ORG/NAME: "),
        ("finetune a", "millrace finetune needs --base-model-path: "),
        ("finetune a --base-model-path m --mix a b", "--mix takes a number, or several, not 'a b'"),
        ("finetune a --base-model-path m --weights a", "--weights takes pairs of a name and a number, not 'a'"),
        ("robots foo", "list|new takes list or new, not 'foo'"),
    ],
)
def test_a_refused_value_is_one_line_that_says_what_is_taken(words: str, told: str, capsys: Any) -> None:
    assert cli.main(words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)
