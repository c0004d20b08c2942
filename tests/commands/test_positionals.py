"""Flags may stand before, between and behind what a command works on, in every version of tyro that is allowed."""

from pathlib import Path
from typing import Any

import pytest

from millrace import cli
from millrace.commands.convert import Convert
from millrace.commands.evaluate import Evaluate
from millrace.commands.finetune import Finetune
from millrace.commands.positionals import move_positionals_first


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
        (Convert, "IN --task --odd OUT", "IN OUT --task --odd"),
        (Convert, "--recipe FILE OUT", "OUT --recipe FILE"),
        (Convert, "IN --no-such 3 OUT", "IN OUT --no-such 3"),
        (Convert, "IN --local -- --odd", "IN --local -- --odd"),
        (Evaluate, "A --num-gpus 0 B --cpu C", "A B C --num-gpus 0 --cpu"),
        (Evaluate, "A --import-module x.py B", "A B --import-module x.py"),
        (Finetune, "A --no-tune-llm B --mix 0.3 0.7", "A B --no-tune-llm --mix 0.3 0.7"),
        (Finetune, "A --color-jitter-params hue 0.1 --seed -1 B", "A B --color-jitter-params hue 0.1 --seed -1"),
    ],
)
def test_flags_come_last_with_their_values(command: type, typed: str, expected: str) -> None:
    assert move_positionals_first(typed.split(), command) == expected.split()


def test_a_flag_between_source_and_out_is_understood(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    words = [str(aloha), "--map", "aloha_to_gr1", str(tmp_path / "out"), "--dry-run", "--local"]
    assert cli.main(["convert", *words]) == 0
    assert "dry run: nothing was written" in capsys.readouterr().out
