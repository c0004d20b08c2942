"""One run of the GPU's benchmark, from the probe to the last table."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.gpu_card import Card, find_card
from benchmarks.gpu_checks import checks
from benchmarks.gpu_children import Failed, apart
from benchmarks.gpu_rates import Patience, attempts
from benchmarks.gpu_report import Checked, Record, Timed, check_table, rate_table
from benchmarks.gpu_runs import RunAttempt, plans, run_attempts, run_table, setup_of
from benchmarks.gpu_works import Setup, Work, published, works
from millrace.commands.doctor import print_diagnosis
from millrace.engine.execution.diagnosis import Diagnosis, auto_choices, diagnose_nodes
from millrace.engine.video.encode import library_versions, x264_version
from millrace.engine.video.gpu.report import GpuReport

# Figures are not cut off where the output is no terminal, or a narrow one.
MIN_WIDTH = 160


@dataclass(frozen=True)
class Wish:
    """How it is done. image_size: of the output's pictures."""

    patience: Patience
    image_size: int


class Benchmark:
    """One run of everything; the record grows as it goes."""

    def __init__(self, wish: Wish, path: Path, folder: Path) -> None:
        self.wish, self.record = wish, Record(path)
        self.console = Console(width=max(Console().width, MIN_WIDTH))
        self.num_cores = len(os.sched_getaffinity(0))
        self.plans = plans(wish.image_size, folder)
        self.setups = {codec: setup_of(plan, folder) for codec, plan in self.plans.items()}

    def run(self) -> None:
        """Probe, check, time."""
        machine = f"{platform.processor() or platform.machine()}, {self.num_cores} cores"
        self.record.note(machine=machine, python=platform.python_version(), seconds=self.wish.patience.seconds)
        report, card = self._probe(), find_card()
        self.record.note(card=asdict(card) if card else None)
        self.console.print(check_table(self._check(report)))
        self.console.print(rate_table(self._time(report, card)))
        self.console.print(run_table(self._convert(report)))
        self.console.print(f"{machine}; {self.wish.patience.seconds:g} s each; {_about(card)}")
        self.record.note(is_complete=True)
        self.console.print(f"all of it: {self.record.path}")

    def _probe(self) -> GpuReport:
        try:
            diagnosis = apart(diagnose_nodes, limit_seconds=self.wish.patience.limit_seconds)
        except Failed as why:
            nodes = (GpuReport(node=platform.node(), missing=(f"the probe failed: {why}",)),)
            auto, libraries = auto_choices(nodes), library_versions()
            diagnosis = Diagnosis(nodes=nodes, auto=auto, libraries=libraries, x264=x264_version())
        self.record.note(diagnosis=diagnosis.model_dump(mode="json"))
        print_diagnosis(diagnosis, self.console)
        if diagnosis.nodes[0].card is None:
            self.console.print("no GPU is in use here: only the CPU is timed; run this script again where one is")
        return diagnosis.nodes[0]

    def _check(self, report: GpuReport) -> list[Checked]:
        checked = []
        for codec, setup in self.setups.items():
            for what, check in checks(setup, codec, report).items():
                self._say(f"check {what}, {codec}")
                try:
                    one = Checked(what, codec, apart(check, limit_seconds=self.wish.patience.limit_seconds))
                except Failed as why:
                    one = Checked(what, codec, problem=str(why))
                checked.append(one)
                self.record.add("checks", asdict(one))
        return checked

    def _time(self, report: GpuReport, card: Card | None) -> list[Timed]:
        timed = []
        for work, setup in all_works(self.setups, report):
            bound = published(work, setup, card) if card else None
            found = []
            for attempt in attempts(work, setup, num_cores=self.num_cores, patience=self.wish.patience):
                told = f"{attempt.rate.frames_per_second:,.0f}/s" if attempt.rate else f"FAILED: {attempt.problem}"
                self._say(f"{work.stage}, {work.where}, {attempt.num_processes} at once: {told}")
                row = {"stage": work.stage, "where": work.where, "transfer_bytes": work.transfer_bytes}
                self.record.add("rates", {**row, **asdict(attempt), "published": asdict(bound) if bound else None})
                found.append(attempt)
            timed.append(Timed(work, bound, found))
        return timed

    def _convert(self, report: GpuReport) -> list[RunAttempt]:
        tried = []
        for codec, plan in self.plans.items():
            limit = self.wish.patience.limit_seconds
            for one in run_attempts(plan, codec, report, num_cores=self.num_cores, limit_seconds=limit):
                told = f"{one.run.episodes_per_second:.2f} episodes/s" if one.run else f"FAILED: {one.problem}"
                self._say(f"sources in {codec}, {one.way.name}: {told}")
                way = {"name": one.way.name, "stages": one.way.stages.model_dump(), "has_gpu": one.way.gpu is not None}
                run = asdict(one.run) if one.run else None
                self.record.add("runs", {"codec": codec, "way": way, "run": run, "problem": one.problem})
                tried.append(one)
        return tried

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def all_works(setups: dict[str, Setup], report: GpuReport) -> list[tuple[Work, Setup]]:
    """Each once: resize and encode do not depend on the codec."""
    found = {
        (work.stage, work.where): (work, setup)
        for codec, setup in setups.items()
        for work in works(setup, codec, lambda stage: report.problem(stage) is None)
    }
    return [found[key] for key in sorted(found)]


def _about(card: Card | None) -> str:
    if card is None:
        return "no card"
    clock = "video clock not told" if card.max_video_mhz is None else f"video clock up to {card.max_video_mhz} MHz"
    return f"{card.name}, compute capability {card.capability}, {clock}"
