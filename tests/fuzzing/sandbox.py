"""One command in a forked child that may not take long, take much, or touch what is not its own."""

import importlib
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from conftest import REPOSITORY
from millrace.cli import main
from millrace.engine.stored.store_mark import MARK

CPU_SECONDS = 10
# Without CPU time, so many waits of a second: of a machine that stands still, a wait ends late but counts once.
MAX_WAITS = 300
# Of addresses, on top of what the interpreter and its libraries map; glibc may give each of a few threads 64 MB.
MEMORY_BYTES = 2 << 30
# What no dataset may lead to, as Python's own audit hooks name it.
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
    "ctypes.dlopen",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
BROKE_OUT = 99


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it took.

    code: of its exit, or minus the signal that killed it; None for a hang. num_bytes: resident, at the most, the
    libraries included.
    """

    code: int | None
    stdout: str
    stderr: str
    cpu_seconds: float
    num_bytes: int


def prepare(work: Callable[[], None]) -> list[str]:
    """Do some work in a forked child, as the libraries' threads do not survive a fork.

    Returns:
        The modules that it needed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = BROKE_OUT
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
            os.write(writing, "\n".join(sys.modules).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with open(reading) as modules:
        names = modules.read().split()
    _, status = os.waitpid(child, 0)
    assert status == 0, "what is to be damaged cannot be prepared"
    return names


def import_all(modules: Iterable[str]) -> None:
    """Import modules once, so that no child has to."""
    for name in modules:
        with suppress(ImportError):
            importlib.import_module(name)


def run(arguments: list[str], folder: Path, *, source: Path, out: Path) -> Outcome:
    """Run a command line on a dataset.

    Args:
        arguments: Of the command line.
        folder: For what it prints, and for temporary files.
        source: The only folder beside libraries that it may read from.
        out: The only folder, beside the one for held-out episodes, that it may write to.
    """
    logs = [folder / "printed/stdout", folder / "printed/stderr"]
    logs[0].parent.mkdir()
    child = os.fork()
    if child == 0:
        _become_the_command(arguments, logs, source, out)
    code, usage = _watch(child)
    texts = [log.read_bytes().decode("utf-8", "backslashreplace") for log in logs]
    return Outcome(code, *texts, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def _watch(child: int) -> tuple[int | None, resource.struct_rusage]:
    """How a child ends, and what it used; one that hangs is killed."""
    ended = select.poll()
    handle = os.pidfd_open(child)
    ended.register(handle, select.POLLIN)
    is_hanging = not any(ended.poll(1000) for _ in range(MAX_WAITS))
    os.close(handle)
    if is_hanging:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return None if is_hanging else os.waitstatus_to_exitcode(status), usage


def _become_the_command(arguments: list[str], logs: list[Path], source: Path, out: Path) -> None:
    code = BROKE_OUT
    try:
        for number, log in enumerate(logs, start=1):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        _limit()
        tempfile.tempdir = str(logs[0].parent)
        sys.dont_write_bytecode = True  # of what it is the first to import
        _confine([source, out, out.parent / MARK, logs[0].parent], [out, Path(f"{out}_heldout"), logs[0].parent])
        code = main(arguments)
        sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else BROKE_OUT
    except BaseException as error:
        print(f"Traceback: {error!r}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _limit() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _confine(reading: list[Path], writing: list[Path]) -> None:
    """End the process at once, should it open or start what it must not."""
    allowed_out = [os.path.realpath(folder) for folder in writing]
    libraries = [REPOSITORY, sys.prefix, sys.base_prefix]
    machine = [f"/proc/{os.getpid()}/cgroup", "/proc/meminfo", "/sys/fs/cgroup"]  # how much memory may be used
    allowed_in = [*allowed_out, *(os.path.realpath(folder) for folder in (*reading, *libraries, *machine))]

    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and details[0] == sys.executable:
            return  # a second try of an episode, in a process of our own within the same limits
        if event in FORBIDDEN:
            _end(f"{event} {details!r}")
        if event == "open" and isinstance(details[0], str | bytes):
            path, flags = os.path.realpath(os.fsdecode(details[0])), details[2]
            is_write = bool(isinstance(flags, int) and flags & WRITES)
            folders = allowed_out if is_write else allowed_in
            if not any(path == folder or path.startswith(f"{folder}/") for folder in folders):
                _end(f"{'writes to' if is_write else 'reads'} {path}")

    sys.addaudithook(watch)


def _end(what: str) -> None:
    os.write(2, f"forbidden: {what}\n".encode("utf-8", "backslashreplace"))
    os._exit(BROKE_OUT)


@contextmanager
def unchanged(folder: Path) -> Iterator[list[str]]:
    """Afterwards, the list holds every path below a folder that was not left as it was."""
    before = _states(folder)
    found: list[str] = []
    yield found
    after = _states(folder)
    found += sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _states(folder: Path) -> dict[str, tuple[int, int, int]]:
    states = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            state = os.lstat(path := os.path.join(parent, name))
            states[path] = (state.st_mode, state.st_size, state.st_mtime_ns)
    return states
