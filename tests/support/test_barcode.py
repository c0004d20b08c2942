"""The barcode survives what a converter does to a picture, and a spoilt one is refused."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from support.barcode import MAX_FRAME, BarcodeUnreadable, Stamp, draw, read
from support.synthetic import SyntheticVideo, read_video, write_video

SIZES = [(64, 64), (64, 96), (96, 64), (99, 131), (480, 640), (640, 480)]
FRAMES = [0, 1, 4095, 65535, MAX_FRAME]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("size", [64, 72, 224, 256])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_barcode_survives_crop_pad_and_scale(height: int, width: int, size: int, frame: int) -> None:
    image = draw(frame, 1234, 5, height, width)
    expected = Stamp(frame, 1234, 5)
    assert image.shape == (height, width, 3)
    assert read(image) == expected
    assert read(crop_and_scale(image, size)) == expected
    assert read(pad_and_scale(image, size), crop="pad", source_size=(height, width)) == expected


def test_barcode_reads_luma_of_either_range() -> None:
    luma = draw(77, 8, 1, 64, 96) @ np.array([0.299, 0.587, 0.114])
    assert read(luma.astype(np.uint8)) == read((16 + luma * 219 / 255).astype(np.uint8)) == Stamp(77, 8, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: np.full_like(image, 128),
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.roll(image, 7, axis=1),
        lambda image: image // 2 + draw(12, 3, 1, 64, 96) // 2,
        lambda image: image[:, :64],
    ],
    ids=["grey", "mirrored", "upside-down", "shifted", "blended", "cropped-left"],
)
def test_spoilt_barcode_is_refused(spoil: Any) -> None:
    with pytest.raises(BarcodeUnreadable):
        read(spoil(draw(11, 3, 1, 64, 96)))


def test_padded_barcode_needs_the_source_size() -> None:
    with pytest.raises(ValueError, match="source_size"):
        read(draw(1), crop="pad")


def test_stamp_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="frame"):
        Stamp(MAX_FRAME + 1)


def test_texture_moves_and_differs_by_camera() -> None:
    rim = [draw(frame, 0, camera, 64, 96)[:, :12] for frame, camera in [(0, 0), (1, 0), (0, 1)]]
    assert (rim[0] != rim[1]).mean() > 0.5
    assert (rim[0] != rim[2]).mean() > 0.5


@pytest.mark.parametrize("video", [SyntheticVideo(height=480, width=640), SyntheticVideo(height=128, width=96)])
def test_barcode_survives_coding_and_scaling_together(tmp_path: Path, video: SyntheticVideo) -> None:
    write_video(tmp_path / "a.mp4", num_frames=9, fps=50, episode=7, video=video)
    source_size = (video.height, video.width)
    for frame, image in enumerate(read_video(tmp_path / "a.mp4")):
        for size in (64, 256):
            assert read(crop_and_scale(image, size)) == Stamp(frame, 7)
            assert read(pad_and_scale(image, size), crop="pad", source_size=source_size) == Stamp(frame, 7)


def scale(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    return frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray().astype(np.uint8)


def crop_and_scale(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return scale(image[top : top + side, left : left + side], size, size)


def pad_and_scale(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = (round(length * size / max(image.shape)) for length in image.shape[:2])
    top, left = (size - height) // 2, (size - width) // 2
    padded = np.zeros((size, size, 3), np.uint8)
    padded[top : top + height, left : left + width] = scale(image, height, width)
    return padded
