"""What workers are given, and how it comes back: many episodes at once, and one by one."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray.data import DataContext

from conftest import LOCAL, files_of, recipe_for, video_path
from millrace.engine.convert import Workers, convert, plan_conversion
from millrace.engine.dataset.record import RESULT, EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.execution import episode_worker
from millrace.engine.execution import ray_data as stream
from millrace.engine.execution.crashes import MAX_CRASHES
from millrace.engine.execution.episode_worker import schedule_key
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.ray_data import MAX_BATCH_EPISODES, BatchWorker, batch_plans, pack_plans
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.planning.plan import EpisodePlan, Job
from support.processes import CONTEXT, serve_forks
from support.synthetic import write_dataset
from support.waylaid import doing, kill, taken, wait_for

SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4}
# The longest come first: one worker's first part is episode 1, then 0.
LENGTHS = (21, 22, *(20,) * 10)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream") / "source"
    write_dataset(root, lengths=LENGTHS)
    return root


@pytest.fixture(scope="module")
def plans(source: Path) -> list[EpisodePlan]:
    planned = plan_conversion(recipe_for(source, **SETTINGS)).episodes
    return sorted(planned, key=schedule_key)


def of_lengths(plan: EpisodePlan, lengths: list[int]) -> list[EpisodePlan]:
    return [
        replace(plan, index=index, episode=replace(plan.episode, num_frames=length))
        for index, length in enumerate(lengths)
    ]


@given(lengths=st.lists(st.integers(1, 5000), max_size=400), num_workers=st.integers(1, 40))
def test_batches_grow_smaller_and_lose_nothing(plans: list[EpisodePlan], lengths: list[int], num_workers: int) -> None:
    wanted = of_lengths(plans[0], lengths)
    parts = batch_plans(wanted, num_workers)
    assert [plan for part in parts for plan in part] == wanted
    left = sum(lengths)
    for part in parts:
        num_frames = sum(plan.episode.num_frames for plan in part)
        assert 1 <= len(part) <= MAX_BATCH_EPISODES
        assert len(part) == 1 or num_frames <= left / (4 * num_workers)
        left -= num_frames


def test_batches_are_many_episodes_at_first_and_one_at_last(plans: list[EpisodePlan]) -> None:
    sizes = [len(part) for part in batch_plans(of_lengths(plans[0], [400] * 1000), 1)]
    assert sizes[0] == MAX_BATCH_EPISODES
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert len(sizes) < 60


def test_one_huge_episode_is_a_batch_of_its_own(plans: list[EpisodePlan]) -> None:
    wanted = of_lengths(plans[0], [100_000] * 3 + [100] * 97)
    assert [len(part) for part in batch_plans(wanted, 2)[:3]] == [1, 1, 1]


@pytest.mark.cluster
def test_a_batch_with_several_killers_ends_after_three_deaths_of_each(
    source: Path, plans: list[EpisodePlan], tmp_path: Path
) -> None:
    """Each process dies of the next episode that kills, as in a codec; then the batch is run again."""
    job = plan_conversion(recipe_for(source, **SETTINGS)).job
    row = {"plans": pack_plans(plans[:4])}
    killers = {plans[1].index, plans[3].index}
    serve_forks()
    exits, told = [], CONTEXT.SimpleQueue()
    while not exits or exits[-1]:
        assert len(exits) <= len(killers) * MAX_CRASHES
        worker = CONTEXT.Process(target=_work, args=(job, tmp_path, row, killers, told))
        worker.start()
        worker.join()
        exits.append(worker.exitcode)
    assert exits == [9] * len(killers) * MAX_CRASHES + [0]
    results = [RESULT.validate_json(line) for line in taken(told)]
    assert [result.index for result in results] == [plan.index for plan in plans[:4]]
    assert {result.index for result in results if isinstance(result, EpisodeFailure)} == killers
    assert not list(tmp_path.glob("*.results"))


def _work(job: Job, out: Path, row: dict[str, bytes], killers: set[int], told: "SimpleQueue[bytes]") -> None:
    """As Ray's worker does; what one that dies has yielded is yielded again."""
    worker = BatchWorker(job, Folders(out, out))
    convert_one = episode_worker.convert_episode

    def dying(plan: EpisodePlan, *args: Any, **settings: Any) -> EpisodeResult:
        if plan.index in killers:
            os._exit(9)
        return convert_one(plan, *args, **settings)

    episode_worker.convert_episode = dying
    for result in list(worker(row)):
        told.put(result["result"])


def test_what_is_no_result_is_not_taken_for_one(source: Path, plans: list[EpisodePlan], tmp_path: Path) -> None:
    job = plan_conversion(recipe_for(source, **SETTINGS)).job
    (tmp_path / f"{plans[0].index}.results").write_bytes(b'\n{"index": 1, "pl\n\nnull\n')
    (row,) = BatchWorker(job, Folders(tmp_path, tmp_path))({"plans": pack_plans(plans[:1])})
    assert isinstance(RESULT.validate_json(row["result"]), EpisodeRecord)


def test_a_result_that_cannot_be_kept_is_given_all_the_same(
    source: Path, plans: list[EpisodePlan], tmp_path: Path
) -> None:
    job = plan_conversion(recipe_for(source, **SETTINGS)).job
    (tmp_path / f"{plans[0].index}.results").symlink_to("/dev/full")
    rows = list(BatchWorker(job, Folders(tmp_path, tmp_path))({"plans": pack_plans(plans[:2])}))
    assert [RESULT.validate_json(row["result"]).index for row in rows] == [plan.index for plan in plans[:2]]
    assert all(isinstance(RESULT.validate_json(row["result"]), EpisodeRecord) for row in rows)


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A Ray for several conversions, as it takes seconds to start; no process of it outlives it."""

    with ray_session(2, None):
        yield
        pid = ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote())
        os.kill(pid, signal.SIGSTOP)  # it hears nothing any more
    assert not Path(f"/proc/{pid}").exists()


def test_this_ray_has_every_setting_of_ray_data_that_conversion_needs() -> None:
    """One of them is private: a Ray without it would let workers wait for the driver, and say nothing."""
    assert [name for name in stream.SETTINGS if not hasattr(DataContext.get_current(), name)] == []


@pytest.mark.usefixtures("one_ray")
def test_ray_data_is_left_as_it_was(source: Path, tmp_path: Path) -> None:
    context = DataContext.get_current()
    before = {name: getattr(context, name) for name in stream.SETTINGS}
    convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=Workers(num=2, executor="ray"))
    assert {name: getattr(context, name) for name in stream.SETTINGS} == before


@pytest.mark.usefixtures("one_ray")
def test_each_result_comes_before_the_rest_of_its_batch_is_done(
    source: Path, plans: list[EpisodePlan], tmp_path: Path
) -> None:
    first, second = (plan.index for plan in batch_plans(plans, 1)[0])
    out, told, was_done = tmp_path / "out", tmp_path / "told", []

    def on_result(result: EpisodeResult) -> None:
        if result.index == first:
            was_done.append(video_path(out, second).exists())
            told.write_text("\n")

    # Were it not so, the system would let the worker go on all the same, after /proc/sys/fs/lease-break-time.
    with doing(source, out, [partial(wait_for, told, 1)], camera="top") as done:
        convert(recipe_for(source, **SETTINGS), out, workers=Workers(num=1, executor="ray"), on_result=on_result)
    assert len(taken(done)) == 1
    assert was_done == [False]


@pytest.mark.usefixtures("one_ray")
def test_a_worker_that_dies_in_a_batch_gives_each_result_once(source: Path, tmp_path: Path) -> None:
    convert(recipe_for(source, **SETTINGS), tmp_path / "undisturbed", workers=LOCAL)
    out, indices = tmp_path / "out", []
    deeds = [partial(kill, signal.SIGKILL), partial(kill, signal.SIGSEGV)]
    with doing(source, out, deeds, camera="top") as done:
        convert(
            recipe_for(source, **SETTINGS),
            out,
            workers=Workers(num=1, executor="ray"),
            on_result=lambda result: indices.append(result.index),
        )
    assert len(taken(done)) == len(deeds)
    assert sorted(indices) == list(range(len(LENGTHS)))
    assert files_of(out) == files_of(tmp_path / "undisturbed")
