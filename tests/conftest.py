"""What many tests share: a small ALOHA dataset, its conversion, and ways to look at both."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from millrace.engine.convert import Summary, Workers, convert
from millrace.engine.planning.recipe import Recipe
from support.groot_tests import describe_other_release, other_release
from support.synthetic import write_dataset

REPOSITORY = Path(__file__).parent.parent
sys.path.append(str(REPOSITORY))  # for benchmarks/
# Machines are shared and slow at times: no test fails for the time it took.
settings.register_profile("millrace", deadline=None, max_examples=50)
settings.load_profile("millrace")
LOCAL = Workers(local=True)
LENGTHS = (41, 33, 17)
# The side of the synthetic pictures' centre square: only cropped, so that barcodes stay sharp.
IMAGE_SIZE = 64
# Files that take longest. They come first, so that no process has one left when the others are done.
LONGEST_FIRST = (
    *(
        "test_finetune_ray.py",
        "test_fuzz.py",
        "test_fuzz_recordings.py",
        "test_upload.py",
        "test_finetune_cluster.py",
        "test_executors.py",
    ),
    *("test_cli.py", "test_hub.py", "test_convert.py", "test_failures.py", "test_pipeline_upload.py", "test_kills.py"),
    *("test_evaluate.py", "test_starved.py", "test_pipeline.py", "test_worker_deaths.py", "test_benchmarks.py"),
)

if TYPE_CHECKING:
    from support.hub_client import HubUser
    from support.hub_server import HubServer
    from support.s3_faults import S3Server

# Millrace flushes each file to its disk, which took a good part of the tests' time where that is no memory.
RAM, LEAST_FREE_GB = Path("/dev/shm"), 4
if RAM.is_dir() and shutil.disk_usage(RAM).free >= LEAST_FREE_GB << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RAM))

# A shell starts its background jobs deaf to Ctrl-C, and their children inherit that; the tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
collect_ignore = [f"groot/{name}" for name in other_release()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what is left out; a header would not be shown with -q."""
    for line in describe_other_release():
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, each as a whole."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def recipe_for(source: Path, **settings: Any) -> Recipe:
    """ALOHA onto GR1 in small pictures, unless the settings say otherwise; a task replaces all of the source's."""
    target = {} if "robot" in settings else {"map": "aloha_to_gr1"}
    replaced = {"task_all": True} if isinstance(settings.get("task"), str) else {}
    return Recipe.single(source, **{**target, **replaced, "image_size": IMAGE_SIZE, "crop": "center", **settings})


def convert_here(source: Path, out: Path, **settings: Any) -> Summary:
    """Convert in this process; settings are those of the recipe."""
    return convert(recipe_for(source, **settings), out, workers=LOCAL)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset by relative path; OUT/.millrace and the report are not part of it."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    beside = (".millrace", "report.html")
    return {str(path): (folder / path).read_bytes() for path in sorted(paths) if path.parts[0] not in beside}


def video_path(dataset: Path, episode: int, camera: str = "top", *, chunk: int = 0) -> Path:
    """One mp4 of a LeRobot v2 dataset, source or output."""
    return dataset / f"videos/chunk-{chunk:03d}/observation.images.{camera}/episode_{episode:06d}.mp4"


def data_path(dataset: Path, episode: int, *, chunk: int = 0) -> Path:
    """One parquet file of a LeRobot v2 dataset, source or output."""
    return dataset / f"data/chunk-{chunk:03d}/episode_{episode:06d}.parquet"


def read_table(dataset: Path, episode: int, *, chunk: int = 0) -> pa.Table:
    """The rows of one episode, as the file holds them."""
    with pq.ParquetFile(data_path(dataset, episode, chunk=chunk)) as file:
        return file.read()


def matrix(table: pa.Table, column: str) -> NDArray[Any]:
    """A column of vectors as (T, D)."""
    return np.array(table[column].to_pylist(), dtype=np.float32)


def read_meta(dataset: Path, name: str) -> Any:
    """meta/NAME: a JSON file's content, or the list of a JSONL file's lines."""
    text = (dataset / "meta" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("NO DISK CAN BE MOUNTED HERE, so that none can be full")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def hub() -> Iterator["HubServer"]:
    """A small Hub on this machine."""
    from support.hub_server import HubServer

    with HubServer() as server:
        yield server


@pytest.fixture
def user(hub: "HubServer", tmp_path: Path) -> "HubUser":
    """Somebody who may write to it."""
    from support.hub_client import HubUser

    return HubUser(hub, tmp_path / "home")


@pytest.fixture(scope="session")
def s3_server() -> Iterator["S3Server"]:
    """An S3 server on this machine."""
    from support.s3_faults import S3Server

    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server: "S3Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Server"]:
    """That server without faults, with the environment of somebody who may use it, and a cache of their own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**s3_server.environment, "MILLRACE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    s3_server.forget()


@pytest.fixture(scope="session")
def aloha(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A v2.1 dataset of three episodes at 50 Hz, AV1 as LeRobot writes it; not to be changed."""
    root = tmp_path_factory.mktemp("source") / "aloha"
    write_dataset(root, lengths=LENGTHS)
    return root


@pytest.fixture(scope="session")
def aloha_gr1(aloha: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That dataset converted; not to be changed."""
    out = tmp_path_factory.mktemp("converted") / "aloha_gr1"
    convert_here(aloha, out)
    return out


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted dataset with nothing wrong, no joint at rest, and its millrace.json; not to be changed."""
    from support.broken_datasets import write_whole

    return write_whole(tmp_path_factory.mktemp("validate"))


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    """A copy as any tool may have made it: without millrace.json, whose digests would notice every change."""
    from support.broken_datasets import copy

    return copy(whole, tmp_path / "dataset", keep_manifest=False)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a moving robot, without a fault; not to be changed."""
    from support.faulty_datasets import write_pristine

    return write_pristine(tmp_path_factory.mktemp("inspection") / "pristine")


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return Path(shutil.copytree(pristine, tmp_path / "dataset"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of two small robots."""
    from support.small_maps import write_robots

    return write_robots(tmp_path)
