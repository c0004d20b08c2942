"""Say that a command waits for cores or GPUs of a cluster which others have, or which are gone."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep

import ray
from ray.util import placement_group_table

from millrace.engine.text import format_count

LOOK_SECONDS = 2.0
SECONDS_BETWEEN_LINES = 60.0
# Ray's states of places that were asked for, and are not there.
PENDING = ("PENDING", "RESCHEDULING")


@contextmanager
def report_waiting(say: Callable[[str], None], *, look_seconds: float = LOOK_SECONDS) -> Iterator[None]:
    """Call `say` with what this command waits for, while Ray has no place for any of its workers.

    Args:
        say: Called from a thread with words such as "8 GPUs: 3 of the cluster's 16 are free"; once a minute at most.
        look_seconds: Time between looks; what two of them find is said, as one may fall into the moment in which
            places are taken.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(say, look_seconds, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(look_seconds)  # a Ray that hangs may hold it up


def _watch(say: Callable[[str], None], look_seconds: float, ended: threading.Event) -> None:
    is_waiting, said, said_at = False, "", float("-inf")
    while not ended.wait(look_seconds):
        try:
            what = _describe_waiting()
        except Exception:  # of many types, as Ray ends or cannot be reached; to say nothing harms nobody
            continue
        is_due = not said or monotonic() - said_at > SECONDS_BETWEEN_LINES
        if what and is_waiting and what != said and is_due:
            say(what)
            said, said_at = what, monotonic()
        is_waiting, said = bool(what), said if what else ""


def _describe_waiting() -> str:
    """What this command waits for; empty if for nothing."""
    job = ray.get_runtime_context().get_job_id()
    wanted = _wanted_by_groups(job)
    return describe_wanted(wanted, ray.available_resources(), ray.cluster_resources()) if wanted else ""


def find_shortage(*, look_seconds: float = LOOK_SECONDS) -> str | None:
    """Say that no core of the cluster is free for a conversion, as two looks find it; None: one is."""
    for delay in (0.0, look_seconds):
        sleep(delay)
        if ray.available_resources().get("CPU", 0) >= 1:
            return None
    return f"waiting for cores: none of the cluster's {int(ray.cluster_resources().get('CPU', 0))} is free"


def describe_wanted(wanted: Mapping[str, float], free: Mapping[str, float], total: Mapping[str, float]) -> str:
    """What is wanted, and how much of it there is, of GPUs if any are wanted, else of cores."""
    name = "GPU" if wanted.get("GPU") else "CPU"
    counts = [int(resources.get(name, 0)) for resources in (wanted, free, total)]
    return f"{format_count(counts[0], name)}: {counts[1]} of the cluster's {counts[2]} are free"


def _wanted_by_groups(job: str) -> dict[str, float]:
    """What placement groups of this command ask for that are not there; Ray Train makes one for all workers."""
    groups = placement_group_table().values()
    # The last bytes of an id are those of the job.
    pending = (group for group in groups if group["state"] in PENDING and group["placement_group_id"].endswith(job))
    wanted: dict[str, float] = {}
    for bundle in (bundle for group in pending for bundle in group["bundles"].values()):
        wanted |= {name: wanted.get(name, 0) + amount for name, amount in bundle.items()}
    return wanted
