"""The GPU's benchmark: whatever a measurement does to itself, the others are made, and every figure is kept."""

import json
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_benchmark import Record
from benchmarks.gpu_processes import Failed, run_alone, run_together
from benchmarks.gpu_rates import Limits, Rate, measure_rates, read_utilization
from benchmarks.gpu_runs import list_runs, plan_examples, set_up
from benchmarks.gpu_works import Setup, Step, Work, begin_decode, list_works, measure_quality, transcode
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.sources.file_state import why_changed
from millrace.engine.video.backends import CPU_BACKENDS
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import CODECS, ENCODE, RESIZE, GpuReport, StageCheck, decode_stage
from millrace.engine.video.probe import probe_video
from support.failing_works import (
    begin_crowded,
    begin_dying,
    begin_hanging,
    begin_raising,
    die_after_beginning,
    leave_a_child,
)

NUM_FRAMES = 160  # of 400 at 50 Hz
LIMITS = Limits(seconds=0.1, limit_seconds=60)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ConversionPlan]:
    return plan_examples(256, tmp_path_factory.mktemp("h264"))


@pytest.fixture(scope="module")
def setup(plans: dict[str, ConversionPlan], tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return set_up(plans["av1"], tmp_path_factory.mktemp("written"))


@pytest.mark.parametrize(
    ("begin", "limit_seconds", "problem"),
    [
        (begin_raising, 60, "MemoryError: the card is full"),
        (begin_dying, 60, "its process ended with exit code -9"),
        (begin_hanging, 3, "took longer than 3 s, and was ended"),
    ],
)
def test_work_that_fails_dies_or_hangs_is_a_line_that_says_so(
    begin: partial[Step], limit_seconds: float, problem: str, setup: Setup
) -> None:
    work = Work("decode av1", "NVDEC, stays on the card", partial(begin, setup))
    (rate,) = measure_rates(work, num_cores=8, limits=Limits(0.1, limit_seconds))
    assert (rate.num_processes, rate.frames_per_second, rate.problem) == (1, 0, problem)
    assert str(rate).endswith(f"1 at once  FAILED: {problem}")


def test_what_went_well_before_a_failure_is_kept(setup: Setup, tmp_path: Path) -> None:
    crowded = Setup(setup.clip, setup.job, tmp_path)
    work = Work("encode", "NVENC, from the host", partial(begin_crowded, crowded), transfer_bytes=1000)
    first = next(measure_rates(work, num_cores=8, limits=LIMITS))
    assert first.problem is None
    assert first.transfer_mb == pytest.approx(first.frames_per_second / 1000)
    (again,) = measure_rates(work, num_cores=8, limits=LIMITS)
    assert again.problem == "OSError: no more sessions"


def test_a_line_has_every_figure() -> None:
    rate = Rate("encode", "NVENC, from the host", 16, 1234.5, 0.821, 98.3, {"NVENC %": 54, "SM %": 3})
    expected = "encode NVENC, from the host 16 at once 1,234 frames/s 0.82 CPU ms 98 MB/s NVENC % 54, SM % 3"
    assert " ".join(str(rate).split()) == expected


def test_a_process_may_die_once_it_has_begun() -> None:
    with pytest.raises(Failed, match="ended with exit code 3"):
        run_together(die_after_beginning, 1, limit_seconds=60)


def test_what_a_hanging_process_started_ends_with_it(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="took longer than 2 s"):
        run_together(partial(leave_a_child, tmp_path / "alive"), 1, limit_seconds=2)
    time.sleep(3.2)
    assert not (tmp_path / "alive").exists()


def test_work_alone_returns_what_it_returns() -> None:
    assert run_alone(partial(int, "7"), limit_seconds=60) == 7
    with pytest.raises(Failed, match="ValueError: invalid literal"):
        run_alone(partial(int, "seven"), limit_seconds=60)


def test_the_record_is_whole_after_each_row(tmp_path: Path) -> None:
    record = Record(tmp_path / "out/gpu.json")
    record.note(machine="16 cores")
    record.add("rates", {"stage": "encode"})
    assert json.loads(record.path.read_text()) == {
        "is_complete": False,
        "machine": "16 cores",
        "rates": [{"stage": "encode"}],
    }
    record.add("rates", {"stage": "resize"})
    assert [row["stage"] for row in json.loads(record.path.read_text())["rates"]] == ["encode", "resize"]
    assert [path.name for path in record.path.parent.iterdir()] == ["gpu.json"]


def test_the_cpus_work_is_there_without_a_gpu_and_makes_every_frame(setup: Setup) -> None:
    found = list(list_works({"av1": setup}, lambda stage: False))
    assert {work.where for work in found} == {"CPU", "CPU, area means"}
    assert not any(work.on_gpu for work in found)
    made = {work.stage: work.begin()() for work in found if work.where == "CPU" and work.stage != "resize"}
    assert made == {"decode av1": NUM_FRAMES, "encode": 32, "all, av1": NUM_FRAMES}


def test_a_card_that_does_everything_moves_only_what_it_must(setup: Setup) -> None:
    works = list_works({"av1": setup}, lambda stage: True)
    found = {work.where: work.transfer_bytes for work in works if work.on_gpu}
    frame, small = 480 * 640 * 3 // 2, 256**2 * 3 // 2
    keeps = hardware.keeps_frames()
    assert found == {
        "NVDEC, stays on the card" if keeps else "NVDEC, to the host": 0 if keeps else frame,
        "CUDA, from and to the host": frame + small,
        "NVENC, from the host": small,
        "NVDEC, CUDA, h264_nvenc": 0 if keeps else frame + small,
    }


def test_runs_are_those_that_the_card_can_do(plans: dict[str, ConversionPlan]) -> None:
    plan = plans["h264"]
    cores = ["cores alone", "cores alone, area means"]
    assert list(list_runs(plan, "h264", GpuReport(node="here"))) == cores
    stages = [*map(decode_stage, CODECS), RESIZE, ENCODE]
    card = GpuReport(node="here", has_gpu=True, card="a card", checks=tuple(StageCheck(stage=one) for one in stages))
    assert list(list_runs(plan, "h264", card)) == [*cores, "--device auto, NVENC", "GPU and cores, libx264"]


def test_a_rate_is_of_the_processes_together(setup: Setup) -> None:
    rates = list(measure_rates(Work("decode av1", "CPU", partial(begin_decode, setup)), num_cores=2, limits=LIMITS))
    assert [rate.num_processes for rate in rates] == [1, 2]
    assert all(rate.frames_per_second > 0 and rate.cpu_ms > 0 for rate in rates)


@pytest.mark.skipif(hardware.torch_problem() is not None, reason="area means need torch and torchvision")
def test_libx264_keeps_most_in_few_bytes(setup: Setup) -> None:
    quality = measure_quality(setup, CPU_BACKENDS)
    assert quality["luma_psnr_db"] >= 44
    assert quality["bytes_per_frame"] <= 1800


def test_plans_know_the_files_of_their_own_videos(plans: dict[str, ConversionPlan]) -> None:
    for plan in plans.values():
        assert [why_changed(zip(one.episode.paths, one.states, strict=True)) for one in plan.episodes] == [None, None]


def test_the_same_frames_in_h264(setup: Setup, tmp_path: Path) -> None:
    clip = transcode(setup.clip, tmp_path / "h264.mp4")
    facts = probe_video(clip.path)
    assert (facts.codec, facts.num_frames, facts.fps, facts.gop) == ("h264", 400, Fraction(50), 10)
    assert len(setup.frames) == NUM_FRAMES
    assert np.all(np.diff(setup.frames) > 0)


def test_a_driver_that_tells_little_is_asked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some drivers answer [N/A] for an engine that a card has not."""
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho '37, [N/A], 12, 2048'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert read_utilization() == {"NVDEC %": 37, "SM %": 12, "memory MiB": 2048}


def test_without_nvidia_smi_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_utilization() == {}
