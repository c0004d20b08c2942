"""Try packages in a fresh interpreter: an installed one may be broken, or end the process that imports it."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

# Importing most of them imports torch, which takes long on a cold disk.
IMPORT_SECONDS = 120


@dataclass(frozen=True)
class Said:
    """What a fresh interpreter printed last, and why it failed; None where it did not."""

    last_line: str
    why_failed: str | None


def why_not_importable(package: str) -> str | None:
    """Why a fresh interpreter cannot import a package, in a line; None if it can."""
    if find_spec(package) is None:
        return f"the package {package} is not installed"
    return run_python(f"import {package}").why_failed


def run_python(code: str) -> Said:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return Said("", f"it takes more than {IMPORT_SECONDS} s")
    last = next(iter(done.stdout.strip().splitlines()[-1:]), "")
    return Said(last, _find_reason(done) if done.returncode else None)


def _find_reason(done: "subprocess.CompletedProcess[str]") -> str:
    """The library that the loader misses, where it names one; else the last line, which names the error."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    missing = [line for line in lines if "cannot open shared object file" in line]
    return next(iter(missing or lines[-1:]), f"it ended with exit code {done.returncode}")
