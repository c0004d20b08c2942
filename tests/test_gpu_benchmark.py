"""The GPU's benchmark: on a machine without one it times the CPU, and every piece of work is the whole clip's."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from conftest import REPOSITORY
from engine.convert import plan_conversion
from engine.planning.recipe import Recipe
from engine.sources import Clip
from engine.video.gpu import hardware
from engine.video.gpu.probe import probe_gpu
from engine.video.probe import probe_video

sys.path.append(str(REPOSITORY / "benchmarks"))

from gpu_checks import qualities
from gpu_rates import rate
from gpu_works import Setup, Work, begin_decode, transcoded, works

NUM_FRAMES = 160  # of 400 at 50 Hz


@pytest.fixture(scope="module")
def setup() -> Setup:
    recipe = Recipe.single(REPOSITORY / "examples/aloha", map="aloha_to_gr1", task="Benchmark.")
    plan = plan_conversion(recipe)
    (camera,) = plan.job.bindings[0].cameras.values()
    clip = plan.episodes[0].episode.clips[camera]
    assert isinstance(clip, Clip)
    return Setup(clip, plan.job)


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
    found = rate(Work("decode av1", "CPU", begin_decode), setup, num_processes=1, seconds=0.1)
    assert found.num_processes == 1
    assert found.frames_per_second > 0
    assert found.cpu_ms > 0


@pytest.mark.skipif(hardware.torch_problem() is not None, reason="area means need torch and torchvision")
def test_what_is_checked_is_met_by_the_cpu(setup: Setup) -> None:
    checked = list(qualities(setup, "av1", probe_gpu()))
    assert {one.what.split(",")[0] for one in checked} >= {"area means", "libx264"}
    assert all(one.is_met for one in checked), checked


def test_the_same_pictures_in_h264(setup: Setup, tmp_path: Path) -> None:
    clip = transcoded(setup.clip, tmp_path / "h264.mp4")
    facts = probe_video(clip.path)
    assert (facts.codec, facts.num_frames, facts.fps, facts.gop) == ("h264", 400, Fraction(50), 10)
    assert len(setup.frames) == NUM_FRAMES
    assert np.all(np.diff(setup.frames) > 0)
