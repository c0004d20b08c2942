"""The GPU's benchmark: whatever a measurement does to itself, the others are made, and every figure is kept."""

import json
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_card
from benchmarks.gpu_card import Card, busy, find_card
from benchmarks.gpu_checks import checks
from benchmarks.gpu_children import Failed, apart, together
from benchmarks.gpu_limits import decode_bound, encode_bound
from benchmarks.gpu_rates import Patience, attempts, rate
from benchmarks.gpu_report import Record, Timed, rate_table
from benchmarks.gpu_runs import plans
from benchmarks.gpu_works import Setup, Step, Work, begin_decode, num_decoded, published, transcoded, works
from conftest import REPOSITORY
from millrace.engine.convert import plan_conversion
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import Clip
from millrace.engine.sources.file_state import why_changed
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import GpuReport
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
PATIENCE = Patience(seconds=0.1, limit_seconds=60)
H200 = Card("NVIDIA H200", "9.0", 930)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    recipe = Recipe.single(REPOSITORY / "examples/aloha", map="aloha_to_gr1", task="Benchmark.", task_all=True)
    plan = plan_conversion(recipe)
    (camera,) = plan.job.bindings[0].cameras.values()
    clip = plan.episodes[0].episode.clips[camera]
    assert isinstance(clip, Clip)
    return Setup(clip, plan.job, tmp_path_factory.mktemp("written"))


@pytest.mark.parametrize(
    ("begin", "limit_seconds", "problem"),
    [
        (begin_raising, 60, "MemoryError: the card is full"),
        (begin_dying, 60, "its process was ended by SIGKILL"),
        (begin_hanging, 3, "took longer than 3 s, and was ended"),
    ],
)
def test_work_that_fails_dies_or_hangs_is_a_row_that_says_so(
    begin: partial[Step], limit_seconds: float, problem: str, setup: Setup
) -> None:
    started = time.perf_counter()
    work, patience = Work("decode av1", "NVDEC, stays", begin), Patience(0.1, limit_seconds)
    (attempt,) = attempts(work, setup, num_cores=8, patience=patience)
    assert (attempt.num_processes, attempt.rate, attempt.problem) == (1, None, problem)
    assert time.perf_counter() - started < 30
    assert any(f"FAILED with 1: {problem}" in cell for cell in cells(Timed(work, None, [attempt])))


def test_what_went_well_before_a_failure_is_kept(setup: Setup, tmp_path: Path) -> None:
    crowded = Setup(setup.clip, setup.job, tmp_path)
    work = Work("encode", "NVENC, from the host", begin_crowded)
    first = next(attempts(work, crowded, num_cores=8, patience=PATIENCE))
    assert first.rate is not None
    again = list(attempts(work, crowded, num_cores=8, patience=PATIENCE))
    row = cells(Timed(work, None, [first, *again]))
    assert f"{first.rate.frames_per_second:,.0f}" in row
    assert "FAILED with 1: OSError: no more sessions" in row[-1]


def cells(line: Timed) -> list[str]:
    return [str(next(iter(column.cells))) for column in rate_table([line]).columns]


def test_a_process_may_die_once_it_has_begun() -> None:
    with pytest.raises(Failed, match="ended with exit code 3, and said nothing"):
        together(die_after_beginning, 1, limit_seconds=60)


def test_what_a_hanging_process_started_ends_with_it(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="took longer than 2 s"):
        together(partial(leave_a_child, tmp_path / "alive"), 1, limit_seconds=2)
    time.sleep(3.2)
    assert not (tmp_path / "alive").exists()


def test_work_apart_returns_what_it_returns() -> None:
    assert apart(partial(int, "7"), limit_seconds=60) == 7
    with pytest.raises(Failed, match="ValueError: invalid literal"):
        apart(partial(int, "seven"), limit_seconds=60)


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
    found = works(setup, "av1", lambda stage: False)
    assert {work.where for work in found} == {"CPU", "CPU, area means"}
    assert not any(work.on_gpu for work in found)
    made = {(work.stage, work.where): work.begin(setup)() for work in found if work.stage != "resize"}
    assert made == {("decode av1", "CPU"): NUM_FRAMES, ("encode", "CPU"): 32, ("all, av1", "CPU"): NUM_FRAMES}


def test_a_card_that_does_everything_moves_only_what_it_must(setup: Setup) -> None:
    found = {work.where: work.transfer_bytes for work in works(setup, "av1", lambda stage: True) if work.on_gpu}
    picture, small = 480 * 640 * 3 // 2, 256**2 * 3 // 2
    assert found["NVDEC, to the host"] == picture
    assert found["CUDA, from and to the host"] == picture + small
    assert found["NVENC, from the host"] == small
    assert found["NVDEC, CUDA, h264_nvenc"] == (0 if hardware.keeps_frames() else picture + small)


def test_a_rate_is_of_the_processes_together(setup: Setup) -> None:
    found = rate(Work("decode av1", "CPU", begin_decode), setup, num_processes=2, patience=PATIENCE)
    assert found.frames_per_second > 0
    assert found.cpu_ms > 0


@pytest.mark.skipif(hardware.torch_problem() is not None, reason="area means need torch and torchvision")
def test_what_is_checked_is_met_by_the_cpu(setup: Setup) -> None:
    job = replace(setup.job, video=replace(setup.job.video, fps=Fraction(10)))
    found = checks(Setup(setup.clip, job, setup.folder), "av1", GpuReport(node="here"))
    assert set(found) == {"area means", "libx264"}
    assert all(one.is_met for check in found.values() for one in check())


def test_plans_know_the_files_of_their_own_videos(tmp_path: Path) -> None:
    for plan in plans(256, tmp_path).values():
        assert [why_changed(zip(one.episode.paths, one.states, strict=True)) for one in plan.episodes] == [None, None]


def test_the_same_pictures_in_h264(setup: Setup, tmp_path: Path) -> None:
    clip = transcoded(setup.clip, tmp_path / "h264.mp4")
    facts = probe_video(clip.path)
    assert (facts.codec, facts.num_frames, facts.fps, facts.gop) == ("h264", 400, Fraction(50), 10)
    assert len(setup.frames) == NUM_FRAMES
    assert np.all(np.diff(setup.frames) > 0)


def test_published_rates_are_in_frames_of_the_output(setup: Setup) -> None:
    nvdec = next(work for work in works(setup, "h264", lambda stage: True) if work.engine == "NVDEC")
    bound = published(nvdec, setup, H200)
    assert bound is not None
    assert (bound.num_engines, bound.is_at_clock) == (7, True)
    decoded = num_decoded(setup)
    assert NUM_FRAMES < decoded < 400
    # Turing's NVDEC at half the clock, and 6.75 pictures of 480x640 in one of 1080p.
    assert bound.most == bound.least == pytest.approx(771 / 2 * 6.75 * NUM_FRAMES / decoded)
    assert str(bound).startswith("7 x ")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (Card("NVIDIA L4", "8.9", 2415), "2 x 283 to 647"),
        (Card("NVIDIA L4", "8.9"), "2 x 283 to 647*"),
        (Card("NVIDIA RTX 4000 Ada Generation", "8.9", 2415), "? x 283 to 647"),
        (Card("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "12.0", 3000), "4 x 317 to 708*"),
    ],
)
def test_what_nobody_published_is_said(card: Card, expected: str) -> None:
    assert str(encode_bound(card, num_pixels=1920 * 1080)) == expected


def test_no_bound_is_made_up() -> None:
    assert decode_bound(H200, "av1", num_pixels=1) is None
    assert decode_bound(Card("NVIDIA Rubin", "13.0"), "h264", num_pixels=1) is None


def test_a_driver_that_tells_little_is_asked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some drivers answer [N/A] for an engine that a card has not."""
    script = tmp_path / "nvidia-smi"
    script.write_text(
        "#!/bin/sh\n"
        "case \"$*\" in *utilization*) echo '37, [N/A], 12, 2048';; *name*) echo 'NVIDIA H200, 9.0';;\n"
        "*CLOCK*) printf '    Clocks\\n        Video : 345 MHz\\n    Max Clocks\\n        Graphics : 1980 MHz\\n"
        "        Video : 1545 MHz\\n    Max Customer Boost Clocks\\n        Graphics : 1980 MHz\\n';; esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert busy() == {"NVDEC %": 37, "SM %": 12, "memory MiB": 2048}
    assert find_card() == Card("NVIDIA H200", "9.0", 1545)


def test_without_nvidia_smi_there_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_card() is None
    assert busy() == {}
    assert gpu_card.ENGINES[0] == "NVDEC %"
