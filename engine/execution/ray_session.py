"""The Ray session of a command: an embedded Ray, or a running cluster. Nothing else starts or stops Ray."""

import logging
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray

import psutil  # isort: skip  # of Ray, which must be imported first
from ray._private import ray_constants
from ray.exceptions import RayError

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.errors import ClusterFailed
from millrace.engine.execution.shipping import Ship, runtime_environment

# Plans, records, settings and metrics are all that Ray stores; frames never go through it.
OBJECT_STORE_BYTES = 256 << 20
# Ray's own notices would break into the progress bar; what it measures of itself nobody would read, and
# measuring costs a fifth of its startup.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of its own helper processes, which it restarts
    # At Ray's 15 workers wait for its other processes, a seventh of the startup; `nice millrace` still holds for all.
    "RAY_worker_niceness": "0",
}
# For processes of Ray to end that should have ended with it.
ENDING_SECONDS = 2.0
# What Ray says where its processes do not come up within its half minute, on a busy machine.
STARTED_LATE = "timed out during startup"
TOO_SLOW = Message(
    "Ray did not start within its 30 s on this busy machine; ",
    Remedy(
        "run the same command again, or without Ray: convert with ",
        Setting("local", True, call="Workers"),
        ", finetune or evaluate with ",
        Setting("num_gpus", 0),
    ),
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
LACKS = re.compile(r"No module named '([^']+)'")
# Ray's words where they differ: first those of the cluster, then those of this process.
VERSIONS = re.compile(r"^\s*(Ray|Python): (\S+)$", re.MULTILINE)


@contextmanager
def ray_session(
    num_cpus: int | None,
    address: str | None,
    *,
    ship: Ship | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[None]:
    """An embedded Ray, shut down afterwards, or a running cluster, left as it was.

    Within another session, it is the same Ray.

    Args:
        num_cpus: Of an embedded Ray; None: the machine's cores.
        address: Of a running cluster; None: an embedded Ray.
        ship: What its nodes are sent for this session, see `Ship`.
        environment: Variables for Ray beside `ENVIRONMENT`, unless the user has set them.

    Raises:
        ClusterFailed: Ray does not start, no cluster answers, or it fails within the session.
    """
    is_own = not ray.is_initialized()
    if is_own:
        for name, value in {**ENVIRONMENT, **environment}.items():
            os.environ.setdefault(name, value)
        with runtime_environment(ship) as sent:
            _connect(num_cpus, address, sent)
    try:
        yield
    except RayError as error:
        if isinstance(cause := getattr(error, "cause", None), MillraceError):
            raise cause from error  # a worker's, with all that it says
        raise ClusterFailed(explain(error)) from error
    finally:
        if is_own:
            _shut_down(is_private=address is None)


def _shut_down(*, is_private: bool) -> None:
    """Disconnect; end a private Ray with those of its processes that outlive it, as a controller of Ray Train may."""
    children = psutil.Process().children(recursive=True) if is_private else []
    own = [child for child in children if child.name().startswith("ray::")]
    ray.shutdown()
    _, alive = psutil.wait_procs(own, timeout=ENDING_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def explain(error: BaseException) -> str:
    """One of Ray's errors in one line without escapes: its cause, and what to do."""
    text = ESCAPES.sub("", str(error))
    if lacks := LACKS.search(text):
        package = lacks[1].partition(".")[0]
        advice = Remedy("install the same Millrace on every node")
        return Message(f"a node of the cluster lacks the Python module {package}: ", advice)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = lines[-1] if lines else type(error).__name__
    stopped = f"Ray stopped with {type(error).__name__.partition('(')[0]}: {cause[:300]}; "
    return Message(stopped, Remedy("run the same command again"))


def _connect(num_cpus: int | None, address: str | None, sent: Mapping[str, Any] = MappingProxyType({})) -> None:
    embedded = {"num_cpus": num_cpus, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    with _held_back_stderr(), _kept_sigterm(), nullcontext() if address else _on_loopback():
        start: Any = partial(ray.init, address or "local", log_to_driver=False, logging_level=logging.ERROR)
        for is_last in (False, True):
            try:
                start(**(sent if address else embedded))
                return
            except Exception as error:  # Ray's own has no type
                if not (address or STARTED_LATE in str(error)):
                    raise
                ray.shutdown()
                if is_last and address:
                    del os.environ["RAY_AUTH_MODE"]  # of _use_token: else a Ray that is embedded later wants a token
                if is_last or (address and not _use_token()):
                    raise ClusterFailed(_unreachable(address, error) if address else TOO_SLOW) from error


def _token_path() -> Path:
    """Where Ray looks for the token of a cluster."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))


def _has_token() -> bool:
    return "RAY_AUTH_TOKEN" in os.environ or _token_path().is_file()


def _use_token() -> bool:
    """Send the token that Ray has, which it does itself only to a cluster that it finds; False: there is none to try.

    Not at first: workers of a cluster without tokens could not answer a driver that wants one.
    """
    if not _has_token() or "RAY_AUTH_MODE" in os.environ:
        return False
    os.environ["RAY_AUTH_MODE"] = "token"
    return True


def _unreachable(address: str, error: Exception) -> Message:
    if versions := VERSIONS.findall(str(error)):
        cluster, own = (" and ".join(f"{name} {version}" for name, version in pair) for pair in _pairs(versions))
        advice = Remedy("run the command, and start every node, with the same Python and Ray")
        return Message(f"the cluster at {address} has {cluster}, this machine {own}: ", advice)
    reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    hint = f"check that Ray {ray.__version__} runs there, and RAY_AUTH_MODE=token where it wants one"
    if not _has_token():
        hint += f"; there is no token here: copy {_token_path()} from the cluster's head, or set RAY_AUTH_TOKEN"
    return Message(f"no Ray cluster can be used at {address} ({reason}); ", Remedy(hint))


def _pairs(versions: Sequence[tuple[str, str]]) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    """Those of the cluster, and those of this process."""
    half = len(versions) // 2
    return versions[:half], versions[half:]


@contextmanager
def _on_loopback() -> Iterator[None]:
    """An embedded Ray listens to this machine alone; `_node_ip_address` would be resolved to an outer one."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _kept_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself as it starts, and would end the process as if it had failed."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Ray's C++ core announces its log level on standard error; show that only if the block fails."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except ClusterFailed:
            raise  # it says all in one line
        except BaseException:
            os.dup2(stderr, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
