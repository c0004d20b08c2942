"""Synthetic videos have the key frames, B-frames, rate and colours that were asked for."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.barcode import Stamp, draw
from support.synthetic import SyntheticVideo, read_stamps, write_video

B_FRAMES = SyntheticVideo(codec="libx264", gop=250, bframes=3)
VIDEOS = {
    "lerobot": SyntheticVideo(),
    "av1-long-gop": SyntheticVideo(gop=10),
    "av1-open-gop": SyntheticVideo(gop=10, open_gop=True),
    "av1-10-bit": SyntheticVideo(pix_fmt="yuv420p10le"),
    "h264-b-frames": B_FRAMES,
    "h264-open-gop": SyntheticVideo(codec="libx264", gop=12, bframes=3, open_gop=True),
    "h264-444-odd": SyntheticVideo(codec="libx264", gop=250, pix_fmt="yuv444p", height=99, width=131),
    "h264-full-range": SyntheticVideo(codec="libx264", gop=10, color_range="pc", colorspace="bt709"),
    "hevc": SyntheticVideo(codec="libx265", gop=12, bframes=3),
    "square": SyntheticVideo(height=64, width=64),
    "portrait": SyntheticVideo(height=130, width=98),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_every_frame_survives_coding(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "a.mp4", num_frames=60, fps=50, episode=7, camera=2, video=VIDEOS[name], first_frame=65500)
    assert read_stamps(tmp_path / "a.mp4") == [Stamp(65500 + frame, 7, 2) for frame in range(60)]


@pytest.mark.parametrize("name", VIDEOS)
def test_one_frame_is_a_video(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "a.mp4", num_frames=1, fps=50, episode=7, video=VIDEOS[name])
    assert read_stamps(tmp_path / "a.mp4") == [Stamp(0, 7, 0)]


@pytest.mark.parametrize("fps", [50, Fraction(30000, 1001)])
def test_video_has_constant_rate_from_zero(tmp_path: Path, fps: Fraction | int) -> None:
    write_video(tmp_path / "a.mp4", num_frames=30, fps=fps, video=B_FRAMES)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames, stream.start_time) == (fps, 30, 0)
        times = [frame.time for frame in container.decode(stream)]
    np.testing.assert_allclose(times, np.arange(30) / float(fps), atol=1e-4)


def packets(path: Path) -> list[tuple[int, bool]]:
    """(presentation time, is key) in order of decoding."""
    with av.open(str(path)) as container:
        return [(packet.pts, packet.is_keyframe) for packet in container.demux(video=0) if packet.pts is not None]


@pytest.mark.parametrize(
    ("name", "num_keys"),
    [("lerobot", 12), ("av1-long-gop", 3), ("h264-b-frames", 1), ("h264-open-gop", 2), ("hevc", 2)],
)
def test_key_frames_come_as_asked(tmp_path: Path, name: str, num_keys: int) -> None:
    write_video(tmp_path / "a.mp4", num_frames=24, fps=50, video=VIDEOS[name])
    keys = [is_key for _, is_key in packets(tmp_path / "a.mp4")]
    assert len(keys) == 24
    assert sum(keys) == num_keys


def test_b_frames_are_decoded_out_of_order(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", num_frames=24, fps=50, video=B_FRAMES)
    times = [time for time, _ in packets(tmp_path / "a.mp4")]
    assert times != sorted(times)


@pytest.mark.parametrize("open_gop", [True, False])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_open_gop_has_frames_that_precede_their_key_frame(tmp_path: Path, codec: Any, open_gop: bool) -> None:
    video = SyntheticVideo(codec=codec, gop=12, bframes=3, open_gop=open_gop)
    write_video(tmp_path / "a.mp4", num_frames=60, fps=50, video=video)
    found = packets(tmp_path / "a.mp4")
    last_key = max(place for place, (_, is_key) in enumerate(found) if is_key)
    assert any(time < found[last_key][0] for time, _ in found[last_key:]) == open_gop


@pytest.mark.parametrize("codec", ["libsvtav1", "libx264", "libx265"])
def test_color_tags_are_set_and_true(tmp_path: Path, codec: Any) -> None:
    video = SyntheticVideo(codec=codec, color_range="pc", colorspace="bt709", crf=10)
    write_video(tmp_path / "a.mp4", num_frames=2, fps=50, video=video)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (int(frame.color_range), int(frame.colorspace)) == (2, 1)
    full_range_bt709 = draw(0) @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(frame.to_ndarray()[: video.height, : video.width] - full_range_bt709).mean() < 3


def test_video_refuses_what_its_encoder_cannot_do() -> None:
    with pytest.raises(ValueError, match="even"):
        SyntheticVideo(height=99)
    with pytest.raises(ValueError, match="libsvtav1"):
        SyntheticVideo(pix_fmt="yuv444p")
