"""Machines of a cluster on this one: each has an address, a network, a name, mounts and processes of its own.

A node is a set of Linux namespaces. Its network is a cable (a veth pair) to a switch (a bridge in a namespace of its
own, so that nothing of this machine's network changes). What it sees of the disk is what this machine does, but for
what a test mounts over it; /tmp/ray is its own. To kill its first process is to pull its plug.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HEAD_PORT = 6379
SUBNET = "10.213.77"
# Each process of Ray wants at least this much for objects; ours are plans and results.
OBJECT_STORE_BYTES = 80 << 20
START_SECONDS = 120.0
QUIET = {
    "RAY_AUTH_MODE": "disabled",  # else a token in the home folder is wanted of some and not of others
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "PYTHONUNBUFFERED": "1",
}
# As a cluster would have it after half a minute, in a tenth of that.
NOTICING = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}


def why_not() -> str:
    """Why this machine cannot have nodes; empty where it can."""
    if os.geteuid() != 0:
        return "NOT TESTED: nodes with networks of their own need root"
    for tool in ("ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            return f"NOT TESTED: there is no {tool} here"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "NOT TESTED: this machine allows no namespaces"


@dataclass(eq=False)
class Node:
    """A running machine. address: in the cluster's network."""

    name: str
    address: str
    first: "subprocess.Popen[bytes]"
    environment: Mapping[str, str]
    switch: "subprocess.Popen[bytes]"
    started: list["subprocess.Popen[Any]"] = field(default_factory=list)

    @property
    def is_alive(self) -> bool:
        """Whether its plug is in."""
        return self.first.poll() is None

    def command(self, *words: object) -> list[str]:
        """The words of a command that runs there."""
        return [*_enter(self.first, "--net", "--mount", "--uts", "--pid"), *map(str, words)]

    def run(self, *words: object, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command there to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, **self._settings(environment)
        )

    def start(self, *words: object, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command there."""
        process = subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **self._settings(environment),
        )
        self.started.append(process)
        return process

    def millrace(self, *words: object) -> "subprocess.Popen[str]":
        """Start `millrace WORDS` there."""
        return self.start(sys.executable, "-m", "millrace", *words)

    def _settings(self, environment: Mapping[str, str] | None) -> dict[str, Any]:
        return {"cwd": "/", "env": dict(self.environment) | dict(environment or {})}

    def start_ray(self, *, head: "Node | None" = None, num_cpus: int = 2, **environment: str) -> str:
        """`ray start` there; returns what it printed.

        Raises:
            AssertionError: with what it printed.
        """
        done = self.try_ray(head=head, num_cpus=num_cpus, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_ray(
        self, *, head: "Node | None" = None, num_cpus: int = 2, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """`ray start` there, which may fail; environment: further variables."""
        place = ["--head", f"--port={HEAD_PORT}", "--include-dashboard=false"]
        if head is not None:
            place = [f"--address={head.address}:{HEAD_PORT}"]
        size = [f"--num-cpus={num_cpus}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        words = ["-m", "ray.scripts.scripts", "start", *place, f"--node-ip-address={self.address}", *size]
        python = environment.pop("PYTHON", sys.executable)
        return self.run(python, *words, environment=environment)

    def cut_off(self) -> None:
        """Pull its network cable."""
        self._set_cable("down")

    def reconnect(self) -> None:
        """Put the cable back."""
        self._set_cable("up")

    def _set_cable(self, state: str) -> None:
        _check([*_enter(self.switch, "--net"), "ip", "link", "set", self.name, state])

    def mount(self, source: Path, target: Path) -> None:
        """Show a file or folder in another's place, there alone."""
        done = self.run("mount", "--bind", source, target)
        assert done.returncode == 0, done.stderr

    def hide(self, folder: Path) -> None:
        """Show an empty folder in its place, there alone."""
        done = self.run("mount", "-t", "tmpfs", "tmpfs", folder)
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        """Pull its plug: every process there ends at once."""
        self.first.send_signal(signal.SIGKILL)
        self.first.wait()
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Network:
    """Nodes at one switch."""

    def __init__(self, stack: ExitStack, switch: "subprocess.Popen[bytes]") -> None:
        self._stack, self._switch = stack, switch
        self.nodes: list[Node] = []

    def add(self, name: str, environment: Mapping[str, str] | None = None) -> Node:
        """Another machine; environment: variables of its processes, in place of this process's."""
        assert len(name) < 16, "a name of a network device is as short"
        address = f"{SUBNET}.{len(self.nodes) + 1}"
        first = _hold("--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        variables = {**os.environ, **QUIET, **NOTICING} if environment is None else {**environment, **QUIET, **NOTICING}
        node = Node(name, address, first, variables, self._switch)
        self._stack.callback(node.kill)
        self.nodes.append(node)
        inner = _child_of(first)
        ends = [name, "netns", str(self._switch.pid), "type", "veth", "peer", "name", "eth0", "netns", str(inner)]
        _check(["ip", "link", "add", *ends])
        _check([*_enter(self._switch, "--net"), "ip", "link", "set", name, "master", "switch", "up"])
        for words in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{address}/24", "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
            ["hostname", name],
            ["mount", "-t", "tmpfs", "tmpfs", "/tmp/ray"],
        ):
            done = node.run(*words)
            assert done.returncode == 0, f"{words}: {done.stderr}"
        return node


@contextmanager
def make_network() -> Iterator[Network]:
    """A switch without nodes; all that is added ends with it."""
    if reason := why_not():
        pytest.skip(reason)
    Path("/tmp/ray").mkdir(exist_ok=True)
    with ExitStack() as stack:
        switch = _hold("--net")
        stack.callback(switch.wait)
        stack.callback(switch.kill)
        _check([*_enter(switch, "--net"), "ip", "link", "add", "switch", "type", "bridge"])
        _check([*_enter(switch, "--net"), "ip", "link", "set", "switch", "up"])
        yield Network(stack, switch)


def wait_for(condition: Any, *, what: str, seconds: float = START_SECONDS) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def _hold(*namespaces: str) -> "subprocess.Popen[bytes]":
    """A process that holds new namespaces open, and does nothing."""
    process = subprocess.Popen(["unshare", *namespaces, "sleep", "infinity"])
    wait_for(lambda: _has_own(process, "net"), what="namespaces of its own")
    return process


def _has_own(process: "subprocess.Popen[bytes]", kind: str) -> bool:
    with suppress(OSError):
        return os.readlink(f"/proc/{process.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    return False


def _child_of(process: "subprocess.Popen[bytes]") -> int:
    """The process that `unshare --fork` made: the first of its namespace of processes."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: children.read_text().split(), what="a first process")
    return int(children.read_text().split()[0])


def _enter(process: "subprocess.Popen[bytes]", *namespaces: str) -> Sequence[str]:
    pid = _child_of(process) if "--pid" in namespaces else process.pid
    return ["nsenter", f"--target={pid}", *namespaces, "--"]


def _check(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
