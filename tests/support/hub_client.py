"""`millrace` as somebody runs it against the local Hub of the tests, in a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conftest import REPOSITORY, files_of
from millrace import cli
from support.hub_protocol import SIGNATURE, TOKEN
from support.hub_server import HubServer
from support.processes import CONTEXT, serve_forks

NAMING_SOURCES = ("millrace.json", "README.md")
SECRETS = (TOKEN, SIGNATURE.partition("=")[2])


@dataclass(frozen=True)
class Result:
    """What a command left in the terminal."""

    exit_code: int
    out: str
    err: str


@dataclass(frozen=True)
class HubUser:
    """Somebody with a home folder, which holds the cache, and with a token or None.

    huggingface_hub reads its environment when it is imported: that is why commands need a process each.
    """

    hub: HubServer
    home: Path
    token: str | None = TOKEN
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def snapshots(self) -> Path:
        """Where org/aloha lies in the cache."""
        return self.home / "hub/datasets--org--aloha/snapshots"

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """`millrace ARGUMENTS` in the home folder, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "millrace", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=self._environment(),
            start_new_session=True,
        )

    def run(self, *arguments: object) -> Result:
        """The command's end; it has shown no secret. Its process is forked: all but huggingface_hub is imported."""
        serve_forks()
        # Not in the home folder, whose disk may be full.
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in ("stdout.txt", "stderr.txt")]
            child = CONTEXT.Process(
                target=_run_command, args=(list(map(str, arguments)), self._environment(), self.home, *paths)
            )
            child.start()
            child.join(timeout=180)
            assert child.exitcode is not None, "it has not ended"
            return _check(Result(child.exitcode, *(path.read_text(encoding="utf-8") for path in paths)))

    def _environment(self) -> dict[str, str]:
        """All variables of a command; makes the home folder."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        token = {} if self.token is None else {"HF_TOKEN": self.token}
        ours = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1"}
        self.home.mkdir(exist_ok=True)
        return {**known, **ours, **token, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **self.environment}


def _run_command(words: list[str], environment: Mapping[str, str], folder: Path, stdout: Path, stderr: Path) -> None:
    """`millrace WORDS` in this process, which must not have imported huggingface_hub."""
    assert "huggingface_hub" not in sys.modules
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for handle, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    sys.exit(cli.main(words))


def content_of(out: Path) -> dict[str, bytes]:
    """All files of a dataset but those that say where its source lies."""
    return {name: content for name, content in files_of(out).items() if name not in NAMING_SOURCES}


def finish(process: "subprocess.Popen[str]") -> Result:
    """Wait for a command."""
    out, err = process.communicate(timeout=180)
    return _check(Result(process.returncode, out, err))


def _check(result: Result) -> Result:
    """Return it if it shows neither a secret nor a traceback."""
    assert not [secret for secret in SECRETS if secret in result.out + result.err]
    assert "Traceback" not in result.err, result.err
    return result


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for something that a running command does."""
    for _ in range(6000):
        if is_so():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise TimeoutError("it never happened")
