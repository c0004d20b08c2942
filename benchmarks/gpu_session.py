"""All that a machine with an NVIDIA GPU is asked for: one command, without a network, in ten minutes.

    python -m benchmarks.gpu_session --out gpu_session                    # Millrace's extra `gpu` is installed
    python -m benchmarks.gpu_session --out gpu_session --wheels wheels    # as benchmarks.gpu_wheels packs
    python -m benchmarks.gpu_session --out gpu_session --groot ../Isaac-GR00T   # with training steps of N1.7 in small

Each part is a process with a time limit, a line of the terminal and a log of its own; one that fails, hangs or lacks
something costs no other. OUT/session.json is complete after each part. Only the standard library is needed to start.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

REPOSITORY = Path(__file__).parent.parent
TOTAL_SECONDS = 600.0
GPU_TESTS = "tests/engine/video/gpu"
ALL_TESTS = ("{python}", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")
PYTEST = (*ALL_TESTS, "-m", "gpu")
STEPS = "tests/groot/test_gpu_step.py"
COUNTS = re.compile(r"\d+ (?:passed|failed|skipped|error)[^=]*")
# Lines of a log that end up in the summary.
NUM_LAST_LINES = 15


@dataclass(frozen=True)
class Part:
    """A command and its time limit; {python} and {out} in its words are replaced. needs: "gpu", "groot"."""

    name: str
    words: Sequence[str]
    limit_seconds: float
    needs: Sequence[str] = ("gpu",)


@dataclass(frozen=True)
class Outcome:
    """What became of a part: "ok", "failed", "late" or "skipped", and why or what it said."""

    name: str
    status: str
    seconds: float
    said: str
    last_lines: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.name:<28} {self.status:<8} {self.seconds:>6.1f} s  {self.said}"


# What was never seen on hardware comes first.
PARTS = (
    Part("doctor", ("{python}", "-m", "millrace", "doctor"), 60, needs=()),
    Part("decode on NVDEC, probe", (*PYTEST, f"{GPU_TESTS}/test_gpu_probe.py"), 90),
    Part("crop and resize on CUDA", (*PYTEST, f"{GPU_TESTS}/test_gpu_area.py"), 60),
    Part("conversions, mixed workers", (*PYTEST, f"{GPU_TESTS}/test_gpu_hardware.py"), 150),
    Part("fallbacks", (*ALL_TESTS, f"{GPU_TESTS}/test_gpu_faults.py"), 60),
    Part("step: bf16, NCCL, one rank", (*PYTEST, STEPS, "-k", "bf16"), 90, needs=("gpu", "groot")),
    Part("step: fused optimizer", (*PYTEST, STEPS, "-k", "fused"), 90, needs=("gpu", "groot")),
    Part("step: DeepSpeed ZeRO-2", (*PYTEST, STEPS, "-k", "zero"), 90, needs=("gpu", "groot", "deepspeed")),
    Part(
        "rates",
        ("{python}", "-m", "benchmarks.gpu", "--seconds", "1", "--limit-seconds", "40", "--json", "{out}/gpu.json"),
        300,
    ),
)


def run_session(
    parts: Sequence[Part], out: Path, *, lacks: Mapping[str, str], environment: Mapping[str, str], total_seconds: float
) -> list[Outcome]:
    """Run all parts; `lacks` says by need why this machine cannot meet it."""
    out.mkdir(parents=True)
    deadline = monotonic() + total_seconds
    outcomes: list[Outcome] = []
    for part in parts:
        outcomes.append(_outcome(part, out, lacks=lacks, environment=environment, left_seconds=deadline - monotonic()))
        _write_summary(outcomes, out, is_complete=len(outcomes) == len(parts))
        print(outcomes[-1], flush=True)
    return outcomes


def _outcome(
    part: Part, out: Path, *, lacks: Mapping[str, str], environment: Mapping[str, str], left_seconds: float
) -> Outcome:
    missing = [lacks[need] for need in part.needs if need in lacks]
    if missing or left_seconds < 1:
        return Outcome(part.name, "skipped", 0.0, "; ".join(missing) or "no time is left")
    words = [word.format(python=sys.executable, out=out) for word in part.words]
    log = out / f"{re.sub(r'[^a-z0-9]+', '_', part.name.lower())}.log"
    limit = min(part.limit_seconds, left_seconds)
    started = monotonic()
    code = _run(words, log, environment, limit)
    seconds = monotonic() - started
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-NUM_LAST_LINES:]
    counts = [found[0].strip() for line in lines if (found := COUNTS.search(line))]
    said = counts[-1] if counts else lines[-1] if lines else "it said nothing"
    if code is None:
        return Outcome(part.name, "late", seconds, f"ended after {limit:.0f} s; {said}", lines)
    is_empty = bool(counts) and "passed" not in said and "failed" not in said and "error" not in said
    status = "skipped" if is_empty and code in (0, 5) else "ok" if code == 0 else "failed"
    return Outcome(part.name, status, seconds, said if code in (0, 1, 5) else f"exit code {code}; {said}", lines)


def _run(words: Sequence[str], log: Path, environment: Mapping[str, str], limit_seconds: float) -> int | None:
    """The exit code; None where it took too long, and was ended with all that it started."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=subprocess.STDOUT, cwd=REPOSITORY, env=dict(environment), start_new_session=True
        )
        try:
            return process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # one that hangs in a driver is left behind
                process.wait(5)


def _write_summary(outcomes: Sequence[Outcome], out: Path, *, is_complete: bool) -> None:
    part = out / "session.json.part"
    summary = {"is_complete": is_complete, "parts": [asdict(outcome) for outcome in outcomes]}
    part.write_text(json.dumps(summary, indent=2) + "\n")
    part.replace(out / "session.json")


def find_lacks(environment: Mapping[str, str]) -> dict[str, str]:
    """What this machine cannot do, by need, and why."""
    lacks = {} if _names_a_gpu() else {"gpu": "nvidia-smi names no NVIDIA GPU"}
    for need, module in (("groot", "gr00t"), ("deepspeed", "deepspeed")):
        words = [sys.executable, "-c", f"from importlib.util import find_spec; assert find_spec({module!r})"]
        if subprocess.run(words, env=dict(environment), capture_output=True, check=False).returncode:
            lacks[need] = f"{module} cannot be imported"
    return lacks


def _names_a_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU " in listed.stdout


def install_part(wheels: Path, site: Path) -> Part:
    """The part that installs packed wheels into a folder."""
    words = ("{python}", "-m", "benchmarks.gpu_wheels", "install", str(wheels.absolute()), str(site))
    return Part("install", words, 120, needs=())


def _paths(options: argparse.Namespace, site: Path) -> Iterator[str]:
    """Millrace itself is imported from links to its folders, as it need not be installed."""
    links = options.out / "import" / "millrace"
    links.mkdir(parents=True)
    for path in [*(REPOSITORY / "millrace").glob("*.py")]:
        (links / path.name).symlink_to(path)
    for name in ("commands", "embodiments", "engine", "train"):
        (links / name).symlink_to(REPOSITORY / name)
    yield from map(str, (links.parent.absolute(), REPOSITORY, site))
    if options.groot is not None:
        yield str(options.groot.absolute())
    if before := os.environ.get("PYTHONPATH"):
        yield before


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts; 1 where one failed or was late."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder of logs and summary")
    parser.add_argument("--wheels", type=Path, help="folder of packed wheels, installed below OUT first")
    parser.add_argument("--groot", type=Path, help="source tree of GR00T N1.7, for training steps")
    parser.add_argument("--total-seconds", type=float, default=TOTAL_SECONDS, help="for all parts together")
    options = parser.parse_args(arguments)
    if options.out.exists():
        parser.error(f"{options.out} is there already; pass another --out")
    site = options.out.absolute() / "site"
    paths = os.pathsep.join(_paths(options, site))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    if options.groot is not None:
        environment["GR00T_SRC"] = str(options.groot.absolute())
    started, installed = monotonic(), []
    if options.wheels is not None:
        first = [install_part(options.wheels, site)]
        installed = run_session(
            first, options.out / "install", lacks={}, environment=environment, total_seconds=options.total_seconds
        )
    left = options.total_seconds - (monotonic() - started)
    done = run_session(
        PARTS, options.out / "parts", lacks=find_lacks(environment), environment=environment, total_seconds=left
    )
    return int(any(outcome.status in ("failed", "late") for outcome in [*installed, *done]))


if __name__ == "__main__":
    sys.exit(main())
