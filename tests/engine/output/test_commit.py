"""The end of a conversion: all processes of a machine make the same bytes as one."""

import shutil
from pathlib import Path

import pytest

from conftest import files_of, recipe_for
from millrace.engine.convert import plan_conversion
from millrace.engine.layout import META, WORK
from millrace.engine.output import commit as commit_module
from millrace.engine.output.commit import commit
from millrace.engine.output.ledger import Ledger


def test_processes_write_the_bytes_that_one_writes(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "out", plan_conversion(recipe_for(aloha))
    shutil.copytree(aloha_gr1, out)
    shutil.rmtree(out / META)
    scratch = out / WORK / "run-1"
    scratch.mkdir()
    monkeypatch.setattr(commit_module, "EPISODES_A_PROCESS", 1)
    with Ledger(out, plan) as ledger:
        commit(plan, ledger, out, scratch, num_processes=2)
    assert files_of(out) == files_of(aloha_gr1)
