"""Move many objects at a time, as each takes little but time."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from millrace.engine.stored.objects import Objects

Item = TypeVar("Item")
NUM_CONNECTIONS = 16
# Handed out at a time, so that a million need no memory.
ITEMS_AT_ONCE = 512


def do_at_once(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Work on each item, many at a time; the first error ends it."""
    waiting = iter(items)
    pool = ThreadPoolExecutor(NUM_CONNECTIONS)
    try:
        while batch := list(islice(waiting, ITEMS_AT_ONCE)):
            for _ in pool.map(work, batch):
                pass
    finally:
        pool.shutdown(cancel_futures=True)


def fetch_all(objects: Objects, places: Mapping[str, Path]) -> None:
    """Fetch objects to these places, which their folders are made for."""
    do_at_once(lambda place: fetch(objects, *place), places.items())


def fetch(objects: Objects, name: str, place: Path) -> None:
    """Fetch an object, which appears whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f"{uuid4().hex}.unfinished")
    try:
        objects.fetch(name, unfinished)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
