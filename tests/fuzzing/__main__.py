"""`python -m fuzzing`: try many mutants of every layout, or of one, and say how they ended."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from fuzzing.campaign import fight
from fuzzing.seeds import SEEDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries others")
    parser.add_argument("--layout", choices=SEEDS, action="append", help="of these alone")
    parser.add_argument("--folder", type=Path, help="where datasets are damaged; a folder in memory is fastest")
    parser.add_argument("--json", action="store_true", help="print what a program reads")
    wanted = parser.parse_args()
    layouts = wanted.layout or list(SEEDS)
    ends: Counter[str] = Counter()
    num_failures = 0
    for layout in layouts:
        with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
            campaign = fight(layout, Path(folder), num_mutants=wanted.count // len(layouts), seed=wanted.seed)
        ends += campaign.ends
        num_failures += len(campaign.failures)
        if wanted.json:
            print(campaign.to_json())
            continue
        for failure in campaign.failures:
            print(f"{layout}: {failure}\n")
        ended = f"{campaign.num_mutants} mutants in {campaign.seconds:.0f} s, {dict(campaign.ends)}"
        print(f"{layout}: {ended}", flush=True)
    if not wanted.json:
        print(f"all: {ends.total()} mutants, {num_failures} ended as none may, {dict(ends)}")
    return 1 if num_failures else 0


if __name__ == "__main__":
    sys.exit(main())
