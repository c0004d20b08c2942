"""One run of the GPU's benchmark: each figure is a line of the terminal and a row of a JSON file."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from benchmarks.gpu_processes import Failed, run_alone
from benchmarks.gpu_rates import Limits, measure_rates
from benchmarks.gpu_runs import list_runs, measure_run, plan_examples, set_up
from benchmarks.gpu_works import AREA_NVENC, list_works, measure_quality
from millrace.commands.doctor import print_diagnosis
from millrace.engine.execution.diagnosis import diagnose_nodes
from millrace.engine.video.backends import CPU_BACKENDS
from millrace.engine.video.gpu.report import ENCODE, GpuReport

Result = TypeVar("Result")


class Record:
    """A JSON file that is complete after each figure, whatever happens to this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = {"is_complete": False}

    def note(self, **figures: Any) -> None:
        """Write facts by name."""
        self.figures.update(figures)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        with part.open("w") as file:
            file.write(json.dumps(self.figures, indent=2, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Write another row of a list."""
        self.note(**{name: [*self.figures.get(name, []), row]})


class Benchmark:
    """Probes, checks, times and converts; the record grows meanwhile."""

    def __init__(self, limits: Limits, image_size: int, path: Path, folder: Path) -> None:
        self.limits, self.record, self.console = limits, Record(path), Console(soft_wrap=True)
        self.num_cores = len(os.sched_getaffinity(0))
        self.plans = plan_examples(image_size, folder)
        self.setups = {codec: set_up(plan, folder) for codec, plan in self.plans.items()}

    def run(self) -> None:
        """Measure everything once."""
        machine = f"{platform.processor() or platform.machine()}, {self.num_cores} cores"
        self.record.note(machine=machine, python=platform.python_version(), seconds=self.limits.seconds)
        report = self._probe()
        self._check(report)
        for work in list_works(self.setups, lambda stage: report.problem(stage) is None):
            for rate in measure_rates(work, num_cores=self.num_cores, limits=self.limits):
                self._print(str(rate))
                self.record.add("rates", asdict(rate))
        self._convert(report)
        self.record.note(is_complete=True)
        self._print(f"{machine}; {self.limits.seconds:g} s each; all of it: {self.record.path}")

    def _probe(self) -> GpuReport:
        diagnosis, problem = self._try(diagnose_nodes)
        if diagnosis is None:
            report = GpuReport(node=platform.node(), failed=f"the probe failed: {problem}")
        else:
            print_diagnosis(diagnosis, self.console)
            report = diagnosis.nodes[0]
        self.record.note(report=report.model_dump(mode="json"))
        if report.card is None:
            self._print(f"only the CPU is timed: {report.problem(ENCODE)}; run this script again where a GPU is")
        return report

    def _check(self, report: GpuReport) -> None:
        """What encoders keep; the probe has compared the pixels of NVDEC and CUDA with the CPU's."""
        encoders = {"libx264": CPU_BACKENDS} | ({"h264_nvenc": AREA_NVENC} if report.problem(ENCODE) is None else {})
        for name, backends in encoders.items():
            quality, problem = self._try(partial(measure_quality, self.setups["h264"], backends))
            told = ", ".join(f"{what} {value:.1f}" for what, value in (quality or {}).items())
            self._print(f"{name} {told or f'FAILED: {problem}'}")
            self.record.add("checks", {"encoder": name, "quality": quality, "problem": problem})

    def _convert(self, report: GpuReport) -> None:
        for codec, plan in self.plans.items():
            for name, made in list_runs(plan, codec, report).items():
                rate, problem = self._try(partial(measure_run, made, self.num_cores))
                told = f"FAILED: {problem}" if rate is None else f"{rate:.2f} episodes/s"
                self._print(f"sources in {codec}, {name} ({made.job.video.backends}): {told}")
                row = {"codec": codec, "name": name, "episodes_per_second": rate, "problem": problem}
                self.record.add("runs", row)

    def _try(self, work: Callable[[], Result]) -> tuple[Result | None, str | None]:
        """The result of work in its own process, or why there is none."""
        try:
            return run_alone(work, limit_seconds=self.limits.limit_seconds), None
        except Failed as why:
            return None, str(why)

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
