"""The contract of executors: each makes the same bytes, survives its workers' crashes, and leaves nothing behind."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, REPOSITORY, files_of, recipe_for, video_path
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.dataset.record import EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.errors import FaultCode, WorkersFailed
from millrace.engine.execution import local
from millrace.engine.execution.actors import ActorExecutor
from millrace.engine.execution.crashes import MAX_CRASHES
from millrace.engine.execution.executor import Executor, Folders
from millrace.engine.execution.local import InlineExecutor, LocalExecutor
from millrace.engine.execution.ray_data import RayDataExecutor
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.execution.workers import (
    FRAMES_PER_CORE_SECOND,
    MAX_LOCAL_SECONDS,
    Workers,
    choose_executor,
)
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.plan import ConversionPlan
from support.processes import LEDGER, convert_in_child, start, wait_for_lines
from support.still_stretches import hold
from support.synthetic import write_dataset
from support.waylaid import Deed, doing, kill, refuse_memory, taken, write_large

NUM_EPISODES = 6
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4}
EXECUTORS = {
    "local": LocalExecutor,
    "ray": RayDataExecutor,
    "actors": lambda num_workers: ActorExecutor(Workers(num_workers)),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("executors") / "source"
    write_dataset(root, lengths=(21,) * NUM_EPISODES, cameras=("top", "wrist"))
    write_large(video_path(root, 0, "wrist"), num_frames=21)
    return root


@pytest.fixture(scope="module")
def plan(source: Path) -> ConversionPlan:
    return plan_conversion(recipe_for(source, **SETTINGS))


@pytest.fixture(scope="module")
def undisturbed(plan: ConversionPlan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return converted(InlineExecutor(), plan, tmp_path_factory.mktemp("undisturbed"))[1]


# Actors, which need a GPU in a whole run, are tried with the clusters.
@pytest.fixture(scope="module", params=["local", "ray", pytest.param("actors", marks=pytest.mark.cluster)])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an executor; those of Ray share one Ray, which takes seconds to start."""
    with nullcontext() if request.param == "local" else ray_session(2, None):
        yield request.param


def folders_of(root: Path) -> Folders:
    folders = Folders(root / "out", root / "out/.millrace/run-1")
    folders.scratch.mkdir(parents=True)
    return folders


def converted(executor: Executor, plan: ConversionPlan, root: Path) -> tuple[list[EpisodeResult], dict[str, bytes]]:
    """The results by number, and the files."""
    folders = folders_of(root)
    results = sorted(executor.run(plan.episodes, plan.job, folders), key=lambda result: result.index)
    assert [result.index for result in results] == list(range(len(plan.episodes)))
    return results, files_of(folders.out)


def test_a_run_that_was_killed_while_it_packed_goes_on(kind: str, source: Path, tmp_path: Path) -> None:
    if kind != "ray":
        pytest.skip("actors need a GPU in a whole run; without Ray see test_pack_kills.py")
    recipe, layouts = recipe_for(source, episodes="1:3", **SETTINGS), Layouts(("v2.1", "v3.0"))
    out, workers = tmp_path / "out", Workers(2, executor="ray")
    convert(recipe, tmp_path / "due", workers=LOCAL, layouts=layouts)
    convert(recipe, out, workers=workers)
    assert convert_in_child(recipe, out, layouts=layouts, killed_at=12) == -signal.SIGKILL
    assert not (tmp_path / "out_v30/meta").exists()
    convert(recipe, out, workers=workers, layouts=layouts)
    for suffix in ("", "_v30"):
        assert files_of(tmp_path / f"out{suffix}") == files_of(tmp_path / f"due{suffix}")


def test_the_same_bytes(kind: str, plan: ConversionPlan, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    results, files = converted(EXECUTORS[kind](2), plan, tmp_path)
    assert all(isinstance(result, EpisodeRecord) for result in results)
    assert files == undisturbed
    assert not [path for path in (tmp_path / "out/.millrace").rglob("*") if path.suffix in (".attempts", ".results")]


def test_cuts_shifts_and_filters_are_the_same(kind: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40, 40, 40), fps=20)
    hold(tmp_path / "source", [(0, 15), (20, 35)])
    hold(tmp_path / "source", [(5, 35)], episode=1)
    quality = {"trim_idle": True, "drop_pauses": "0.5s", "align_action": 2, "filter": {"max_idle": "70%"}}
    plan = plan_conversion(recipe_for(tmp_path / "source", **SETTINGS, **quality))
    due, due_files = converted(InlineExecutor(), plan, tmp_path / "due")
    results, files = converted(EXECUTORS[kind](2), plan, tmp_path / "made")
    assert files == due_files
    assert [told(result) for result in results] == [told(result) for result in due]
    first, second, _ = results
    assert isinstance(first, EpisodeRecord)
    assert [cut.why for cut in first.cuts] == ["action", "start", "pause"]
    assert isinstance(second, EpisodeFailure)
    assert second.code is FaultCode.FILTERED


def told(result: EpisodeResult) -> str:
    """All that a result says but for times."""
    return result.model_dump_json(exclude={"seconds"})


def test_results_come_while_others_are_converted(kind: str, plan: ConversionPlan, tmp_path: Path) -> None:
    folders = folders_of(tmp_path)
    results = EXECUTORS[kind](1).run(plan.episodes, plan.job, folders)
    first = next(results)
    assert isinstance(first, EpisodeRecord)
    assert len(list((tmp_path / "out/data").rglob("*.parquet"))) < NUM_EPISODES
    assert len(list(results)) == NUM_EPISODES - 1


def test_a_worker_that_crashes_or_is_refused_memory_is_replaced(
    kind: str, source: Path, plan: ConversionPlan, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    deeds: list[Deed] = [partial(kill, signal.SIGSEGV), refuse_memory]
    with doing(source, tmp_path / "out", deeds) as done:
        _, files = converted(EXECUTORS[kind](2), plan, tmp_path)
    assert len(taken(done)) == 2 < MAX_CRASHES
    assert files == undisturbed


def test_an_episode_that_crashes_every_worker_fails_and_the_others_are_done(
    kind: str, source: Path, plan: ConversionPlan, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    deeds = [partial(kill, number) for number in (signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT)]
    with doing(source, tmp_path / "out", deeds) as done:
        results, files = converted(EXECUTORS[kind](2), plan, tmp_path)
    assert len(taken(done)) == MAX_CRASHES
    assert isinstance(results[0], EpisodeFailure)
    assert results[0].code is FaultCode.WORKER_DIED
    others = {name: content for name, content in undisturbed.items() if "episode_000000" not in name}
    assert {name: files.get(name) for name in others} == others


def test_a_full_disk_is_the_failure_of_the_output(kind: str, plan: ConversionPlan, small_disk: Path) -> None:
    (small_disk / "others").write_bytes(bytes(150_000))
    results, _ = converted(EXECUTORS[kind](2), plan, small_disk)
    failed = [result for result in results if isinstance(result, EpisodeFailure)]
    assert {failure.code for failure in failed} == {FaultCode.OUTPUT}
    assert "no space is left for" in failed[0].reason
    # A failure crosses processes with what it is about, and its remedy apart.
    assert failed[0].facts.file == small_disk / "out"
    assert failed[0].error.remedy == "make some, then the same command goes on where this one stopped"


def test_an_abandoned_run_ends_its_workers(plan: ConversionPlan, tmp_path: Path) -> None:
    results = LocalExecutor(2).run(plan.episodes, plan.job, folders_of(tmp_path))
    next(results)
    assert len(_children()) == 2
    del results
    assert not _children()


def test_no_worker_outlives_an_error_of_the_run(source: Path, tmp_path: Path) -> None:
    def stop(result: EpisodeResult) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop") as caught:
        convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=Workers(2), on_result=stop)
    assert not _children(), f"while {caught} holds the frames of the run"
    assert [path.name for path in (tmp_path / "out/.millrace").glob("run-*")] == []


def test_a_system_that_allows_no_process_is_told(
    plan: ConversionPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(WorkersFailed, match=r"no worker process can be started \(Resource temporarily unavailable"):
        converted(LocalExecutor(2), plan, tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


class Unreadable:
    """What no worker can unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("not here")


def test_an_episode_that_no_worker_can_read_fails_and_the_others_are_done(plan: ConversionPlan, tmp_path: Path) -> None:
    unreadable = replace(plan.episodes[0], tasks=Unreadable())
    executor, folders = LocalExecutor(2), folders_of(tmp_path)
    results = list(executor.run((unreadable, *plan.episodes[1:]), plan.job, folders))
    (failure,) = (result for result in results if isinstance(result, EpisodeFailure))
    assert (failure.index, failure.code, len(results)) == (0, FaultCode.WORKER_DIED, NUM_EPISODES)
    assert "workers died over it: the last failed (" in failure.reason
    assert not _children()


def test_the_episode_of_a_crashed_worker_is_done_by_others_where_none_can_be_started(
    source: Path,
    plan: ConversionPlan,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, popen = [], subprocess.Popen

    def start_two(*arguments: Any, **settings: Any) -> Any:
        started.append(arguments)
        if len(started) > 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return popen(*arguments, **settings)

    with doing(source, tmp_path / "out", [partial(kill, signal.SIGKILL)]) as done:
        monkeypatch.setattr("subprocess.Popen", start_two)
        _, files = converted(LocalExecutor(2), plan, tmp_path)
    assert (len(taken(done)), len(started)) == (1, 3)
    assert files == undisturbed


def _children() -> list[str]:
    """This process's children that convert."""
    command = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [line.split()[0] for line in listed if "execution.local" in line]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stopped_command_leaves_no_process_and_no_temporary_file(
    source: Path, tmp_path: Path, by: signal.Signals
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with start(
        "convert", source, out, "--robot", "aloha", "--horizon", "4", "--workers", "2", environment=environment
    ) as process:
        wait_for_lines(out / LEDGER, 2, process)
        os.killpg(process.pid, by) if by == signal.SIGINT else os.kill(process.pid, by)
        process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while _group_of(process.pid):
        assert time.monotonic() < deadline, _group_of(process.pid)
        time.sleep(0.05)
    assert not list(temporary.iterdir())


def _group_of(pid: int) -> str:
    """The processes of a process group, as ps lists them."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "-s", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def test_a_worker_loads_neither_ray_nor_torch_nor_pandas(plan: ConversionPlan, tmp_path: Path) -> None:
    """As the system sees it: libraries that a worker has mapped once it has converted episodes."""
    results = LocalExecutor(1).run(plan.episodes, plan.job, folders_of(tmp_path))
    next(results)
    (worker,) = _children()
    mapped = Path(f"/proc/{worker}/maps").read_text()
    assert "/av/" in mapped
    assert [name for name in ("/ray/", "/torch/", "/pandas/") if name in mapped] == []
    assert len(list(results)) == NUM_EPISODES - 1


def test_workers_that_cannot_start_are_told_with_their_reason(
    plan: ConversionPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "child_command", lambda *_: [sys.executable, "-c", "import no_such_module"])
    with pytest.raises(WorkersFailed, match=r"ModuleNotFoundError: No module named 'no_such_module'"):
        converted(LocalExecutor(2), plan, tmp_path)
    assert not _children()


UNGUARDED = """
import sys
from millrace.engine.convert import convert
from millrace.engine.execution.workers import Workers
from millrace.engine.planning.recipe import Recipe

print("begun", flush=True)
summary = convert(Recipe.single(sys.argv[1], robot="aloha", horizon=4), sys.argv[2], workers=Workers(num=2))
print(summary.executor)
"""


def test_a_script_without_a_guard_runs_once(source: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(script), str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split("\n") == ["begun", "2 processes", ""]


def test_the_executor_fits_what_is_asked_for(plan: ConversionPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert choose_executor(Workers(local=True), plan.job, plan.episodes) == InlineExecutor()
    assert choose_executor(Workers(1, executor="local"), plan.job, plan.episodes) == InlineExecutor()
    assert choose_executor(Workers(3), plan.job, plan.episodes) == LocalExecutor(3)
    assert choose_executor(Workers(3, executor="ray"), plan.job, plan.episodes) == RayDataExecutor(3)
    assert choose_executor(Workers(address="here:1"), plan.job, plan.episodes) == RayDataExecutor(None, "here:1")
    monkeypatch.setenv("RAY_ADDRESS", "there:1")
    assert choose_executor(Workers(3), plan.job, plan.episodes) == RayDataExecutor(3, "there:1")
    assert choose_executor(Workers(3, executor="local"), plan.job, plan.episodes) == LocalExecutor(3)
    assert choose_executor(Workers(3, executor="local"), plan.job, plan.episodes[:2]) == LocalExecutor(2)


def test_ray_is_taken_where_what_is_left_takes_this_machine_long(
    plan: ConversionPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    num_frames = MAX_LOCAL_SECONDS * FRAMES_PER_CORE_SECOND // len(plan.cameras)
    first = plan.episodes[0]
    for spare, expected in ((0, LocalExecutor(1)), (1, RayDataExecutor(1))):
        episode = replace(first, episode=replace(first.episode, num_frames=num_frames + spare))
        assert choose_executor(Workers(1), plan.job, [episode]) == expected
