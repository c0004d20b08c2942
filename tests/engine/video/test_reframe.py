"""Pictures are cropped or padded to a square, area-scaled, and stay in YUV 4:2:0 with the colours that they had."""

from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from millrace.engine.errors import VideoError
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Reframer, crop_box
from support.barcode import Stamp, draw, read

SIDES = st.integers(16, 2000)
CROPS = st.sampled_from(["center", "pad"])


def frame_of(image: NDArray[np.uint8], *, pix_fmt: str = "yuv420p", color_range: ColorRange | None = None) -> Any:
    """A picture as a decoder would hand it out."""
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt, dst_color_range=color_range)
    if color_range is not None:
        frame.color_range = color_range
    frame.pts = 7
    return frame


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The Y plane, (H, W)."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def area_matrix(size: int, new_size: int) -> NDArray[np.float64]:
    """How much of each source pixel each target pixel covers, (new_size, size); rows sum to 1."""
    edges = np.arange(new_size + 1) * size / new_size
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    covered: NDArray[np.float64] = np.maximum(overlap, 0) * new_size / size
    return covered


@given(width=SIDES, height=SIDES, crop=CROPS, image_size=st.integers(8, 300).map(lambda half: 2 * half))
def test_the_box_lies_within_both_pictures(width: int, height: int, crop: Any, image_size: int) -> None:
    box = crop_box(width, height, crop=crop, size=FrameSize.square(image_size))
    assert 0 <= box.left <= box.left + box.width <= width
    assert 0 <= box.top <= box.top + box.height <= height
    assert max(box.to_width, box.to_height) == image_size
    # 4:2:0 keeps one colour for two pixels.
    assert box.left % 2 == box.top % 2 == box.to_width % 2 == box.to_height % 2 == 0


@given(width=SIDES, height=SIDES)
def test_center_is_the_largest_square_in_the_middle(width: int, height: int) -> None:
    box = crop_box(width, height, crop="center", size=FrameSize.square(256))
    assert box.width == box.height == min(width, height)
    assert abs(2 * box.left + box.width - width) <= 3
    assert abs(2 * box.top + box.height - height) <= 3


@given(width=SIDES, height=SIDES)
def test_pad_keeps_all_of_the_picture_and_its_proportions(width: int, height: int) -> None:
    box = crop_box(width, height, crop="pad", size=FrameSize.square(256))
    assert (box.left, box.top, box.width, box.height) == (0, 0, width, height)
    scale = 256 / max(width, height)
    assert box.to_width == pytest.approx(max(2, width * scale), abs=2)
    assert box.to_height == pytest.approx(max(2, height * scale), abs=2)


@pytest.mark.parametrize("crop", ["center", "pad"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (130, 98), (64, 64), (99, 131), (480, 640)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p", "yuv420p10le"])
def test_every_picture_becomes_a_readable_square(crop: Any, height: int, width: int, pix_fmt: str) -> None:
    if "444" not in pix_fmt and (height % 2 or width % 2):
        height, width = height + 1, width + 1
    frame = Reframer(crop=crop, size=FrameSize.square(96))(frame_of(draw(5, 3, 1, height, width), pix_fmt=pix_fmt))
    assert (frame.width, frame.height, frame.format.name) == (96, 96, "yuv420p")
    image = frame.to_ndarray(format="rgb24").astype(np.uint8)
    assert read(image, crop=crop, source_size=(height, width)) == Stamp(5, 3, 1)


def test_a_frame_keeps_its_time() -> None:
    assert Reframer(crop="center", size=FrameSize.square(64))(frame_of(draw(0))).pts == 7


def test_scaling_is_the_mean_over_the_area() -> None:
    image = draw(9, 0, 0, 480, 640)
    source = frame_of(image)
    area = area_matrix(480, 256)
    ideal = area @ luma(source)[:, 80:560].astype(np.float64) @ area.T
    error = luma(Reframer(crop="center", size=FrameSize.square(256))(source)) - ideal
    assert np.abs(error).max() <= 2
    assert np.sqrt((error**2).mean()) < 0.6


def test_a_square_of_the_right_size_is_only_cut_out() -> None:
    source = frame_of(draw(9, 0, 0, 64, 96))
    np.testing.assert_array_equal(
        luma(Reframer(crop="center", size=FrameSize.square(64))(source)), luma(source)[:, 16:80]
    )


def test_pad_puts_black_bars_around_the_whole_picture() -> None:
    white = np.full((64, 96, 3), 255, np.uint8)
    frame = Reframer(crop="pad", size=FrameSize.square(96))(frame_of(white))
    image = frame.to_ndarray(format="rgb24")
    assert image[:15].max() <= 2
    assert image[-15:].max() <= 2
    assert image[18:78].min() >= 250


@pytest.mark.parametrize("crop", ["center", "pad"])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
def test_levels_and_tags_stay_as_they_came(crop: Any, color_range: ColorRange) -> None:
    source = frame_of(np.full((64, 64, 3), 255, np.uint8), color_range=color_range)
    source.colorspace = Colorspace.ITU709
    frame = Reframer(crop=crop, size=FrameSize.square(32))(source)
    assert luma(frame)[16, 16] == luma(source)[32, 32] == (255 if color_range == ColorRange.JPEG else 235)
    assert (int(frame.color_range), int(frame.colorspace)) == (int(color_range), int(Colorspace.ITU709))


def test_the_source_frame_is_not_changed() -> None:
    source = frame_of(draw(9))
    before = luma(source).copy()
    Reframer(crop="pad", size=FrameSize.square(32))(source)
    np.testing.assert_array_equal(luma(source), before)


def test_a_picture_that_changes_its_size_is_an_error() -> None:
    reframe = Reframer(crop="center", size=FrameSize.square(64))
    reframe(frame_of(draw(0, height=64, width=96)))
    with pytest.raises(VideoError, match=r"change from \(96, 64, 'yuv420p'\) to \(130, 98, 'yuv420p'\)"):
        reframe(frame_of(draw(1, height=98, width=130)))
