"""Disk, folder, input or node go away: no half-written file ever has its final name, and a rerun ends the same."""

import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, REPOSITORY, convert_here, data_path, files_of, recipe_for, video_path
from millrace.engine.convert import convert
from millrace.engine.dataset.record import EpisodeResult
from millrace.engine.errors import EpisodesFailed, MillraceError, OutputFailed
from support.processes import convert_in_child
from support.synthetic import SyntheticVideo, write_dataset

VIDEO = SyntheticVideo(codec="libx264", gop=250, bframes=3)
LENGTHS = (41,) * 6
SETTINGS: dict[str, Any] = {"robot": "aloha", "image_size": 256}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("starved") / "source"
    write_dataset(root, lengths=LENGTHS, video=VIDEO)
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert_here(source, out, **SETTINGS)
    return files_of(out)


def assert_no_half_file(out: Path, reference: dict[str, bytes]) -> None:
    """Whatever has a final name is complete: these files are those of an undisturbed run."""
    assert {name: content for name, content in files_of(out).items() if reference.get(name) != content} == {}


def limit_files(num_bytes: int) -> None:
    """No file of this process grows larger: writing beyond fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


@pytest.mark.parametrize("num_bytes", [2_000, 12_000, 30_000])
def test_no_file_may_grow(source: Path, undisturbed: dict[str, bytes], tmp_path: Path, num_bytes: int) -> None:
    recipe, out = recipe_for(source, **SETTINGS), tmp_path / "out"
    assert max(map(len, undisturbed.values())) > num_bytes
    for _ in range(2):
        assert convert_in_child(recipe, out, skip_bad=True, limit=partial(limit_files, num_bytes)) == 1
        told = (tmp_path / "out.error").read_text()
        assert told.startswith(f"OutputFailed: no space is left for {out} (File too large); make some, then the same")
        assert not (out / "meta").exists()
        assert_no_half_file(out, undisturbed)
    convert(recipe, out, workers=LOCAL)
    assert files_of(out) == undisturbed


def test_a_full_disk_stops_the_run_in_one_line(source: Path, undisturbed: dict[str, bytes], small_disk: Path) -> None:
    recipe, out = recipe_for(source, **SETTINGS), small_disk / "out"
    with pytest.raises(OutputFailed, match=r"no space is left for .*; make some, then the same command goes on"):
        convert(recipe, out, workers=LOCAL, skip_bad=True)
    assert_no_half_file(out, undisturbed)
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    convert(recipe, out, workers=LOCAL)
    assert files_of(out) == undisturbed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_folder_that_may_not_be_written_to(source: Path, tmp_path: Path) -> None:
    """/proc refuses even root."""
    with pytest.raises(MillraceError, match="/proc/out"):
        convert(recipe_for(source, **SETTINGS), Path("/proc/out"), workers=LOCAL)


def test_the_output_folder_is_taken_away(source: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out, away = tmp_path / "out", tmp_path / "away"

    def take_away(result: EpisodeResult) -> None:
        if out.exists() and result.index == 2:
            out.rename(away)

    with pytest.raises(OutputFailed, match=rf"{out} cannot be written to .*; once it can, the same command goes on"):
        convert(recipe_for(source, **SETTINGS), out, workers=LOCAL, on_result=take_away)
    shutil.rmtree(out, ignore_errors=True)
    away.rename(out)
    assert_no_half_file(out, undisturbed)
    convert(recipe_for(source, **SETTINGS), out, workers=LOCAL)
    assert files_of(out) == undisturbed


def test_the_input_vanishes_midway(source: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    hidden, out = source.with_name("hidden"), tmp_path / "out"

    def vanish(result: EpisodeResult) -> None:
        if result.index == 2:
            source.rename(hidden)

    try:
        with pytest.raises(EpisodesFailed) as caught:
            convert(recipe_for(source, **SETTINGS), out, workers=LOCAL, on_result=vanish)
    finally:
        hidden.rename(source)
    assert [(one.code.value, one.episode) for one in caught.value.quarantined] == [("changed", e) for e in (3, 4, 5)]
    assert_no_half_file(out, undisturbed | {"quarantine.jsonl": (out / "quarantine.jsonl").read_bytes()})
    convert(recipe_for(source, **SETTINGS), out, workers=LOCAL)
    assert files_of(out) == undisturbed


LEAVING_NODE = """
import sys
from pathlib import Path
from ray.cluster_utils import Cluster
from conftest import recipe_for
from millrace.engine.convert import Workers, convert

source, out = map(Path, sys.argv[1:])
# By default Ray waits 15 seconds before it gives a node up.
noticing = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": noticing})
leaving = cluster.add_node(num_cpus=1)
results = []

def on_result(result):
    results.append(result)
    if len(results) == 2:
        cluster.remove_node(leaving, allow_graceful=False)

recipe = recipe_for(source, robot="aloha", image_size=256)
convert(recipe, out, workers=Workers(address=cluster.address), on_result=on_result)
cluster.shutdown()
"""


@pytest.mark.cluster
def test_a_node_leaves_the_cluster(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=(41,) * 16, video=VIDEO)
    convert_here(source, tmp_path / "undisturbed", **SETTINGS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(REPOSITORY / "tests"), str(REPOSITORY)))}
    command = [sys.executable, "-c", LEAVING_NODE, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert files_of(out) == files_of(tmp_path / "undisturbed")


def test_finished_files_are_held_against_their_digests(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def stop(result: EpisodeResult) -> None:
        if result.index == 3:
            raise KeyboardInterrupt

    out, recipe = tmp_path / "out", recipe_for(source, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        convert(recipe, out, workers=LOCAL, on_result=stop)
    for path in (data_path(out, 1), video_path(out, 2)):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    converted: list[int] = []
    convert(recipe, out, workers=LOCAL, verify=True, on_result=lambda result: converted.append(result.index))
    assert converted == [1, 2, 4, 5]
    assert files_of(out) == undisturbed
