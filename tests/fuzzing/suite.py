"""The mutants that the test-suite tries: some of each seed, in a process of their own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import REPOSITORY
from fuzzing.seeds import SEEDS

# A recipe's mutant takes three times as long as any other; few mutants of pictures change anything.
NUM_MUTANTS = dict.fromkeys(SEEDS, 8) | {"pictures": 20, "v2.1": 16}
# In a test file of their own, as one process runs all tests of a file.
RECORDINGS = ("pictures", "frames", "HDF5", "recordings")
SEED = 20260
MEMORY_DISK = Path("/dev/shm")
MIN_FREE_BYTES = 1 << 30


def check_mutants(layout: str, tmp_path: Path) -> None:
    """Try mutants of a seed; all must end in success or in an error of ours."""
    num_mutants = NUM_MUTANTS[layout]
    with _folder(tmp_path) as folder:
        # A process of its own: it forks, which threads that other tests have started do not bear.
        command = [sys.executable, "-m", "fuzzing", "--json", "--layout", layout]
        command += ["--count", str(num_mutants), "--seed", str(SEED), "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY / "tests", check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failures"], "\n\n".join(found["failures"])
    assert sum(found["ends"].values()) >= num_mutants
    # Damage that changes nothing, or everything, would prove nothing.
    assert found["ends"]["success"] > num_mutants / 20
    assert num_mutants - found["ends"]["success"] > num_mutants / 4


@contextmanager
def _folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that has room: half of a mutant's time is spent on waiting for a disk."""
    if not os.access(MEMORY_DISK, os.W_OK) or shutil.disk_usage(MEMORY_DISK).free < MIN_FREE_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield Path(folder)
