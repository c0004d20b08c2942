"""Crop and scale by area means: libavfilter's pictures and colours, but for a level here and there; on CPU tensors."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from conftest import REPOSITORY
from millrace.engine.errors import VideoError
from millrace.engine.video.decode import open_video
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu import hardware
from millrace.engine.video.reframe import Reframer
from support.barcode import draw

if problem := hardware.torch_problem():
    pytest.skip(f"area means need torch and torchvision: {problem}", allow_module_level=True)

from millrace.engine.video.gpu.area_reframe import BATCH_FRAMES, AreaReframer, EncoderInput

EXAMPLE = next((REPOSITORY / "examples/aloha/videos").rglob("*.mp4"))
NUM_FRAMES = BATCH_FRAMES + 8  # more than a batch
UNSPECIFIED = 2  # of matrices, in H.273


def aloha_frames(num_frames: int = NUM_FRAMES) -> Iterator[av.VideoFrame]:
    with open_video(EXAMPLE) as (container, stream):
        yield from islice(container.decode(stream), num_frames)


def drawn(width: int, height: int, *, pix_fmt: str, color_range: ColorRange) -> Iterator[av.VideoFrame]:
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(draw(number, 0, 0, height, width), "rgb24").reformat(
            format=pix_fmt, dst_color_range=color_range
        )
        frame.color_range, frame.colorspace, frame.pts = color_range, Colorspace.ITU709, number
        yield frame


def arrays(frames: Iterator[av.VideoFrame]) -> NDArray[np.int64]:
    """All planes of all frames, (T, S * 3 / 2, S)."""
    return np.stack([frame.to_ndarray() for frame in frames]).astype(np.int64)


@pytest.mark.parametrize("crop", ["center", "pad"])
@pytest.mark.parametrize("image_size", [256, 224, 96, 480])
def test_real_pictures_come_out_as_from_libavfilter(crop: Any, image_size: int) -> None:
    found = arrays(AreaReframer(crop=crop, size=FrameSize.square(image_size))(aloha_frames()))
    expected = arrays(map(Reframer(crop=crop, size=FrameSize.square(image_size)), aloha_frames()))
    error = np.abs(found - expected)
    assert error.max() <= 1
    # The bound that was set is 1.0.
    assert error[:, :image_size].mean() < 0.05
    assert error[:, image_size:].mean() < 0.05


@pytest.mark.parametrize("crop", ["center", "pad"])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96), (130, 98), (64, 64)])
def test_bars_are_black_and_colours_keep_their_tags(
    crop: Any, color_range: ColorRange, width: int, height: int
) -> None:
    for pix_fmt in ("yuv420p", "yuvj420p") if color_range == ColorRange.JPEG else ("yuv420p",):
        frames = list(drawn(width, height, pix_fmt=pix_fmt, color_range=color_range))
        found = list(AreaReframer(crop=crop, size=FrameSize.square(50))(frames))
        expected = [Reframer(crop=crop, size=FrameSize.square(50))(frame) for frame in frames]
        for one, other in zip(found, expected, strict=True):
            assert np.abs(one.to_ndarray().astype(int) - other.to_ndarray()).max() <= 1
            tags = [(frame.format.name, frame.color_range, frame.colorspace, frame.pts) for frame in (one, other)]
            assert tags[0] == tags[1]


def test_untagged_pictures_are_read_as_ever() -> None:
    def untagged() -> Iterator[av.VideoFrame]:
        for frame in drawn(96, 64, pix_fmt="yuv420p", color_range=ColorRange.MPEG):
            frame.color_range, frame.colorspace = ColorRange.UNSPECIFIED, UNSPECIFIED
            yield frame

    (found, *_), (expected, *_) = (
        list(reframe(untagged()))
        for reframe in (
            AreaReframer(crop="center", size=FrameSize.square(50)),
            lambda frames: map(Reframer(crop="center", size=FrameSize.square(50)), frames),
        )
    )
    assert (found.color_range, found.colorspace) == (expected.color_range, expected.colorspace)


@pytest.mark.parametrize(
    ("pix_fmt", "width", "height", "image_size"),
    [("yuv420p10le", 96, 64, 50), ("yuv444p", 96, 64, 50), ("rgb24", 96, 64, 50), ("yuv420p", 96, 64, 80)],
)
def test_what_has_no_exact_mean_is_libavfilters(pix_fmt: str, width: int, height: int, image_size: int) -> None:
    frames = list(drawn(width, height, pix_fmt=pix_fmt, color_range=ColorRange.MPEG))
    found = arrays(AreaReframer(crop="center", size=FrameSize.square(image_size))(frames))
    np.testing.assert_array_equal(
        found, arrays(map(Reframer(crop="center", size=FrameSize.square(image_size)), frames))
    )


@pytest.mark.parametrize("crop", ["center", "pad"])
def test_nv12_for_nvenc_holds_the_same_pictures(crop: Any) -> None:
    planar = arrays(AreaReframer(crop=crop, size=FrameSize.square(200))(aloha_frames()))
    frames = list(AreaReframer(crop=crop, size=FrameSize.square(200), handover=EncoderInput("nv12"))(aloha_frames()))
    assert {frame.format.name for frame in frames} == {"nv12"}
    np.testing.assert_array_equal(arrays(frame.reformat(format="yuv420p") for frame in frames), planar)


@pytest.mark.skipif(not hardware.keeps_frames(), reason="frames over torch's memory need PyAV 18.1")
def test_frames_in_place_are_one_surface_of_an_even_pitch() -> None:
    planar = arrays(AreaReframer(crop="center", size=FrameSize.square(200))(aloha_frames()))
    handover = EncoderInput("nv12", stays_on_card=True)
    frames = list(AreaReframer(crop="center", size=FrameSize.square(200), handover=handover)(aloha_frames()))
    assert {plane.line_size for frame in frames for plane in frame.planes} == {256}
    addresses = [[plane.buffer_ptr for plane in frame.planes] for frame in frames]
    assert {chroma - luma for luma, chroma in addresses} == {200 * 256}
    np.testing.assert_array_equal(arrays(frame.reformat(format="yuv420p") for frame in frames), planar)


def test_nv12_from_a_decoder_is_what_planes_are() -> None:
    """NVDEC's layout, here from the CPU."""
    interleaved = (frame.reformat(format="nv12") for frame in aloha_frames())
    found = arrays(AreaReframer(crop="center", size=FrameSize.square(256))(interleaved))
    np.testing.assert_array_equal(
        found, arrays(AreaReframer(crop="center", size=FrameSize.square(256))(aloha_frames()))
    )


def test_a_picture_that_changes_within_the_clip_is_an_error() -> None:
    small = drawn(64, 64, pix_fmt="yuv420p", color_range=ColorRange.MPEG)
    frames = [*drawn(96, 64, pix_fmt="yuv420p", color_range=ColorRange.MPEG), *small]
    with pytest.raises(VideoError, match="the frames change from"):
        list(AreaReframer(crop="center", size=FrameSize.square(50))(frames))


def test_no_frames_give_no_frames() -> None:
    assert list(AreaReframer(crop="center", size=FrameSize.square(50))(iter(()))) == []
