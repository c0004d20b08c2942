"""Whatever is done to a dataset: success or an error of ours, within time and memory, and nothing is touched."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from fuzzing.seeds import SEEDS

# A recipe's mutant takes three times as long as any other; of one file's structure a few show most.
NUM_MUTANTS = dict.fromkeys(SEEDS, 60) | {"recipe": 20, "recordings": 20, "HDF5": 12}
SEED = 20260


@pytest.mark.parametrize("layout", SEEDS)
def test_every_mutant_ends_in_success_or_in_an_error_of_ours(layout: str, tmp_path: Path) -> None:
    num_mutants = NUM_MUTANTS[layout]
    # A process of its own: it forks, which threads that other tests have started do not bear.
    command = [sys.executable, "-m", "fuzzing", "--json", "--layout", layout]
    command += ["--count", str(num_mutants), "--seed", str(SEED), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY / "tests", check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failures"], "\n\n".join(found["failures"])
    assert sum(found["ends"].values()) >= num_mutants
    # Damage that changes nothing, or everything, would prove nothing.
    assert found["ends"]["success"] > num_mutants / 20
    assert num_mutants - found["ends"]["success"] > num_mutants / 4
