"""The whole run dies at any moment: a rerun finishes the job, to the bytes of a run in which nothing happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from conftest import convert_here, files_of, recipe_for
from support.processes import LEDGER, kill_after, start, wait_for_lines
from support.synthetic import SyntheticVideo, write_dataset

VIDEO = SyntheticVideo(codec="libx264", gop=250, bframes=3)
NUM_EPISODES = 10
IMAGE_SIZE = 256
NUM_KILLS = 5
SEED = 20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kills") / "source"
    write_dataset(root, lengths=(41,) * NUM_EPISODES, video=VIDEO)
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """All files of a run in which nothing happens, and how many seconds it takes."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    started = time.monotonic()
    convert_here(source, out, robot="aloha", image_size=IMAGE_SIZE)
    return files_of(out), time.monotonic() - started


def assert_same(out: Path, reference: dict[str, bytes]) -> None:
    ours = files_of(out)
    assert list(ours) == list(reference)
    assert [name for name in reference if ours[name] != reference[name]] == []


def test_killed_at_random_moments(source: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    reference, seconds = undisturbed
    recipe = recipe_for(source, robot="aloha", image_size=IMAGE_SIZE)
    moments = random.Random(SEED)
    num_killed, number = 0, 0
    while num_killed < NUM_KILLS:
        out, number = tmp_path / f"out_{number}", number + 1
        was_killed = kill_after(moments.uniform(0, seconds), recipe, out)
        num_killed += was_killed
        assert was_killed or (out / "meta").is_dir()
        names = {path.suffix for path in out.rglob("*") if path.is_file() and ".millrace" not in path.parts}
        assert names <= {".parquet", ".mp4", ".jpg", ".md", ".py", ".json", ".jsonl"}
        convert_here(source, out, robot="aloha", image_size=IMAGE_SIZE)
        assert_same(out, reference)


def test_killed_beside_its_workers(source: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    """The rerun begins while workers of the killed run may still be at it."""
    reference, out, moments = undisturbed[0], tmp_path / "out", random.Random(SEED)
    flags = ["--robot", "aloha", "--image-size", IMAGE_SIZE, "--crop", "center", "--no-report"]
    with start("convert", source, out, *flags, "--workers", "2") as process:
        wait_for_lines(out / LEDGER, moments.randrange(1, NUM_EPISODES), process)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        try:
            convert_here(source, out, robot="aloha", image_size=IMAGE_SIZE)
            assert_same(out, reference)
        finally:
            process.stdout.close()
            process.stderr.close()
    time.sleep(1)  # an orphan would have finished by now
    assert_same(out, reference)
