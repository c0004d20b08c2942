"""What NVIDIA publishes of its decoding and encoding engines, scaled to the pictures at hand.

Frames a second of one engine: NVDEC and NVENC application notes of the Video Codec SDK 13.0, at 1920x1080, 8-bit 4:2:0
(docs.nvidia.com/video-technologies/video-codec-sdk/13.0/nvdec-application-note, .../nvenc-application-note). They say
that an engine's speed follows the video clock, that GA100's and Hopper's NVDEC is Turing's, and that one stream never
has more than one engine. Numbers of engines: NVIDIA's Video Encode and Decode GPU Support Matrix and its data sheets.

Assumed, and nowhere published: that smaller pictures take less time in proportion to their pixels. Each has costs of
its own, so that the bound is too high rather than too low.
"""

import re
from dataclasses import dataclass

from benchmarks.gpu_card import Card

PUBLISHED_PIXELS = 1920 * 1080


@dataclass(frozen=True)
class Generation:
    """One engine's frames a second. decode: by codec. encode: H.264, high quality, presets P5 and P3: P4 is between.

    decode_mhz, encode_mhz: the video clock at which they were measured; None where the note does not say.
    """

    decode: dict[str, int]
    decode_mhz: int
    encode: tuple[int, int]
    encode_mhz: int | None = None


TURING = Generation({"h264": 771, "hevc": 1316}, 1860, (264, 602), 1950)
AMPERE = Generation({"h264": 748, "hevc": 1415, "av1": 790}, 1665, (266, 617), 1950)
ADA = Generation({"h264": 903, "hevc": 1641, "av1": 1018}, 2160, (283, 647), 2415)
BLACKWELL = Generation({"h264": 2172, "hevc": 1872, "av1": 1119}, 2362, (317, 708))
THOR = Generation({"h264": 1434, "hevc": 1293, "av1": 794}, 1691, (230, 527))
# By CUDA's compute capability; Thor's was renumbered with CUDA 13.
GENERATIONS = {
    **dict.fromkeys(("7.5", "8.0", "9.0"), TURING),
    **dict.fromkeys(("8.6", "8.7"), AMPERE),
    "8.9": ADA,
    **dict.fromkeys(("10.0", "10.3", "12.0", "12.1"), BLACKWELL),
    **dict.fromkeys(("10.1", "11.0"), THOR),
}
# A card's name -> engines for decoding and for encoding.
NUM_ENGINES = (
    (r"\bA100\b", (5, 0)),
    (r"\bH[12]00\b", (7, 0)),
    (r"\bG?B200\b", (7, 0)),
    (r"\bL40S\b", (3, 3)),
    (r"\bL4\b", (4, 2)),
    (r"RTX PRO 6000 Blackwell", (4, 4)),
    (r"GeForce RTX 4090$", (1, 2)),
    (r"GeForce RTX 3090$", (1, 1)),
)


@dataclass(frozen=True)
class Bound:
    """What a card's engines of a kind are published to do, in output frames a second of each; two presets' for NVENC.

    num_engines: None where no source is known. is_at_clock: scaled to this card's video clock.
    """

    num_engines: int | None
    least: float
    most: float
    is_at_clock: bool

    def __str__(self) -> str:
        each = f"{self.most:,.0f}" if self.least == self.most else f"{self.least:,.0f} to {self.most:,.0f}"
        count = "?" if self.num_engines is None else self.num_engines
        return f"{count} x {each}{'' if self.is_at_clock else '*'}"


def decode_bound(card: Card, codec: str, *, num_pixels: float) -> Bound | None:
    """num_pixels: that are decoded for each output frame. None where nothing is published."""
    generation = GENERATIONS.get(card.capability)
    if generation is None or codec not in generation.decode:
        return None
    fastest = float(generation.decode[codec])
    return _bound(card, 0, (fastest, fastest), mhz=generation.decode_mhz, num_pixels=num_pixels)


def encode_bound(card: Card, *, num_pixels: float) -> Bound | None:
    """num_pixels: of a picture."""
    generation = GENERATIONS.get(card.capability)
    if generation is None:
        return None
    return _bound(card, 1, generation.encode, mhz=generation.encode_mhz, num_pixels=num_pixels)


def _bound(
    card: Card, kind: int, frames_per_second: tuple[float, float], *, mhz: int | None, num_pixels: float
) -> Bound:
    counts = next((counts for pattern, counts in NUM_ENGINES if re.search(pattern, card.name)), None)
    is_at_clock = mhz is not None and card.max_video_mhz is not None
    clock = (card.max_video_mhz or 1) / (mhz or 1) if is_at_clock else 1.0
    least, most = (rate * clock * PUBLISHED_PIXELS / num_pixels for rate in frames_per_second)
    return Bound(None if counts is None else counts[kind], least, most, is_at_clock)
