"""Conversions on nodes with networks and mounts of their own: what fails there is survived, or named before work."""

import importlib.metadata
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import convert_here, files_of
from millrace.commands.last_words import HEAD_IS_GONE
from support.network_nodes import HEAD_PORT, Network, Node, make_network, wait_for
from support.processes import LEDGER, wait_for_lines
from support.synthetic import SyntheticVideo, write_dataset

pytestmark = pytest.mark.cluster
NUM_EPISODES = 24
# Long enough that each of four workers takes seconds for its share.
LENGTH = 200
VIDEO = SyntheticVideo(codec="libx264", gop=50, bframes=0, height=120, width=160)
SETTINGS = {"robot": "aloha", "horizon": 4}
FLAGS = ("--robot", "aloha", "--horizon", "4", "--image-size", "64", "--crop", "center", "--no-report")
CUT_SECONDS = 30.0
# How Ray calls the processes that convert.
WORKER = "ray::.*MapWorker"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("network") / "source"
    write_dataset(root, lengths=(LENGTH,) * NUM_EPISODES, fps=20, video=VIDEO)
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process of this machine makes of it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert_here(source, out, **SETTINGS)
    return files_of(out)


@pytest.fixture
def network() -> Iterator[Network]:
    with make_network() as made:
        yield made


@pytest.fixture
def head(network: Network) -> Node:
    """A node without cores, where the command runs."""
    node = network.add("head")
    node.start_ray(num_cpus=0)
    return node


def add_worker(network: Network, name: str, **environment: str) -> Node:
    node = network.add(name)
    node.start_ray(head=network.nodes[0], **environment)
    return node


def convert(head: Node, source: Path, out: Path, *flags: object) -> "subprocess.Popen[str]":
    return head.millrace("convert", source, out, *FLAGS, "--address", f"{head.address}:{HEAD_PORT}", *flags)


def end(process: "subprocess.Popen[str]") -> str:
    """What a command that succeeds has printed."""
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, printed + errors
    return printed + errors


def refused(process: "subprocess.Popen[str]", out: Path) -> list[str]:
    """The lines of a command that ends before it has converted anything."""
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 1, printed + errors
    assert not list(out.rglob("*.mp4"))
    assert not list(out.rglob("*.parquet"))
    return errors.splitlines()


def test_two_nodes_make_the_bytes_of_one_process(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    workers = [add_worker(network, name) for name in ("first", "second")]
    process = convert(head, source, tmp_path / "out")
    wait_for_lines(tmp_path / "out" / LEDGER, 3, process)
    assert all(is_converting(worker) for worker in workers)
    assert "Ray Data at" in end(process)
    assert files_of(tmp_path / "out") == undisturbed


def is_converting(node: Node) -> bool:
    return bool(node.run("pgrep", "--full", WORKER).stdout)


def signal_workers(node: Node, name: str) -> None:
    """To the workers of one node: it sees no other processes."""
    assert node.run("pkill", f"-{name}", "--full", WORKER).returncode == 0


def test_a_node_whose_plug_is_pulled_is_survived(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    add_worker(network, "stays")
    lost = add_worker(network, "lost")
    process = convert(head, source, tmp_path / "out")
    wait_for_lines(tmp_path / "out" / LEDGER, 5, process)
    lost.kill()
    end(process)
    assert files_of(tmp_path / "out") == undisturbed


def test_a_node_that_is_cut_off_for_half_a_minute_is_survived(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Longer than the cluster waits for it: it was given up, and its workers come back to a cluster that has others."""
    add_worker(network, "stays")
    away = add_worker(network, "away")
    process = convert(head, source, tmp_path / "out")
    wait_for_lines(tmp_path / "out" / LEDGER, 5, process)
    away.cut_off()
    time.sleep(CUT_SECONDS)
    away.reconnect()
    end(process)
    assert files_of(tmp_path / "out") == undisturbed


def test_a_node_that_is_added_takes_part(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    first = add_worker(network, "first")
    process = convert(head, source, tmp_path / "out")
    wait_for_lines(tmp_path / "out" / LEDGER, 3, process)
    signal_workers(first, "STOP")  # a node takes a while to start
    added = add_worker(network, "added")
    wait_for(lambda: is_converting(added) or process.poll() is not None, what="work on the node that was added")
    signal_workers(first, "CONT")
    end(process)
    assert files_of(tmp_path / "out") == undisturbed


def test_the_same_command_continues_on_another_cluster_once_the_head_is_gone(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The command runs on another machine than the head."""
    worker = add_worker(network, "worker")
    out = tmp_path / "out"
    address = f"{head.address}:{HEAD_PORT}"
    process = worker.millrace("convert", source, out, *FLAGS, "--address", address)
    wait_for_lines(out / LEDGER, 5, process)
    head.kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert HEAD_IS_GONE in errors.splitlines(), errors
    assert not (out / "meta").exists()
    other = network.add("other")
    other.start_ray()
    again = other.millrace("convert", source, out, *FLAGS, "--address", f"{other.address}:{HEAD_PORT}")
    end(again)
    assert files_of(out) == undisturbed


def give_other_code(node: Node, folder: Path) -> None:
    """Let a node have a Millrace of the same version that is not the same."""
    fps = Path(sys.modules["millrace.engine.fps"].__file__ or "")
    (folder / "fps.py").write_text(fps.read_text() + "\n")
    node.mount(folder / "fps.py", fps)


def test_a_node_that_is_added_and_differs_ends_the_run_by_name(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """It converts nothing, so that the same command without it makes the same bytes."""
    first = add_worker(network, "first")
    added = network.add("added")
    give_other_code(added, tmp_path)
    process = convert(head, source, tmp_path / "out")
    wait_for_lines(tmp_path / "out" / LEDGER, 3, process)
    signal_workers(first, "STOP")
    added.start_ray(head=head)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert "node added, which joined during the run, has millrace " in errors
    added.kill()
    end(convert(head, source, tmp_path / "out"))
    assert files_of(tmp_path / "out") == undisturbed


def test_nodes_without_millrace_are_named_and_get_it_for_the_run(
    network: Network, head: Node, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """As a fresh image of Ray with the libraries has it."""
    bare = network.add("bare", {name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    for found in importlib.metadata.distribution("millrace-robotics").files or ():
        if found.suffix == ".pth":
            (tmp_path / found.name).touch()
            bare.mount(tmp_path / found.name, Path(str(found.locate())))
    bare.start_ray(head=head)
    lines = refused(convert(head, source, tmp_path / "out"), tmp_path / "out")
    assert lines[-2].endswith(
        "lacks the Python module millrace: install the same Millrace on every node, or for a conversion send it "
        "along: --ship code"
    ), lines
    end(convert(head, source, tmp_path / "out", "--ship", "code"))
    assert files_of(tmp_path / "out") == undisturbed
    lines = refused(convert(head, source, tmp_path / "again", "--ship", "libraries"), tmp_path / "again")
    assert " cannot install what was sent along (" in lines[-2], "this network has no package index"


def test_nodes_that_differ_are_named_each_with_what_differs_and_what_to_do(
    network: Network, head: Node, source: Path, tmp_path: Path
) -> None:
    out, folders = tmp_path / "out", {name: tmp_path / name for name in ("metadata", "elsewhere", "code")}
    for folder in folders.values():
        folder.mkdir()
    out.mkdir()
    empty, other_out, other_codec, older = (network.add(name) for name in ("empty", "other-out", "codec", "older"))
    empty.hide(source)
    other_out.hide(out)
    av = importlib.metadata.distribution("av")
    metadata = Path(str(av.locate_file(next(file for file in av.files or () if file.name == "METADATA"))))
    other = metadata.read_text().replace(f"\nVersion: {av.version}\n", "\nVersion: 1.2.3\n")
    (folders["metadata"] / "METADATA").write_text(other)
    other_codec.mount(folders["metadata"] / "METADATA", metadata)
    give_other_code(older, folders["code"])
    for node in (empty, other_out, other_codec, older):
        node.start_ray(head=head, num_cpus=1)
    lines = refused(convert(head, source, out), out)
    own = {line.split()[1]: line for line in lines if line.startswith("node ")}
    assert set(own) == {"empty", "other-out", "codec", "older"}, lines
    missing = rf"does not see {source}/\S+, which the driver does; sources must be at the same path on all nodes"
    assert re.search(missing, own["empty"])
    assert f"cannot use the output folder (No such file or directory: {out}" in own["other-out"]
    assert own["codec"].endswith(
        f"has av 1.2.3, not {av.version}: run `pip install av=={av.version}` there, or send it along: --ship libraries"
    )
    assert re.search(
        r"has millrace \S+ \(output \d+, code (\w{8})\), not \S+ \(output \d+, code (?!\1)\w{8}\): "
        r"install the same Millrace there, or send it along: --ship code$",
        own["older"],
    )
    assert lines[-1].startswith("nothing was converted: fix these nodes")
