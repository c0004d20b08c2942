"""Workers die, by the OOM killer, for want of memory or in a codec: the run goes on, what kills is set aside."""

import os
import shutil
import signal
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from conftest import files_of, recipe_for, video_path
from millrace.engine.convert import Workers, convert, plan_conversion
from millrace.engine.dataset.record import EpisodeFailure
from millrace.engine.errors import FaultCode
from millrace.engine.execution.crashes import MAX_CRASHES, count_crashes
from millrace.engine.execution.episode_worker import EpisodeWorker
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.retry import retry
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.video.backends import NVENC, Backends
from millrace.engine.video.gpu import hardware
from support.plans import plan_with
from support.processes import CONTEXT, serve_forks
from support.synthetic import write_dataset
from support.waylaid import Deed, doing, kill, refuse_memory, taken, write_large

LENGTHS = (21, 21)
SETTINGS = {"robot": "aloha", "horizon": 4}
DEADLY = (signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deaths") / "source"
    write_dataset(root, lengths=LENGTHS, cameras=("top", "wrist"))
    write_large(video_path(root, 0, "wrist"), num_frames=LENGTHS[0])
    shutil.copy(video_path(root, 0, "wrist"), video_path(root, 1, "wrist"))
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(recipe_for(source, **SETTINGS), out, workers=Workers(local=True))
    return files_of(out)


@pytest.mark.parametrize(
    "deeds",
    [
        pytest.param([partial(kill, number) for number in DEADLY], id="killed", marks=pytest.mark.cluster),
        pytest.param([refuse_memory] * MAX_CRASHES, id="memory"),
    ],
)
def test_an_episode_that_three_workers_crashed_over_is_tried_once_more_at_the_end(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, deeds: list[Deed]
) -> None:
    with doing(source, tmp_path / "out", deeds) as done:
        convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=Workers(num=1))
    assert len(taken(done)) == MAX_CRASHES
    assert files_of(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("code", [FaultCode.WORKER_DIED, FaultCode.CORRUPT])
def test_an_episode_that_crashes_the_last_process_too_is_set_aside(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: FaultCode
) -> None:
    plan = plan_conversion(recipe_for(source, **SETTINGS))
    first = EpisodeFailure(
        index=0,
        plan=plan.episodes[0].digest,
        binding=0,
        source_episode=0,
        camera=None,
        code=code,
        reason="the first reason",
    )
    monkeypatch.setattr("millrace.engine.execution.retry._convert_all", _crash)
    (last,) = retry([first], plan.episodes, plan.job, Folders(tmp_path / "out", tmp_path), is_inline=False)
    assert isinstance(last, EpisodeFailure)
    assert last.code is FaultCode.WORKER_DIED
    assert last.reason.startswith("the first reason")


def _crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")
def test_an_encoder_of_the_gpu_that_is_gone_is_tried_by_three_processes(source: Path, tmp_path: Path) -> None:
    plan = plan_with(recipe_for(source, **SETTINGS), Backends(encoder=NVENC))
    serve_forks()
    told: SimpleQueue[str] = CONTEXT.SimpleQueue()
    exits = []
    for _ in range(MAX_CRASHES):
        worker = CONTEXT.Process(target=_convert_first, args=(plan, tmp_path, told))
        worker.start()
        worker.join()
        exits.append(worker.exitcode)
    assert exits == [1, 1, 0]
    assert taken(told) == ["gpu"]
    assert not list(tmp_path.glob("*.attempts"))


def _convert_first(plan: ConversionPlan, out: Path, told: "SimpleQueue[str]") -> None:
    result = EpisodeWorker(plan.job, out, out).convert(plan.episodes[0])
    assert isinstance(result, EpisodeFailure)
    told.put(result.code.value)


def test_an_episode_that_ends_leaves_no_note(tmp_path: Path) -> None:
    with count_crashes(7, tmp_path) as num_crashes:
        assert num_crashes == 0
        assert (tmp_path / "7.attempts").read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())
