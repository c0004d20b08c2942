"""What a run did, in a few lines: its losses, its best checkpoint, and whether the model waited for data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from millrace.train.heldout import find_best
from millrace.train.run_folder import complete_checkpoints
from millrace.train.train_progress import AnyEvent, Evaluated, MeterReading, Started, read_events

# A model that waits less than this for data would hardly be faster with more loaders.
STARVING = 0.1
FIRST_READINGS = 2  # of a start: loaders fill up
SECONDS_BETWEEN_VERDICTS = 300.0  # while a run goes


@dataclass(frozen=True)
class Loaders:
    """Loader processes of each worker, and the cores that each worker has; None where that is not known."""

    per_worker: int
    cores_per_worker: int | None


def summarize_run(folder: Path, loaders: Loaders) -> list[str]:
    """The lines that a run ends with; empty where it has logged no step."""
    events = read_events(folder)
    readings = latest_by_step(events)
    if not readings:
        return []
    last, lowest = readings[-1], min(readings, key=lambda reading: reading.loss)
    lines = [
        f"{last.step} of {last.max_steps} steps, {timedelta(seconds=round(_seconds(events)))} of training; "
        f"loss {last.loss:.4f} at the end, lowest {lowest.loss:.4f} at step {lowest.step}"
    ]
    best = find_best(complete_checkpoints(folder))
    lines += [] if best is None else best.lines
    return [*lines, judge_waiting(this_start(events), loaders)]


def latest_by_step(events: Sequence[AnyEvent]) -> list[MeterReading]:
    """Readings by step; of a step that was trained again after a restart the later one."""
    found: dict[int, MeterReading] = {}
    for event in events:
        if isinstance(event, Started):
            found = {step: reading for step, reading in found.items() if step <= event.step}
        if isinstance(event, MeterReading):
            found[event.step] = event
    return [found[step] for step in sorted(found)]


def heldout_by_step(events: Sequence[AnyEvent]) -> list[Evaluated]:
    """Evaluations by step, the later one of each."""
    found = {event.step: event for event in events if isinstance(event, Evaluated)}
    return [found[step] for step in sorted(found)]


def this_start(events: Sequence[AnyEvent]) -> list[MeterReading]:
    """Readings since the last start, without the first ones where there are more."""
    starts = [place for place, event in enumerate(events) if isinstance(event, Started)]
    readings = [event for event in events[starts[-1] if starts else 0 :] if isinstance(event, MeterReading)]
    return readings[FIRST_READINGS:] or readings


class WaitingWatch:
    """Judges a run as it goes, some minutes at a time, by the times in its log."""

    def __init__(self, loaders: Loaders) -> None:
        self._loaders, self._since, self._num_skipped = loaders, 0.0, 0
        self._readings: list[MeterReading] = []

    def judge(self, event: AnyEvent) -> str | None:
        """Take the next event; what to do, where the model has waited for data in the last minutes."""
        if isinstance(event, Started):
            self._restart(event.time, num_skipped=FIRST_READINGS)
        if not isinstance(event, MeterReading) or event.step == event.max_steps:  # the summary judges the end
            return None
        self._readings.append(event)
        if event.time - self._since < SECONDS_BETWEEN_VERDICTS:
            return None
        judged = self._readings[self._num_skipped :] or self._readings
        self._restart(event.time, num_skipped=0)
        return judge_waiting(judged, self._loaders) if _mean_wait(judged) >= STARVING else None

    def _restart(self, time: float, *, num_skipped: int) -> None:
        self._readings, self._since, self._num_skipped = [], time, num_skipped


def judge_waiting(readings: Sequence[MeterReading], loaders: Loaders) -> str:
    """Whether the model waited for data, and what to do about it."""
    share = _mean_wait(readings)
    told = f"waiting for data {share:.0%}"
    if share < STARVING:
        return f"{told}: the loaders keep up"
    now, cores = loaders.per_worker, loaders.cores_per_worker
    # A rank that waits for a share w of its time is fed at 1 - w of the speed at which it would train.
    wanted = max(now + 1, math.ceil(max(now, 1) / max(1 - share, 0.05)))
    if cores is not None:
        wanted = min(wanted, cores)
    if wanted > now:
        return f"{told}: raise --dataloader-num-workers to {wanted}"
    return (
        f"{told}, and the {now} loaders of a worker use all of its {cores} cores: train on a machine with more of them"
    )


def _mean_wait(readings: Sequence[MeterReading]) -> float:
    return sum(reading.data_wait_share for reading in readings) / max(len(readings), 1)


def _seconds(events: Sequence[AnyEvent]) -> float:
    """Time in which the steps were trained, pauses between starts left out."""
    total, since = 0.0, None
    for event in events:
        if since is not None and not isinstance(event, Started):
            total += event.time - since
        since = event.time
    return total
