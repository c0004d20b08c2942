"""Conversions in processes of their own, to be stopped, killed or starved."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conftest import LOCAL, REPOSITORY
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import convert
from millrace.engine.planning.recipe import Recipe

LEDGER = ".millrace/ledger.jsonl"
CONTEXT = get_context("forkserver")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree")


def start(*arguments: object, environment: Mapping[str, str] = MappingProxyType({})) -> "subprocess.Popen[str]":
    """`millrace ARGUMENTS` in a process group of its own, as a terminal starts it; environment: further variables."""
    command = [sys.executable, "-m", "millrace", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def wait_for_lines(ledger: Path, num_lines: int, process: "subprocess.Popen[str]") -> None:
    """Until that much is recorded."""
    for _ in range(6000):
        if ledger.is_file() and ledger.read_bytes().count(b"\n") >= num_lines:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise TimeoutError(f"{ledger} never had {num_lines} lines")


@lru_cache
def serve_forks() -> None:
    """Children begin as a copy of a process that has imported everything, so that a kill hits work and not imports."""
    CONTEXT.set_forkserver_preload(["pytest", "millrace.cli", __name__])
    before = os.environ.get("PYTHONPATH", "")
    # Before Python 3.13 the server does not get its parent's sys.path.
    os.environ["PYTHONPATH"] = os.pathsep.join((str(REPOSITORY / "tests"), str(REPOSITORY), before))
    try:
        ensure_running()
    finally:
        os.environ["PYTHONPATH"] = before


def _child(*arguments: object) -> ForkServerProcess:
    serve_forks()
    child = CONTEXT.Process(target=_convert, args=arguments)
    child.start()
    return child


def convert_in_child(recipe: Recipe, out: Path, **flags: Any) -> int | None:
    """Convert without Ray in a child: its exit code, 0 if it finished, 1 for an error of ours, -9 if it was killed."""
    child = _child(recipe, out, flags)
    child.join()
    return child.exitcode


def start_child(recipe: Recipe, out: str, *, environment: Mapping[str, str], **flags: Any) -> ForkServerProcess:
    """Begin to convert without Ray in a child; environment: further variables."""
    return _child(recipe, Path(out), {**flags, "environment": dict(environment)})


def kill_after(seconds: float, recipe: Recipe, out: Path) -> bool:
    """Convert without Ray in a child and kill that some time after it began; returns whether it had not ended."""
    serve_forks()
    begun = CONTEXT.Event()
    child = _child(recipe, out, {"begun": begun})
    begun.wait()
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def _convert(recipe: Recipe, out: Path, flags: dict[str, Any]) -> None:
    os.environ.update(flags.pop("environment", {}))
    if begun := flags.pop("begun", None):
        begun.set()
    if (change := flags.pop("killed_at", None)) is not None:
        sys.addaudithook(_killer(out, change))
    if limit := flags.pop("limit", None):
        limit()
    try:
        convert(recipe, out, workers=LOCAL, **flags)
    except MillraceError as error:
        (out.parent / f"{out.name}.error").write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _killer(out: Path, change: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Kills this process before the change of that number that it makes to the output folder's files."""
    num_changes = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal num_changes
        is_change = event in CHANGES or (event == "open" and arguments[1] in ("w", "wb"))
        if is_change and str(arguments[0]).startswith(str(out)):
            if num_changes == change:
                os.kill(os.getpid(), signal.SIGKILL)
            num_changes += 1

    return hook
