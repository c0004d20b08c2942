"""The benchmark of recordings writes what Millrace reads, and counts the frames of every camera."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs the extra `bench`")

from benchmarks.recording_writers import WRITERS, read_frames
from benchmarks.recordings import ACT_FILES, FLOOR, MILLRACE, MILLRACE_WHOLE, measure_layout
from millrace.engine.sources import open_source

NUM_FRAMES = 17  # one more than an action chunk
# Takes longer for more episodes.
SPIN = "import os, sys; sum(range(10**7 * len(os.listdir(sys.argv[1]))))"


@pytest.mark.parametrize(
    ("layout", "known_as"),
    list(zip(WRITERS, ("xr_teleoperate", "HDF5, aloha_act", "HDF5, aloha_act", "HDF5, robomimic"), strict=True)),
)
def test_every_format_is_read_with_four_cameras(layout: str, known_as: str, tmp_path: Path) -> None:
    source = open_source(WRITERS[layout](tmp_path / "source", read_frames(2), 2))
    assert [episode.num_frames for episode in source.episodes] == [2, 2]
    assert len(source.cameras) == 4
    assert source.layout == known_as


def test_all_ways_are_measured_and_a_command_that_fails_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    spin = (
        f"{sys.executable} -c 'import pathlib, sys; sum(range(10**6 * len(list(pathlib.Path(sys.argv[1]).iterdir()))))'"
    )
    found = measure_layout(ACT_FILES, read_frames(NUM_FRAMES), 2, [f"{spin} {{source}}", f"{sys.executable} -c 1/0"])
    assert list(found)[:3] == [FLOOR, MILLRACE, MILLRACE_WHOLE]
    assert 0 < found[MILLRACE] <= found[FLOOR] * 1.5
    assert found["command 1"] > 0
    assert "command 2" not in found
    assert "ZeroDivisionError" in capsys.readouterr().err
