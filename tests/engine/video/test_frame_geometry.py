"""Frames of any size and aspect: what is kept of a frame, that pixels are means of areas, and what the codec keeps."""

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import REPOSITORY
from millrace.engine.errors import VideoError
from millrace.engine.sources import Clip
from millrace.engine.video.black import black_frames
from millrace.engine.video.decode import decode_frames, open_video
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Crop, Reframer, crop_box
from support.frame_cases import CASES, PORTRAIT, VGA, Case, draw_frame, expected_planes, planes_of

MIN_PSNR_DB = 44.0
EVEN_SIDES = st.integers(8, 400).map(lambda half: 2 * half)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_libavfilter_makes_the_means_up_to_rounding(case: Case) -> None:
    frame = draw_frame(case.source)
    for plane, expected in zip(
        planes_of(Reframer(crop=case.crop, size=case.size)(frame)), expected_planes(case, frame), strict=True
    ):
        error = plane.astype(float) - expected
        assert np.abs(error).max() <= 2
        assert np.sqrt((error**2).mean()) < 0.6


def test_frames_of_the_right_size_are_not_changed() -> None:
    frame = draw_frame(FrameSize(130, 98))
    made = Reframer(crop="none", size=FrameSize(130, 98))(frame)
    for plane, expected in zip(planes_of(made), planes_of(frame), strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_frames_of_odd_size_are_shown_whole() -> None:
    image = np.full((99, 131, 3), 200, np.uint8)
    image[98:] = 0  # a dark last line, which a crop to even sizes would drop
    frame = av.VideoFrame.from_ndarray(image, "rgb24")
    made = planes_of(Reframer(crop="none", size=FrameSize(130, 98))(frame))[0]
    assert made[-1].max() < made[-2].min()


@given(
    width=EVEN_SIDES,
    height=EVEN_SIDES,
    to_width=EVEN_SIDES,
    to_height=EVEN_SIDES,
    crop=st.sampled_from(["center", "pad"]),
)
def test_boxes_lie_within_both_frames(width: int, height: int, to_width: int, to_height: int, crop: Any) -> None:
    size = FrameSize(to_width, to_height)
    box = crop_box(width, height, crop=crop, size=size)
    assert 0 <= box.left <= box.left + box.width <= width
    assert 0 <= box.top <= box.top + box.height <= height
    assert box.to_width <= to_width
    assert box.to_height <= to_height
    assert all(value % 2 == 0 for value in (box.left, box.top, box.width, box.height, box.to_width, box.to_height))
    if crop == "center":
        # The largest part of the target's aspect, to a pixel on each side; at least two pixels wide and high.
        assert (box.to_width, box.to_height) == size
        assert box.width == width or box.height == height
        assert abs(box.width * to_height - box.height * to_width) <= max(size) or 2 in (box.width, box.height)
    else:
        assert (box.width, box.height) == (width, height)
        assert box.to_width == to_width or box.to_height == to_height


@pytest.mark.parametrize(
    ("size", "longer_side", "expected"),
    [
        ((640, 480), 256, (256, 192)),
        ((640, 360), 256, (256, 144)),
        ((480, 640), 256, (192, 256)),
        ((848, 480), 256, (256, 144)),  # 144.9
        ((1280, 720), 320, (320, 180)),
        ((98, 98), 64, (64, 64)),
    ],
)
def test_the_aspect_is_kept_to_an_even_number(size: Any, longer_side: int, expected: Any) -> None:
    made = FrameSize(*size).scale_to(longer_side)
    assert made == expected
    assert made.has_aspect_of(Fraction(size[0]), Fraction(size[1]))
    assert str(made) == f"{expected[0]}x{expected[1]}"


@pytest.mark.parametrize("source", [VGA, PORTRAIT, FrameSize(652, 360)])
def test_whole_frames_of_another_aspect_are_refused(source: FrameSize) -> None:
    told = f"frames of {source} cannot be shown whole in 256x144, .*Pass crop='pad' with image_size='256x144'"
    with pytest.raises(VideoError, match=told):
        Reframer(crop="none", size=FrameSize(256, 144))(draw_frame(source))


def test_wide_pixels_become_square_before_the_aspect_counts() -> None:
    box = crop_box(720, 480, crop="center", size=FrameSize(320, 180), pixel_aspect=Fraction(8, 9))
    assert (box.left, box.top, box.width, box.height) == (0, 60, 720, 360)
    assert crop_box(720, 480, crop="none", size=FrameSize(256, 192), pixel_aspect=Fraction(8, 9)).to_height == 192


@pytest.mark.parametrize(
    ("crop", "size"),
    [("center", FrameSize(320, 180)), ("none", FrameSize(256, 192)), ("pad", FrameSize(192, 256))],
)
def test_the_codec_keeps_44_db(crop: Crop, size: FrameSize, tmp_path: Path) -> None:
    example = next((REPOSITORY / "examples/aloha/videos").rglob("*.mp4"))
    with open_video(example) as (container, stream):
        frames = list(map(Reframer(crop=crop, size=size), islice(container.decode(stream), 20)))
    given_ = np.stack([planes_of(frame)[0] for frame in frames]).astype(float)
    settings = VideoSettings(Fraction(20), size)
    write_h264(tmp_path / "made.mp4", frames, settings)
    kept = decode_frames(Clip(tmp_path / "made.mp4", 20, Fraction(20)), np.arange(20))
    error = (np.stack([planes_of(frame)[0] for frame in kept]) - given_) ** 2
    assert np.mean(10 * np.log10(255**2 / error.mean(axis=(1, 2)))) >= MIN_PSNR_DB


def test_black_frames_have_any_even_size() -> None:
    (frame,) = black_frames(1, FrameSize(320, 180))
    assert [plane.shape for plane in planes_of(frame)] == [(180, 320), (90, 160), (90, 160)]
    assert [set(plane.ravel().tolist()) for plane in planes_of(frame)] == [{16}, {128}, {128}]
