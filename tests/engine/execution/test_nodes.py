"""Nodes share sources, output and libraries with the driver, or are named; a worker never takes another file."""

import os
import re
import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, convert_here, data_path, files_of, recipe_for, video_path
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.dataset.record import EpisodeFailure, EpisodeResult
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import EpisodesFailed, FaultCode, NodesDiffer
from millrace.engine.execution import cluster
from millrace.engine.execution.cluster import _NoAnswer, check_nodes
from millrace.engine.execution.episode_worker import EpisodeWorker
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.local import InlineExecutor
from millrace.engine.execution.node import TOKEN, Shared, collect_shared, node_problems
from millrace.engine.execution.ray_data import BatchWorker, read_result
from millrace.engine.planning.plan import ConversionPlan, EpisodePlan, Job
from millrace.engine.sources.file_state import FileState
from support.synthetic import SyntheticVideo, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
SETTINGS = {"robot": "aloha", "horizon": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nodes") / "source"
    write_dataset(root, lengths=(6, 8), fps=20, video=SMALL)
    return root


@pytest.fixture
def plan(source: Path, tmp_path: Path) -> ConversionPlan:
    return plan_conversion(recipe_for(Path(shutil.copytree(source, tmp_path / "source")), **SETTINGS))


def test_workers_get_absolute_paths_whatever_was_typed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    plan = plan_conversion(recipe_for(Path("source"), **SETTINGS))
    assert plan.recipe.sources[0].path == Path("source")
    assert plan.job.bindings[0].root == source
    assert all(path.is_absolute() for episode in plan.episodes for path in episode.episode.paths)


def test_the_same_dataset_comes_of_a_relative_and_an_absolute_path(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    convert_here(Path("source"), tmp_path / "relative", **SETTINGS)
    convert_here(source, tmp_path / "absolute", **SETTINGS)
    assert files_of(tmp_path / "relative") == files_of(tmp_path / "absolute")


def test_a_worker_that_sees_another_file_does_not_take_it(plan: ConversionPlan, tmp_path: Path) -> None:
    """The same size, as a copy on a node that is not the driver's."""
    video = video_path(plan.job.bindings[0].root, 1)
    os.utime(video, ns=(0, video.stat().st_mtime_ns - 60_000_000_000))
    result = convert_episode(plan.episodes[1], plan.job, tmp_path / "out", tmp_path)
    assert isinstance(result, EpisodeFailure)
    assert result.code is FaultCode.CHANGED
    assert (
        f" sees {video} with {FileState.read(video)}, where the plan saw {plan.episodes[1].states[1]}" in result.reason
    )
    assert not result.code.is_of_episode


def test_files_that_vanish_during_a_run_are_not_skipped(source: Path, tmp_path: Path) -> None:
    """An unmounted drive leaves an empty folder; its episodes are as good as before."""
    root = Path(shutil.copytree(source, tmp_path / "source"))

    def unmount(result: EpisodeResult) -> None:
        if root.is_dir() and any(root.iterdir()):
            root.rename(tmp_path / "drive")
            root.mkdir()

    out, recipe = tmp_path / "out", recipe_for(root, **SETTINGS)
    with pytest.raises(EpisodesFailed) as caught:
        convert(recipe, out, workers=LOCAL, skip_bad=True, on_result=unmount)
    assert f"does not see {data_path(root, 1)}, which the plan saw" in caught.value.lines[0]
    assert not (out / "meta").exists()
    root.rmdir()
    (tmp_path / "drive").rename(root)
    summary = convert(recipe, out, workers=LOCAL, skip_bad=True)
    assert (summary.num_episodes, summary.quarantined) == (2, ())


def test_times_that_a_file_system_rounds_are_the_same(plan: ConversionPlan, tmp_path: Path) -> None:
    states = tuple(replace(state, mtime_ns=state.mtime_ns // 10**9 * 10**9) for state in plan.episodes[1].states)
    episode = replace(plan.episodes[1], states=states)
    assert not isinstance(convert_episode(episode, plan.job, tmp_path / "out", tmp_path), EpisodeFailure)


def test_a_file_that_only_a_worker_misses_is_converted_by_the_driver(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(InlineExecutor):
        """An executor whose workers do not see the rows of episode 1."""

        def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
            for result in super().run(plans, job, folders):
                yield _missing(result) if result.index == 1 else result

    with monkeypatch.context() as patch:
        patch.setattr("millrace.engine.run.choose_executor", lambda *_: Blind())
        summary = convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=LOCAL, skip_bad=True)
    assert (summary.num_episodes, summary.quarantined) == (2, ())
    convert_here(source, tmp_path / "other", **SETTINGS)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other")


def _missing(result: EpisodeResult) -> EpisodeFailure:
    facts = result.model_dump(include={"index", "plan", "binding", "source_episode"})
    return EpisodeFailure(**facts, camera=None, code=FaultCode.MISSING, reason="no rows")


def test_a_node_like_the_driver_has_no_problems(plan: ConversionPlan, tmp_path: Path) -> None:
    assert node_problems(collect_shared(plan.episodes, tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [TOKEN]


def test_a_node_says_what_it_lacks(plan: ConversionPlan, tmp_path: Path) -> None:
    shared = collect_shared(plan.episodes, tmp_path)
    rows, video = (path_of(plan.job.bindings[0].root, 0) for path_of in (data_path, video_path))
    video.write_bytes(b"other")
    other = replace(shared, versions={**shared.versions, "numpy": "0.1"}, token="another")
    versions, folder, file = node_problems(other)
    assert versions == (
        f"has numpy {np.__version__}, not 0.1: run `pip install numpy==0.1` there, or send it along: "
        "Workers(ship='libraries')"
    )
    assert folder == f"sees another folder at {tmp_path} than the driver"
    assert file.startswith(f"sees {video} with 5 bytes of ")
    rows.unlink()
    (problem,) = node_problems(replace(shared, folder=tmp_path))
    assert problem.startswith(f"does not see {rows}, which the driver does")
    (first, _) = node_problems(replace(shared, folder=tmp_path / "elsewhere"))
    assert first.startswith("cannot use the output folder (No such file or directory: ")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"av": "1.0", "x264": "9"}, r"has av \S+, not 1.0: run `pip install av==1.0` there, or send it along"),
        ({"x264": "9"}, r"has x264 .+, not 9: install the same build of PyAV there$"),
        ({"millrace": "9"}, r"install the same Millrace there, or send it along: Workers\(ship='code'\)$"),
        ({"python": "2.7"}, r"has python \S+, not 2.7: start its Ray with Python 2.7$"),
        ({"millrace": "9", "av": "1.0"}, r"Millrace there and run `pip install av==1.0` there, .*ship='libraries'"),
    ],
)
def test_a_node_says_which_versions_differ_and_what_to_do(
    other: dict[str, str], told: str, plan: ConversionPlan, tmp_path: Path
) -> None:
    shared = collect_shared(plan.episodes, tmp_path)
    (problem,) = node_problems(replace(shared, versions={**shared.versions, **other}))
    assert re.search(told, problem), problem


def test_a_worker_of_a_node_that_joined_later_and_differs_converts_nothing(
    plan: ConversionPlan, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    shared = collect_shared(plan.episodes, tmp_path / "run")
    moved = tuple((tmp_path / "mount" / path.name, state) for path, state in shared.files)
    lacking = [
        (replace(shared, versions={**shared.versions, "numpy": "0.1"}), "has numpy "),
        (replace(shared, token="another"), "sees another folder at "),
        (replace(shared, files=moved), "does not see "),
    ]
    for other, told in lacking:
        with pytest.raises(NodesDiffer, match=rf"^node \S+, which joined during the run, {told}") as caught:
            worker(plan, tmp_path, other).convert(plan.episodes[0])
        assert "then the same command continues" in caught.value.lines[-1]
        (row,) = BatchWorker(plan.job, Folders(tmp_path / "out", tmp_path / "run"), other)({"plans": b""})
        with pytest.raises(NodesDiffer, match=told):
            read_result(row["result"])
    assert not (tmp_path / "out").exists()


def test_a_worker_does_not_take_one_deleted_file_for_a_missing_disk(plan: ConversionPlan, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shared = collect_shared(plan.episodes, tmp_path / "run")
    video_path(plan.job.bindings[0].root, 0).unlink()
    result = worker(plan, tmp_path, shared).convert(plan.episodes[0])
    assert isinstance(result, EpisodeFailure)
    assert not isinstance(worker(plan, tmp_path, shared).convert(plan.episodes[1]), EpisodeFailure)


def worker(plan: ConversionPlan, folder: Path, shared: Shared) -> EpisodeWorker:
    return EpisodeWorker(plan.job, folder / "out", folder / "run", shared)


def fake_nodes(*numbers: int) -> list[dict[str, Any]]:
    ray = {"Alive": True, "Resources": {"CPU": 4.0}}
    return [
        {
            **ray,
            "NodeID": str(number),
            "NodeManagerHostname": f"host{number}",
            "NodeManagerAddress": f"192.0.2.{number}",
        }
        for number in numbers
    ]


def test_nodes_that_differ_stop_the_run_by_name(
    plan: ConversionPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has a mount without the source, the third hangs, the fourth leaves while it is asked."""
    seen = [fake_nodes(1, 2, 3, 4), fake_nodes(1, 2, 3)]

    def ask(node: dict[str, Any], question: Any, shared: Any, **_: object) -> object:
        elsewhere = tuple((tmp_path / "mount" / path.name, state) for path, state in shared.files)
        if node["NodeID"] == "2":
            return question(replace(shared, files=elsewhere))
        return question(shared) if node["NodeID"] == "1" else _NoAnswer("no answer within 120 s: it is overloaded")

    monkeypatch.setattr(cluster, "alive_nodes", lambda: seen.pop(0))
    monkeypatch.setattr(cluster, "ask_node", ask)
    monkeypatch.setattr(cluster, "_answers", lambda asked, *_, **__: asked)
    with pytest.raises(NodesDiffer) as caught:
        check_nodes(plan.episodes, tmp_path)
    second, third, remedy = caught.value.lines
    missing = tmp_path / "mount" / data_path(Path(), 0).name
    assert second == (
        f"node host2 (192.0.2.2) does not see {missing}, which the driver does; "
        "sources must be at the same path on all nodes"
    )
    assert third == "node host3 (192.0.2.3) no answer within 120 s: it is overloaded"
    assert remedy == "nothing was converted: fix these nodes, or remove them from the cluster"
    seen = [fake_nodes(1), fake_nodes(1)]
    check_nodes(plan.episodes, tmp_path)
