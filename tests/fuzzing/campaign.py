"""Many mutants of one seed, one after the other, and how each ended."""

import gc
import json
import shutil
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

import hypothesis
from hypothesis import HealthCheck, Phase, given

from engine.layout import META
from engine.planning.holdout import heldout_folder
from fuzzing.mutants import Mutant, mutants
from fuzzing.sandbox import Outcome, import_all, prepare, run, unchanged
from fuzzing.seeds import OUT, SEEDS, SOURCE
from millrace import main

# What no user should ever read.
FAULTS = ("Traceback", "internal error", "Warning:", "Error: <", "forbidden:", "object at 0x")
MAX_CHANGED_BYTES = 16 << 20
ENDS = {0: "success", 1: "error in the data", 2: "error in command, map or recipe"}


@dataclass
class Campaign:
    """Counts by outcome, and the mutants that ended as none may."""

    layout: str
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def num_mutants(self) -> int:
        """All that were tried."""
        return self.ends.total()

    def to_json(self) -> str:
        """As the process that ran it hands it on."""
        return json.dumps({"layout": self.layout, "ends": self.ends, "failures": self.failures, "s": self.seconds})


def fight(layout: str, folder: Path, *, num_mutants: int, seed: int) -> Campaign:
    """Try mutants of a seed; the same numbers try the same ones.

    Args:
        layout: A key of SEEDS.
        folder: Empty, for everything that is written.
        num_mutants: How many.
        seed: Of the random choices.
    """
    campaign = Campaign(layout)
    whole = folder / "whole"
    whole.mkdir()
    import_all(prepare(partial(_write_and_try, layout, whole)))
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
        _try(mutant, whole, folder / "trial", campaign)

    started = perf_counter()
    try_one()
    campaign.seconds = perf_counter() - started
    return campaign


def _write_and_try(layout: str, whole: Path) -> None:
    """Write the seed; its commands must succeed before it is damaged."""
    SEEDS[layout].write(whole)
    for number, command in enumerate(dict.fromkeys(SEEDS[layout].commands)):
        code = main(_arguments(command, whole, whole.with_name(f"undamaged_{number}")))
        assert code == 0, f"{layout}, {command}: exit code {code}"


def _arguments(command: tuple[str, ...], source: Path, out: Path) -> list[str]:
    return [word.replace(SOURCE, str(source)).replace(OUT, str(out)) for word in command]


def _try(mutant: Mutant, whole: Path, trial: Path, campaign: Campaign) -> None:
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
    campaign.ends["as none may" if wrong else ENDS[outcome.code]] += 1
    if wrong is not None:
        campaign.failures.append(f"{wrong}\n  {mutant}\n  exit code {outcome.code}: {outcome.stderr[-600:]}")


def _is_small_file(path: Path) -> bool:
    """Whether a second change may open what the first has left: neither a pipe nor a file without end."""
    state = path.lstat() if path.exists() else None
    return state is not None and stat.S_ISREG(state.st_mode) and state.st_size < MAX_CHANGED_BYTES


def _wrong(outcome: Outcome, out: Path, arguments: list[str]) -> str | None:
    """Why a command must not end like this; None where it may."""
    if outcome.code not in ENDS:
        return f"ended with {outcome.code}"
    printed = outcome.stdout + outcome.stderr
    if fault := next((fault for fault in FAULTS if fault in printed), None):
        return f"printed {fault!r}"
    if any(not (char.isprintable() or char == "\n") for char in printed):
        return "printed a control character"
    is_judged = arguments[0] == "validate"
    if outcome.code and not is_judged and not outcome.stderr.strip():
        return "failed without a word"
    # Each dataset of a run with held-out episodes is finished, or not, by itself.
    folders = [folder for folder in (out, heldout_folder(out)) if folder.is_dir()] or [out]
    is_finished = all((folder / META).is_dir() for folder in folders)
    if arguments[0] == "convert" and (outcome.code == 0) != is_finished:
        return "left meta/ of a failed run, or none of a finished one"
    return None
