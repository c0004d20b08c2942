"""Run steps one after the other, each once: a record keeps inputs and results."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from millrace.embodiments import Remedy
from millrace.engine.text import format_duration
from millrace.train.errors import SettingsError, TrainError
from millrace.train.whole_file import replace_file


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: Such as "finetune"; no two steps have the same.
        summary: What it does, in a line.
        settings: All that decides what it makes, but for what the steps before it have made.
        run: Runs it, continuing where it was stopped; returns an exit code.
        made: Returns text that identifies what it has made; None while that is not there.
        checks_itself: Run it even where it was done before: it sees changed inputs itself, and else does nothing.
        judge: A line for each thing that is wrong with it, as far as it is known before the steps before it are done.
        is_input: Whether later steps work on what it makes, and so run again where that changes.
        read_inputs: Returns text that identifies inputs which no step makes; None where there are none.
    """

    name: str
    summary: str
    settings: str
    run: Callable[[], int]
    made: Callable[[], str | None]
    checks_itself: bool = False
    judge: Callable[[], Iterable[str]] = lambda: ()
    is_input: bool = True
    read_inputs: Callable[[], str | None] = lambda: None


class Done(BaseModel):
    """A step that was done: a digest of settings and inputs, and what it made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    made: str


_Record = TypeAdapter(dict[str, Done])


def run_steps(steps: Sequence[Step], record: Path, *, tell: Callable[[str], None]) -> int:
    """Do the steps that are not done, in their order.

    Args:
        steps: All of the pipeline.
        record: File of what was done, written after each step.
        tell: Takes a line about each step.

    Returns:
        0, or the exit code of the first step that fails.

    Raises:
        SettingsError: the record is damaged.
        TrainError: a step has ended well and yet made nothing.
    """
    done, inputs = _read(record), ""
    for step in steps:
        key, made = _key(step, inputs), step.made()
        if step.checks_itself or made is None or done.get(step.name) != Done(key=key, made=made):
            tell(f"{step.name}: {step.summary}")
            began = time.monotonic()
            if code := step.run():
                return code
            made = step.made()
            if made is None:
                raise TrainError(f"{step.name} ended, but what it should have made is not there: {step.summary}")
            done[step.name] = Done(key=key, made=made)
            replace_file(record, _Record.dump_json(done, indent=2).decode() + "\n")
            tell(f"{step.name}: finished in {format_duration(time.monotonic() - began)}")
        else:
            tell(f"{step.name}: done before, skipped: {step.summary}")
        inputs += made if step.is_input else ""
    return 0


def review_steps(steps: Sequence[Step], record: Path) -> list[tuple[Step, bool]]:
    """Each step, and whether it is done; steps after one that is not done are not done either.

    Raises:
        SettingsError: the record is damaged.
    """
    done, inputs, is_open = _read(record), "", False
    told = []
    for step in steps:
        made = step.made()
        is_open = is_open or made is None or done.get(step.name) != Done(key=_key(step, inputs), made=made)
        inputs += (made or "") if step.is_input else ""
        told.append((step, not is_open))
    return told


def judge_steps(steps: Sequence[Step], record: Path) -> Iterator[str]:
    """A line for each thing that is wrong with the steps that are not done: known now, not hours later.

    Raises:
        SettingsError: the record is damaged.
    """
    yield from (
        f"{step.name}: {line}" for step, is_done in review_steps(steps, record) if not is_done for line in step.judge()
    )


def _key(step: Step, inputs: str) -> str:
    read = step.read_inputs()
    facts = [step.settings, inputs, *([] if read is None else [read])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(record: Path) -> dict[str, Done]:
    try:
        return _Record.validate_json(record.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        advice = Remedy("delete it, and every step is done or looked at again")
        raise SettingsError(f"{record} is damaged; ", advice, file=record) from error
