"""The benchmarks run, and measure the same work."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from conftest import REPOSITORY
from engine.sources import Clip
from engine.video.encode import VideoSettings
from engine.video.probe import probe_video

sys.path.append(str(REPOSITORY / "benchmarks"))

EXAMPLE = REPOSITORY / "examples/aloha/videos/chunk-000/observation.images.top/episode_000000.mp4"
CLIP = Clip(EXAMPLE, 400, Fraction(50))
SETTINGS = VideoSettings(Fraction(20), 256)


@pytest.mark.parametrize("method", ["convert_as_guide", "convert_with_ffmpeg"])
def test_every_baseline_makes_the_same_clip(method: str, tmp_path: Path) -> None:
    baselines = pytest.importorskip("baselines", reason="needs the extra `bench`")
    getattr(baselines, method)(CLIP, tmp_path / "out.mp4", SETTINGS)
    facts = probe_video(tmp_path / "out.mp4")
    assert (facts.codec, facts.pix_fmt, facts.width, facts.height) == ("h264", "yuv420p", 256, 256)
    assert facts.fps == 20
    assert facts.num_frames == 160


def test_the_floor_is_below_what_a_conversion_takes() -> None:
    baselines = pytest.importorskip("baselines", reason="needs the extra `bench`")
    floor = baselines.floor(CLIP, SETTINGS)
    assert 0 < floor.reframe < floor.decode
    assert floor.total == floor.decode + floor.reframe + floor.encode


def test_the_driver_is_measured_at_every_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `bench`")
    plot, figures = tmp_path / "scale.png", tmp_path / "scale.json"
    command = [sys.executable, "benchmarks/scale.py", "--episodes", "4,30", "--plot", plot, "--json", figures]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    assert [found["num_episodes"] for found in json.loads(figures.read_text())] == [4, 30]
    assert plot.read_bytes().startswith(b"\x89PNG")
