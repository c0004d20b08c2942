"""The cache: bounded, the oldest goes first, nothing in use goes, and no half file is ever taken for a whole one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.engine.errors import RecipeError
from millrace.engine.stores import cache as cache_module
from millrace.engine.stores.cache import Cache
from millrace.engine.stores.leases import current_lease, holding_block
from support.processes import CONTEXT, serve_forks

SIZE = 1000


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Room for five files."""
    return Cache(tmp_path / "cache", 5 * SIZE)


def write(cache: Cache, name: str, *, used_at: int, size: int = SIZE) -> Path:
    cache.make_room(size)
    path = cache.folder / name
    cache.fill(path, lambda one: one.is_file(), lambda one: one.write_bytes(bytes(size)) and None)
    os.utime(path, (used_at, used_at))
    return path


def test_the_oldest_files_make_room(cache: Cache) -> None:
    paths = [write(cache, f"aloha/{number}.mp4", used_at=1000 + number) for number in range(5)]
    os.utime(paths[0])  # it was used again
    newest = write(cache, "aloha/new.mp4", used_at=2000)
    left = set(cache.folder.rglob("*.mp4"))
    assert {paths[0], newest} <= left
    assert paths[1] not in left
    assert sum(path.stat().st_size for path in left) <= cache.max_bytes


def test_files_in_use_stay_though_the_cache_is_too_small(cache: Cache) -> None:
    with holding_block():
        current_lease(cache.folder).add(["0.mp4", "1.mp4"])
        used = [write(cache, f"{number}.mp4", used_at=1000) for number in range(2)]
        for number in range(2, 12):
            write(cache, f"{number}.mp4", used_at=2000 + number)
        assert all(path.is_file() for path in used)
    for number in range(12, 20):
        write(cache, f"{number}.mp4", used_at=3000 + number)
    assert not any(path.is_file() for path in used)
    assert not list((cache.folder / "leases").iterdir())


def hold_and_die(folder: Path) -> None:
    current_lease(folder).add(["held.mp4"])
    os._exit(1)


def test_a_killed_process_holds_nothing(cache: Cache) -> None:
    serve_forks()
    path = write(cache, "held.mp4", used_at=1000)
    child = CONTEXT.Process(target=hold_and_die, args=(cache.folder,))
    child.start()
    child.join()
    assert list((cache.folder / "leases").iterdir())
    for number in range(8):
        write(cache, f"{number}.mp4", used_at=2000 + number)
    assert not path.is_file()
    assert not list((cache.folder / "leases").iterdir())


def test_a_half_file_is_not_taken(cache: Cache) -> None:
    path = cache.folder / "clip.mp4"

    def fail(unfinished: Path) -> None:
        unfinished.write_bytes(b"half")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.fill(path, lambda one: one.is_file(), fail)
    assert not path.exists()
    cache.fill(path, lambda one: one.is_file(), lambda one: one.write_bytes(b"whole") and None)
    assert path.read_bytes() == b"whole"
    assert not list((cache.folder / "unfinished").iterdir())


def fill_slowly(path: Path, begun: "Callable[[], None]", count: Path) -> None:
    def work(unfinished: Path) -> None:
        with count.open("a") as file:
            file.write("x")
        begun()
        unfinished.write_bytes(b"whole")

    Cache(path.parent, SIZE).fill(path, lambda one: one.is_file(), work)


def test_processes_that_want_the_same_file_fetch_it_once(cache: Cache, tmp_path: Path) -> None:
    serve_forks()
    barrier, count = CONTEXT.Event(), tmp_path / "count"
    cache.folder.mkdir()
    children = [
        CONTEXT.Process(target=fill_slowly, args=(cache.folder / "clip.mp4", barrier.wait, count)) for _ in range(3)
    ]
    for child in children:
        child.start()
    barrier.set()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert count.read_text() == "x"


def test_its_size_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("MILLRACE_CACHE_GB", "2.5")
    assert Cache.of_user() == Cache(tmp_path / "millrace-stores", 2_500_000_000)
    assert Cache.of_user(1).max_bytes == cache_module.GIGABYTE
    monkeypatch.setenv("MILLRACE_CACHE_GB", "plenty")
    with pytest.raises(RecipeError, match="MILLRACE_CACHE_GB is the size of a cache in GB, not 'plenty'"):
        Cache.of_user()
