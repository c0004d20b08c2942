"""The benchmarks run, and measure the same work."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.convert import main, num_distinct
from benchmarks.floor import episode_floor
from benchmarks.held_actions import INTERPOLATED, episode_errors, read_recording
from benchmarks.lengthen import lengthened
from benchmarks.measure import Cost, typical
from benchmarks.runs import less, repeated, run_local, steady_rate
from conftest import LOCAL, REPOSITORY, read_table, recipe_for
from millrace.engine.convert import plan_conversion
from millrace.engine.run import run_plan
from millrace.engine.sources import Clip
from millrace.engine.validate import validate
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.probe import probe_video

EXAMPLE = REPOSITORY / "examples/aloha/videos/chunk-000/observation.images.top/episode_000000.mp4"
CLIP = Clip(EXAMPLE, 400, Fraction(50))
SETTINGS = VideoSettings(Fraction(20), FrameSize.square(256))


@pytest.mark.parametrize("method", ["convert_as_guide", "convert_with_ffmpeg"])
def test_every_baseline_makes_the_same_clip(method: str, tmp_path: Path) -> None:
    baselines = pytest.importorskip("benchmarks.baselines", reason="needs the extra `bench`")
    getattr(baselines, method)(CLIP, tmp_path / "out.mp4", SETTINGS)
    facts = probe_video(tmp_path / "out.mp4")
    assert (facts.codec, facts.pix_fmt, facts.width, facts.height) == ("h264", "yuv420p", 256, 256)
    assert facts.fps == 20
    assert facts.num_frames == 160


def test_the_floor_is_of_decoding_resizing_and_encoding() -> None:
    floor = episode_floor([CLIP], SETTINGS, crop="center")
    assert min(floor.decode, floor.reframe, floor.encode) > 0
    assert floor.total == floor.decode + floor.reframe + floor.encode


def test_the_floor_is_measured_between_episodes(aloha: Path) -> None:
    run = run_local(plan_conversion(recipe_for(aloha, image_size=48)), with_floor=True)
    assert run.floor is not None
    assert min(run.floor.decode, run.floor.reframe, run.floor.encode) > 0
    assert run.cost.cpu is not None


def test_what_is_measured_between_episodes_is_not_of_their_cost() -> None:
    beside = [Cost(3.0, 6.0), Cost(1.0, 2.0)]
    assert less(Cost(1.0, 2.0), beside, num_episodes=8) == Cost(0.5, 1.0)


def test_a_lengthened_episode_is_a_dataset(aloha: Path, tmp_path: Path) -> None:
    plan = lengthened(plan_conversion(recipe_for(aloha, image_size=48)), 150, tmp_path)
    run_plan(repeated(plan, 2), tmp_path / "out", workers=LOCAL, started=0.0)
    report = validate(tmp_path / "out")
    assert (report.is_valid, report.num_episodes) == (True, 2), report.problems
    assert {len(read_table(tmp_path / "out", episode)) for episode in range(2)} == {60}


def test_what_is_repeated_is_a_dataset_of_so_many_episodes(aloha: Path, tmp_path: Path) -> None:
    plan = repeated(repeated(plan_conversion(recipe_for(aloha, image_size=48)), 2), 5)
    run_plan(plan, tmp_path / "out", workers=LOCAL, started=0.0)
    report = validate(tmp_path / "out")
    assert (report.is_valid, report.num_episodes) == (True, 5), report.problems


def test_the_steady_rate_leaves_out_start_and_end() -> None:
    arrivals = [0.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 99.0]
    assert steady_rate([(second, 160) for second in arrivals], num_workers=2) == 1.0


def test_the_steady_rate_counts_long_episodes_for_more() -> None:
    results = [(0.0, 100), (1.0, 100), (5.0, 400), (6.0, 100), (7.0, 100)]
    assert steady_rate(results, num_workers=1) == 600 / 160 / 6


@pytest.mark.parametrize(
    ("num_available", "num_episodes", "expected"), [(2, 64, 2), (3, 64, 2), (50, 64, 8), (50, 12, 6), (50, 13, 1)]
)
def test_every_episode_is_converted_equally_often(num_available: int, num_episodes: int, expected: int) -> None:
    assert num_distinct(num_available, num_episodes) == expected


@pytest.mark.parametrize("arguments", ["--episodes 3 --workers 2", "--workers 1,two"], ids=str)
def test_wrong_arguments_are_told_before_anything_is_measured(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["convert", *arguments.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert arguments.split()[0] in capsys.readouterr().err


def test_a_cluster_whose_processes_are_elsewhere_is_not_measured() -> None:
    assert typical([Cost(None, 2.0), Cost(None, 4.0)]) == Cost(None, 3.0)


def test_the_driver_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `bench`")
    plot, figures = tmp_path / "scale.png", tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--episodes", "30", "--plot", plot, "--json", figures]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    assert [found["num_episodes"] for found in json.loads(figures.read_text())] == [30]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_held_actions_are_measured_against_the_recording() -> None:
    # One joint moves by 1 rad each source frame: an error is a mean distance in frames.
    ramp = np.arange(101, dtype=np.float64)[:, np.newaxis]
    errors = episode_errors(ramp, Fraction(50), Fraction(10))
    assert errors["at_frame"] == pytest.approx((2.0, 2.5), abs=1e-6)
    assert errors["mid_interval"] == pytest.approx((1.2, 1.3), abs=1e-6)
    assert errors["end_of_interval"] == pytest.approx((2.0, 1.7), abs=1e-6)
    assert errors[INTERPOLATED] == pytest.approx((0.5, 0.0), abs=1e-6)
    fps, [first, second] = read_recording(REPOSITORY / "examples/aloha")
    assert (fps, first.shape, second.shape) == (50, (400, 12), (400, 12))  # the grippers are no radians
