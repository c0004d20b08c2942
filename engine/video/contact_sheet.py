"""Draw images of a dataset's cameras on one contact sheet."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from millrace.embodiments import MillraceError
from millrace.engine.sources import Camera
from millrace.engine.video.decode import decode_clip

HEIGHT = 120  # of each image; its width follows from its shape, up to a limit
MAX_ASPECT = 4.0
GAP, BLOCK_GAP, MARGIN = 3, 18, 18
BACKGROUND = (24, 24, 28)
UNREADABLE = (84, 24, 32)

Image = NDArray[np.uint8]


def write_contact_sheet(path: Path, blocks: Sequence[Sequence[Camera | None]], *, num_images: int) -> None:
    """Write a PNG, see `draw_contact_sheet`.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(encode_png(draw_contact_sheet(blocks, num_images=num_images)))


def draw_contact_sheet(
    blocks: Sequence[Sequence[Camera | None]], *, num_images: int, height: int = HEIGHT, axis: int = 0
) -> Image:
    """Draw a block for each episode, in it a row for each clip, `num_images` evenly spaced in each.

    Args:
        blocks: Clips that are missing or cannot be decoded become dark red.
        num_images: Of each clip.
        height: Of each image, in pixels.
        axis: Blocks follow each other downwards (0) or to the right (1).

    Returns:
        (H, W, 3) RGB.
    """
    drawn = [[_strip(clip, num_images, height) for clip in clips] for clips in blocks]
    cell_width = max(strip.shape[2] for strips in drawn for strip in strips)
    rows = [[_join(_center(strip, cell_width), axis=1, gap=GAP) for strip in strips] for strips in drawn]
    return _frame(_join([_join(strips, axis=0, gap=GAP) for strips in rows], axis=axis, gap=BLOCK_GAP))


def _strip(clip: Camera | None, num_images: int, height: int) -> Image:
    """Images of a clip, (num_images, height, W, 3) RGB."""
    blank = np.full((num_images, height, height * 4 // 3, 3), UNREADABLE, dtype=np.uint8)
    if clip is None:
        return blank
    places = np.linspace(0, clip.num_frames - 1, num_images).round().astype(np.int64)
    indices, repeats = np.unique(places, return_counts=True)
    reformatter = VideoReformatter()
    images: list[Image] = []
    try:
        for frame in decode_clip(clip, indices):
            width = max(2, round(min(frame.width / frame.height, MAX_ASPECT) * height / 2) * 2)
            small = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA")
            images.append(small.to_ndarray().astype(np.uint8, copy=False))
        return np.repeat(np.stack(images), repeats, axis=0)
    except (MillraceError, OSError, ValueError, av.FFmpegError):  # ValueError: of frames of several sizes
        return blank


def _center(strip: Image, width: int) -> list[Image]:
    """The strip's images in cells of a common width."""
    cells = np.full((len(strip), strip.shape[1], width, 3), BACKGROUND, dtype=np.uint8)
    left = (width - strip.shape[2]) // 2
    cells[:, :, left : left + strip.shape[2]] = strip
    return list(cells)


def _join(images: Sequence[Image], *, axis: int, gap: int) -> Image:
    """Images in a row (axis 1) or column (axis 0), background between them."""
    shape = list(images[0].shape)
    shape[axis] = gap
    between = np.broadcast_to(np.array(BACKGROUND, dtype=np.uint8), shape)
    return np.concatenate([piece for image in images for piece in (between, image)][1:], axis=axis)


def _frame(image: Image) -> Image:
    """The image with a margin."""
    height, width, _ = image.shape
    framed = np.full((height + 2 * MARGIN, width + 2 * MARGIN, 3), BACKGROUND, dtype=np.uint8)
    framed[MARGIN:-MARGIN, MARGIN:-MARGIN] = image
    return framed


def encode_png(image: Image) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as a PNG file."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = *image.shape[:2], "rgb24", Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
