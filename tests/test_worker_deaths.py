"""Workers die, by the OOM killer or inside a codec: the run goes on, and an episode that kills is set aside."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from conftest import REPOSITORY, files_of, recipe_for
from engine.attempts import MAX_DEATHS, attempt
from engine.convert import Workers, convert
from engine.errors import EpisodesFailed

# Real episodes: a worker is at each of them long enough to be hit.
EXAMPLE = REPOSITORY / "examples/aloha"
SETTINGS = {"map": "aloha_to_gr1", "task": "Fold."}


@contextmanager
def killing(out: Path, index: int, signals: list[signal.Signals]) -> Iterator[Counter[int]]:
    """Send the next of the signals to each worker that begins an episode; yields how many came to which process."""
    killed: Counter[int] = Counter()
    stop = Event()

    def watch() -> None:
        waiting = list(signals)
        while waiting and not stop.is_set():
            for note in out.glob(f".millrace/run-*/{index}.attempts"):
                with suppress(FileNotFoundError):
                    for pid in note.read_text().split():
                        if int(pid) not in killed:
                            os.kill(int(pid), waiting.pop(0))
                            killed[int(pid)] += 1
            time.sleep(0.005)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(recipe_for(EXAMPLE, **SETTINGS), out, workers=Workers(local=True))
    return files_of(out)


def test_a_killed_worker_is_replaced_and_leaves_no_trace(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    signals = [signal.SIGKILL, signal.SIGSEGV]
    with killing(tmp_path / "out", 1, signals) as killed:
        convert(recipe_for(EXAMPLE, **SETTINGS), tmp_path / "out", workers=Workers(num=1))
    assert len(killed) == len(signals) < MAX_DEATHS
    assert files_of(tmp_path / "out") == undisturbed


def test_an_episode_that_kills_its_worker_three_times_is_set_aside(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    signals = [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT]
    with (
        killing(tmp_path / "out", 0, signals) as killed,
        pytest.raises(EpisodesFailed, match=r"^episode 0: 3 workers died over it"),
    ):
        convert(recipe_for(EXAMPLE, **SETTINGS), tmp_path / "out", workers=Workers(num=1))
    assert len(killed) == MAX_DEATHS
    assert not (tmp_path / "out/meta").exists()

    convert(recipe_for(EXAMPLE, **SETTINGS), tmp_path / "out", workers=Workers(local=True))
    assert files_of(tmp_path / "out") == undisturbed


def test_an_episode_that_ends_leaves_no_note(tmp_path: Path) -> None:
    with attempt(7, tmp_path) as num_deaths:
        assert num_deaths == 0
        assert (tmp_path / "7.attempts").read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())
