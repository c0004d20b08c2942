"""`millrace` as somebody runs it against the local Hub of the tests, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from conftest import REPOSITORY, files_of
from support.hub_protocol import SIGNATURE, TOKEN
from support.hub_server import HubServer

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
        known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        token = {} if self.token is None else {"HF_TOKEN": self.token}
        ours = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1"}
        environment = {**known, **ours, **token, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **self.environment}
        self.home.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "millrace", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=environment,
            start_new_session=True,
        )

    def run(self, *arguments: object) -> Result:
        """The command's end; it has shown no secret."""
        with self.start(*arguments) as process:
            return finish(process)


def content_of(out: Path) -> dict[str, bytes]:
    """All files of a dataset but those that say where its source lies."""
    return {name: content for name, content in files_of(out).items() if name not in NAMING_SOURCES}


def finish(process: "subprocess.Popen[str]") -> Result:
    """Wait for a command."""
    out, err = process.communicate(timeout=180)
    assert not [secret for secret in SECRETS if secret in out + err]
    assert "Traceback" not in err, err
    return Result(process.returncode, out, err)


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for something that a running command does."""
    for _ in range(6000):
        if is_so():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise TimeoutError("it never happened")
