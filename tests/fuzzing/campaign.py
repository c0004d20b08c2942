"""Many mutants of one seed, one after the other, and how each ended."""

import gc
import json
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

import hypothesis
from hypothesis import HealthCheck, Phase, given

from fuzzing.mutants import Mutant, mutants
from fuzzing.sandbox import Outcome, import_all, prepare, run, unchanged
from fuzzing.seeds import OUT, SEEDS, SOURCE
from millrace.cli import main
from millrace.engine.layout import META
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.robot_guess import load_shipped

# What no user should ever read.
FAULTS = ("Traceback", "internal error", "MemoryError", "Warning:", "Error: <", "forbidden:", "object at 0x")
MAX_CHANGED_BYTES = 16 << 20
ENDS = {0: "success", 1: "error in the data", 2: "error in command, map or recipe"}
NONE_MAY = "as none may"


@dataclass
class Campaign:
    """Counts by outcome, the mutants that ended as none may, and the most that one of them took.

    seconds: of all of them. cpu_seconds, num_bytes: of the slowest and of the largest.
    """

    layout: str
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    num_bytes: int = 0

    @property
    def num_mutants(self) -> int:
        """All that were tried."""
        return self.ends.total()

    def to_json(self) -> str:
        """As the process that ran it hands it on."""
        return json.dumps(vars(self))

    def __str__(self) -> str:
        most = f"at most {self.cpu_seconds:.1f} s of CPU time and {self.num_bytes / 1e6:.0f} MB resident"
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.layout}: {self.num_mutants} mutants in {self.seconds:.0f} s: {ends}; {most}"


def fight(
    layout: str,
    folder: Path,
    *,
    num_mutants: int,
    seed: int,
    on_mutant: Callable[[Campaign, str | None], None],
) -> Campaign:
    """Try mutants of a seed; the same numbers try the same ones.

    Args:
        layout: A key of SEEDS.
        folder: Empty, for everything that is written.
        num_mutants: How many.
        seed: Of the random choices.
        on_mutant: Told after each mutant how it stands, and why that one failed, if it did.
    """
    campaign = Campaign(layout)
    whole = folder / "whole"
    whole.mkdir()
    import_all(prepare(partial(_write_and_try, layout, whole)))
    load_shipped()  # once for all children
    gc.freeze()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=num_mutants,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutants(whole, SEEDS[layout]))
    def try_one(mutant: Mutant) -> None:
        failure = _try(mutant, whole, folder / "trial", campaign)
        campaign.seconds = perf_counter() - started
        on_mutant(campaign, failure)

    started = perf_counter()
    try_one()
    return campaign


def _write_and_try(layout: str, whole: Path) -> None:
    """Write the seed; its commands must succeed before it is damaged."""
    SEEDS[layout].write(whole)
    for number, command in enumerate(dict.fromkeys(SEEDS[layout].commands)):
        code = main(_arguments(command, whole, whole.with_name(f"undamaged_{number}")))
        assert code == 0, f"{layout}, {command}: exit code {code}"


def _arguments(command: tuple[str, ...], source: Path, out: Path) -> list[str]:
    return [word.replace(SOURCE, str(source)).replace(OUT, str(out)) for word in command]


def _try(mutant: Mutant, whole: Path, trial: Path, campaign: Campaign) -> str | None:
    """Try a mutant; why it failed, if it did."""
    shutil.rmtree(trial, ignore_errors=True)
    source, out = trial / "source", trial / "out"
    shutil.copytree(whole, source)
    for change in mutant.changes:
        if all(map(_is_small_file, change.files(source))):
            with suppress(ValueError, OSError, LookupError):  # the first of two may have left no JSON, no table, no box
                change.apply(source)
    arguments = _arguments(mutant.command, source, out)
    with unchanged(source) as changed:
        outcome = run(arguments, trial, source=source, out=out)
    wrong = _wrong(outcome, out, arguments) or (f"changed {changed[0]}" if changed else None)
    campaign.ends[ENDS[outcome.code] if wrong is None and outcome.code in ENDS else NONE_MAY] += 1
    campaign.cpu_seconds = max(campaign.cpu_seconds, outcome.cpu_seconds)
    campaign.num_bytes = max(campaign.num_bytes, outcome.num_bytes)
    if wrong is None:
        return None
    failure = f"{wrong}\n  {mutant}\n  exit code {outcome.code}: {outcome.stderr[-600:]}"
    campaign.failures.append(failure)
    return failure


def _is_small_file(path: Path) -> bool:
    """Whether a second change may open what the first has left: neither a pipe nor a file without end."""
    state = path.lstat() if path.exists() else None
    return state is not None and stat.S_ISREG(state.st_mode) and state.st_size < MAX_CHANGED_BYTES


def _wrong(outcome: Outcome, out: Path, arguments: list[str]) -> str | None:
    """Why a command must not end like this; None where it may."""
    if outcome.code is None:
        return "hung"
    if outcome.code not in ENDS:
        return f"ended with {outcome.code}"
    printed = outcome.stdout + outcome.stderr
    if fault := next((fault for fault in FAULTS if fault in printed), None):
        return f"printed {fault!r}"
    if any(not (char.isprintable() or char == "\n") for char in printed):
        return "printed a control character"
    # validate and inspect report on what they cannot read, on standard output.
    said = printed if arguments[0] in ("validate", "inspect") else outcome.stderr
    if outcome.code and not said.strip():
        return "failed without a word"
    # Each dataset of a run with held-out episodes is finished, or not, by itself.
    folders = [folder for folder in (out, heldout_folder(out)) if folder.is_dir()] or [out]
    is_finished = all((folder / META).is_dir() for folder in folders)
    if arguments[0] == "convert" and (outcome.code == 0) != is_finished:
        return "left meta/ of a failed run, or none of a finished one"
    return None
