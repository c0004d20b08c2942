"""Whatever is done to a dataset: success or an error of ours, within time and memory, and nothing is touched."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from fuzzing.seeds import SEEDS

NUM_MUTANTS = 300
SEED = 20260


@pytest.mark.parametrize("layout", SEEDS)
def test_every_mutant_ends_in_success_or_in_an_error_of_ours(layout: str, tmp_path: Path) -> None:
    # A process of its own: it forks, which threads that other tests have started do not bear.
    command = [sys.executable, "-m", "fuzzing", "--json", "--layout", layout]
    command += ["--count", str(NUM_MUTANTS), "--seed", str(SEED), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY / "tests", check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failures"], "\n\n".join(found["failures"])
    assert sum(found["ends"].values()) >= NUM_MUTANTS
    # Damage that changes nothing, or everything, would prove nothing.
    assert found["ends"]["success"] > NUM_MUTANTS / 20
    assert NUM_MUTANTS - found["ends"]["success"] > NUM_MUTANTS / 4
