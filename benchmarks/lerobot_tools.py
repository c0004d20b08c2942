"""CPU seconds of LeRobot's own converter and merge tool, in the Python that has LeRobot 0.4 or later."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Cost

# Runs in LeRobot's Python: argv is a folder of datasets, a and b in v2.1, a_v30 and b_v30 in v3.0. Prints LeRobot's
# version and the CPU and wall seconds of both calls, of the second time that each is made: imports do not count.
TOOLS = """
import json, resource, shutil, sys, time
from importlib.metadata import version
from pathlib import Path
from lerobot.datasets.aggregate import aggregate_datasets
try:
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset
    wants_parent = False
except ImportError:  # LeRobot 0.4, whose root is the folder around the dataset
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset
    wants_parent = True
folder = Path(sys.argv[1])
def cpu():
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
def measure(work):
    for folder_of in ("first", "second"):
        began, started = cpu(), time.perf_counter()
        work(folder_of)
        cost = cpu() - began, time.perf_counter() - started
    return cost
def convert(name):
    for dataset in "ab":
        root = folder / name if wants_parent else folder / name / dataset
        convert_dataset(dataset, root=root, push_to_hub=False)
def merge(name):
    roots = [folder / name / dataset for dataset in ("a_v30", "b_v30")]
    aggregate_datasets(["a", "b"], "merged", roots=roots, aggr_root=folder / name / "merged")
print(json.dumps({"version": version("lerobot"), "merge": measure(merge), "convert": measure(convert)}))
"""


def measure_lerobot(python: Path, datasets: Sequence[Path]) -> dict[str, Cost]:
    """What merging two datasets in v3.0, and converting two from v2.1 to v3.0, cost; by a name with LeRobot's version.

    Args:
        python: Of an environment with LeRobot.
        datasets: Named a, b, a_v30 and b_v30; they are copied.

    Raises:
        SystemExit: LeRobot fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):  # its converter replaces what it converts
            for dataset in datasets:
                shutil.copytree(dataset, Path(folder, name, dataset.name), ignore=shutil.ignore_patterns(".millrace"))
        command = [str(python), "-W", "ignore", "-c", TOOLS, folder]
        environment = {"PATH": "/usr/bin:/bin", "HOME": folder, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmarks/merge.py: LeRobot's tool failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"lerobot {found['version']}, {name}": Cost(*found[name]) for name in ("merge", "convert")}
