"""`python -m fuzzing`: try many mutants of every layout, or of one, and say how they ended."""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from fuzzing.campaign import Campaign, fight
from fuzzing.seeds import SEEDS

PROGRESS_SECONDS = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries others")
    parser.add_argument("--layout", choices=SEEDS, action="append", help="of these alone")
    parser.add_argument("--folder", type=Path, help="where datasets are damaged; a folder in memory is fastest")
    parser.add_argument("--json", action="store_true", help="print what a program reads")
    wanted = parser.parse_args()
    layouts = wanted.layout or list(SEEDS)
    progress = _Progress(wanted.count, is_silent=wanted.json)
    campaigns = []
    for number, layout in enumerate(layouts):
        num_mutants = wanted.count // len(layouts) + (number < wanted.count % len(layouts))
        with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
            campaign = fight(layout, Path(folder), num_mutants=num_mutants, seed=wanted.seed, on_mutant=progress.tell)
        campaigns.append(campaign)
        progress.num_before += campaign.num_mutants
        print(campaign.to_json() if wanted.json else campaign, flush=True)
    if not wanted.json:
        _sum_up(campaigns)
    return 1 if any(campaign.failures for campaign in campaigns) else 0


@dataclass
class _Progress:
    """Says now and then how far it is, and of each failure at once."""

    num_all: int
    is_silent: bool
    num_before: int = 0

    def __post_init__(self) -> None:
        self.started = self.last = monotonic()

    def tell(self, campaign: Campaign, failure: str | None) -> None:
        """Told after each mutant how its campaign stands, and what was wrong with it."""
        if self.is_silent:
            return
        if failure is not None:
            print(f"FAILED {campaign.layout}: {failure}\n", flush=True)
        now = monotonic()
        if now - self.last >= PROGRESS_SECONDS:
            self.last = now
            num_tried = self.num_before + campaign.num_mutants
            rate = num_tried / (now - self.started)
            minutes = (self.num_all - num_tried) / rate / 60
            print(f"{num_tried} of {self.num_all}, {rate:.1f} a second, {minutes:.0f} minutes left", flush=True)


def _sum_up(campaigns: list[Campaign]) -> None:
    """All layouts, a line each, and their sum."""
    print("\n".join(["", *map(str, campaigns)]))
    ends = sum((campaign.ends for campaign in campaigns), Counter[str]())
    num_failures = sum(len(campaign.failures) for campaign in campaigns)
    print(f"all: {ends.total()} mutants, {num_failures} ended as none may, {dict(ends)}")


if __name__ == "__main__":
    sys.exit(main())
