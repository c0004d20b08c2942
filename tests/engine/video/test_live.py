"""Live frames become what conversion makes of the same bytes."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from millrace.engine.errors import VideoError
from millrace.engine.sources import StoredImage
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.images import decode_images
from millrace.engine.video.live import LiveFramer, frame_all
from millrace.engine.video.reframe import Crop, Reframer
from support.barcode import draw, read


class Pictures:
    """PNG files of a recording."""

    num_frames = 1

    def __init__(self, *images: NDArray[np.uint8]) -> None:
        self.images = images

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        for image in self.images:
            file = BytesIO()
            Image.fromarray(image).save(file, "PNG")
            yield StoredImage(file.getvalue(), "a test")


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(st.integers(16, 130), st.integers(16, 130), st.sampled_from(["center", "pad"]))
def test_the_same_bytes_become_the_pixels_that_conversion_encodes(height: int, width: int, crop: Crop) -> None:
    image, size = noise(height, width), FrameSize(64, 48)
    (recorded,) = decode_images(Pictures(image), np.array([0]))  # type: ignore[arg-type]
    converted = Reframer(crop=crop, size=size)(recorded)
    live = LiveFramer(crop=crop, size=size).reframe(image)
    assert live.format.name == converted.format.name == "yuv420p"
    for ours, theirs in zip(live.planes, converted.planes, strict=True):
        assert bytes(ours) == bytes(theirs)


def test_a_frame_number_survives_and_sizes_may_change() -> None:
    framer = LiveFramer(crop="pad", size=FrameSize.square(96))
    for number, (height, width) in enumerate([(64, 96), (64, 96), (128, 192), (64, 96)]):
        framed = framer(draw(number, height=height, width=width))
        assert framed.shape == (96, 96, 3)
        assert read(framed[16:80]).frame == number
        assert framed[:16].max() <= 1


def test_colours_stay() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (200, 40, 90)
    framed = LiveFramer(crop="center", size=FrameSize.square(32))(image)
    assert np.abs(framed.astype(int) - (200, 40, 90)).max() <= 3


def test_batches_keep_their_order() -> None:
    framer = LiveFramer(crop="center", size=FrameSize(96, 64))
    images = np.stack([np.stack([draw(row * 2 + step) for step in range(2)]) for row in range(3)])
    framed = frame_all(framer, images)
    assert framed.shape == (3, 2, 64, 96, 3)
    assert [read(image).frame for row in framed for image in row] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), "u1")]
)
def test_what_is_no_image_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(VideoError, match="a frame must be"):
        LiveFramer(crop="pad", size=FrameSize.square(32))(image)


def test_an_aspect_that_needs_bars_is_refused_where_none_are_wanted() -> None:
    with pytest.raises(VideoError, match="cannot be shown whole"):
        LiveFramer(crop="none", size=FrameSize(64, 48))(noise(64, 64))
