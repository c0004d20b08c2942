"""`millrace doctor`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import arg

from millrace.commands.print_flags import PrintFlags
from millrace.commands.tables import make_console, make_table, print_line
from millrace.engine.about import describe_tested, untested_versions
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.execution.diagnosis import Diagnosis, diagnose_nodes
from millrace.engine.video.gpu.report import CODECS, ENCODE, RESIZE, GpuReport, decode_stage

if TYPE_CHECKING:
    from millrace.train.preflight.groot_report import GrootReport

ON_CPU = {**dict.fromkeys(map(decode_stage, CODECS), "libavcodec"), RESIZE: "libavfilter", ENCODE: "libx264"}
NOT_INSTALLED = "not installed"


@dataclass(frozen=True, kw_only=True)
class Doctor(PrintFlags):
    """Show the installed versions, what this machine or each node of a cluster can do on a GPU, and what auto chooses.

    Each stage is tried with a few frames, and its pixels are compared with the CPU's. Of GR00T it is told which release
    is installed on this machine, and what that lacks. Examples:

    millrace doctor

    millrace doctor --gr00t n1.7

    millrace doctor --address auto --json
    """

    address: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """A running Ray cluster, for example "auto"; by default this machine."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T that should be installed; auto: any, or none."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Probe and print."""
        from millrace.train.preflight.groot_report import report_groot

        diagnosis, groot = diagnose_nodes(self.address), report_groot(self.gr00t)
        if self.json:
            print(json.dumps({**diagnosis.model_dump(mode="json"), "gr00t": groot.model_dump(mode="json")}, indent=2))
        else:
            print_diagnosis(diagnosis, make_console())
            for line in describe_groot(groot):
                print_line(line, make_console())
        return 0


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print a table for each node, what it lacks, and what --device auto chooses."""
    for report in diagnosis.nodes:
        for line in _describe_node(report):
            print_line(line, console)
        stages = ((stage, _describe_stage(report, stage), on_cpu) for stage, on_cpu in ON_CPU.items())
        console.print(make_table(("stage", "on the GPU", "on the CPU"), stages))
    libraries = ", ".join(f"{name} {version}" for name, version in diagnosis.libraries.items())
    print_line(f"libx264 {diagnosis.x264 or NOT_INSTALLED}, {libraries}", console)
    rows = ((choice.codec, choice.decode, choice.resize, choice.encoder) for choice in diagnosis.auto)
    console.print(make_table(("--device auto, sources in", "decode", "resize", "encode"), rows))


def describe_groot(report: "GrootReport") -> Iterator[str]:
    """The installed GR00T, a line for each thing to know."""
    if report.folder is None:
        yield "GR00T: not installed here"
    elif report.release is not None:
        versions = ", ".join(f"{name} {version or NOT_INSTALLED}" for name, version in report.versions.items())
        yield f"GR00T {report.release} in {report.folder}{': ' if versions else ''}{versions}"
    if report.lacking_flags:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in report.lacking_flags)
        yield f"this build of GR00T lacks {flags}"
    yield from (f"GR00T: {problem}" for problem in report.problems)


def _describe_stage(report: GpuReport, stage: str) -> str:
    return "no" if report.missing or report.failed else report.problem(stage) or "yes"


def _describe_node(report: GpuReport) -> Iterator[str]:
    """A node's card and what is installed there."""
    nothing = "a GPU that cannot be used" if report.has_gpu else "no GPU in use"
    yield f"{report.node}: {nothing if report.card is None else f'{report.card}, driver {report.driver}'}"
    yield ", ".join(f"{name} {version or NOT_INSTALLED}" for name, version in report.versions.items())
    if new := untested_versions(report.versions):
        yield f"untested: {', '.join(new)}; the tests run on {describe_tested()}"
    else:
        yield f"tested: {describe_tested()}"
    if report.failed is not None:
        yield f"not tried: {report.failed}"
    yield from (f"missing: {what}" for what in report.missing)
    if report.card is not None and not report.keeps_frames:
        yield "frames pass through the host between stages: PyAV 18.1 leaves them on the card"
