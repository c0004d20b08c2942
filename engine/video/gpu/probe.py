"""Every stage tried on the card with a few frames, and held against the CPU's pixels: no card is judged by its name."""

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from engine.errors import VideoError
from engine.sources.episode import Clip
from engine.video.decode import OpenDecoder, decode_frames, on_cpu
from engine.video.encode import VideoSettings, write_h264
from engine.video.gpu import hardware
from engine.video.gpu.report import CODECS, ENCODE, RESIZE, Check, GpuReport, decoding
from engine.video.probe import probe_video
from engine.video.stages import CPU_STAGES, NVENC, Stages

# Two groups of ten and one frame more: an encoder that gives up early, or mistimes key frames, is found out.
NUM_FRAMES = 21
HEIGHT, WIDTH = 240, 320
FPS = Fraction(20)
SAMPLE_ENCODERS = {"av1": "libsvtav1", "h264": "libx264", "hevc": "libx265"}
QUIET = {"libsvtav1": {"preset": "8"}, "libx265": {"x265-params": "log-level=none"}}
# Against libx264 with the same pictures.
MAX_PSNR_LOSS_DB, MAX_TIMES_BYTES = 1.0, 3.0
DEFAULT_SETTINGS = VideoSettings(FPS, 256)

WriteVideo = Callable[[Path, Iterator[av.VideoFrame], VideoSettings], int]


class Unfit(Exception):
    """A stage that ran, but not rightly."""


def probe_gpu(settings: VideoSettings = DEFAULT_SETTINGS, *, node: str | None = None) -> GpuReport:
    """Try this machine's first card; no error, whatever is missing or broken.

    Args:
        settings: Of the output: NVENC has a least size of its own.
        node: The machine's name, by default its own.
    """
    report = GpuReport(
        node=node or platform.node(),
        driver=hardware.driver_version(),
        keeps_frames=hardware.keeps_frames(),
        missing=hardware.missing(),
        versions=hardware.versions(),
    )
    if report.missing:
        return report
    import torch

    return report.model_copy(update={"card": torch.cuda.get_device_name(0), "checks": run_checks(settings)})


def run_checks(settings: VideoSettings) -> tuple[Check, ...]:
    """Each stage on the card."""
    from engine.video.gpu.nvdec import Nvdec

    keeps = hardware.keeps_frames()
    nvenc = settings_with(settings, Stages(resize="area", encoder=NVENC))
    with tempfile.TemporaryDirectory() as folder:
        found = [
            _check(decoding(codec), partial(check_decoder, codec, Nvdec([codec], keeps_frames=keeps), Path(folder)))
            for codec in CODECS
        ]
        found.append(_check(RESIZE, partial(check_resize, settings, device="cuda")))
        found.append(_check(ENCODE, partial(check_encoder, nvenc, Path(folder), write=_write_from_card)))
    return tuple(found)


def decoding_problem(codec: str) -> str | None:
    """Why this machine's first card does not decode a codec, to be copied to the host; None if it does."""
    from engine.video.gpu.nvdec import Nvdec

    if not hardware.may_have_gpu():
        return hardware.NO_DEVICE
    with tempfile.TemporaryDirectory() as folder:
        decoder = Nvdec([codec], keeps_frames=False)
        return _check(decoding(codec), partial(check_decoder, codec, decoder, Path(folder))).problem


def settings_with(settings: VideoSettings, stages: Stages) -> VideoSettings:
    """The same output by other code."""
    return VideoSettings(settings.fps, settings.image_size, settings.gop, stages=stages)


def _check(stage: str, attempt: Callable[[], None]) -> Check:
    try:
        attempt()
    except Exception as error:  # of libav, torch or the driver; a stage that does not work is a finding
        return Check(stage=stage, problem=_told(error))
    return Check(stage=stage)


def _told(error: BaseException) -> str:
    """The error in a line; of libav's not that the file is corrupt, which it is not."""
    if isinstance(error, VideoError) and isinstance(error.__cause__, av.FFmpegError):
        return f"libav says: {error.__cause__.strerror}"
    told = str(error) if isinstance(error, Unfit | VideoError) else f"{type(error).__name__}: {error}"
    return " ".join(told.split())


def check_decoder(codec: str, decoder: OpenDecoder, folder: Path) -> None:
    """Every pixel is the CPU's, and so is what is said of their range and matrix.

    Raises:
        Unfit: some is not, or the card did not decode.
    """
    path = folder / f"{codec}.mp4"
    encode_sample(path, SAMPLE_ENCODERS[codec])
    clip, wanted = Clip(path, NUM_FRAMES, FPS), np.arange(1, NUM_FRAMES, 2, dtype=np.int64)
    expected = [(_planes(frame), _colors(frame)) for frame in decode_frames(clip, wanted, decoder=on_cpu)]
    found = [(_planes(frame), _colors(frame)) for frame in decode_frames(clip, wanted, decoder=decoder)]
    for number, (one, colors), (other, expected_colors) in zip(wanted, found, expected, strict=True):
        if not np.array_equal(one, other):
            num_wrong = int((one != other).sum())
            raise Unfit(f"frame {number} differs from the CPU's in {num_wrong} of {one.size} values")
        if colors != expected_colors:
            raise Unfit(f"frame {number} has range and matrix {colors}, the CPU's {expected_colors}")


def check_resize(settings: VideoSettings, *, device: str) -> None:
    """Every pixel is the CPU's, and none is far from libavfilter's.

    Raises:
        Unfit: some is not.
    """
    from engine.video.gpu.reframe import AreaReframer

    size = min(settings.image_size, HEIGHT)
    here, there = (
        [_planes(frame) for frame in AreaReframer(crop="center", image_size=size, device=where)(sample_frames())]
        for where in ("cpu", device)
    )
    if not all(map(np.array_equal, here, there)):
        raise Unfit("area means differ from the CPU's")


def check_encoder(settings: VideoSettings, folder: Path, *, write: WriteVideo) -> None:
    """What is written has every frame, key frames where they belong, and pictures as good as libx264's.

    Raises:
        Unfit: it has not, or takes far more bytes.
    """
    path, other = folder / "encoded.mp4", folder / "reference.mp4"
    write(path, sample_frames(settings.image_size, settings.image_size), settings)
    facts = probe_video(path)
    expected = ("h264", "yuv420p", NUM_FRAMES, settings.fps, min(settings.gop, NUM_FRAMES), True, False)
    found = (facts.codec, facts.pix_fmt, facts.num_frames, facts.fps, facts.gop, facts.is_constant_rate)
    if (*found, facts.has_b_frames) != expected:
        raise Unfit(f"wrote {facts.describe()} in groups of {facts.gop}, expected {expected}")
    reference = settings_with(settings, CPU_STAGES)
    write_h264(other, sample_frames(settings.image_size, settings.image_size), reference)
    kept, most = worst_psnr_db(path, settings), worst_psnr_db(other, reference)
    if kept < most - MAX_PSNR_LOSS_DB:
        raise Unfit(f"keeps {kept:.1f} dB of a picture, where libx264 keeps {most:.1f} dB")
    num_bytes, num_fewest = path.stat().st_size, other.stat().st_size
    if num_bytes > MAX_TIMES_BYTES * num_fewest:
        raise Unfit(f"takes {num_bytes} bytes, where libx264 takes {num_fewest}")


def worst_psnr_db(path: Path, settings: VideoSettings) -> float:
    """Of the sample's frames in a file, how near the worst is to what was given to the encoder."""
    given = sample_frames(settings.image_size, settings.image_size)
    written = decode_frames(Clip(path, NUM_FRAMES, settings.fps), np.arange(NUM_FRAMES))
    return min(_psnr_db(_planes(frame), _planes(picture)) for frame, picture in zip(written, given, strict=True))


def _write_from_card(path: Path, frames: Iterator[av.VideoFrame], settings: VideoSettings) -> int:
    """As a worker does: the encoder takes what the resize left on the card."""
    from engine.video.gpu.reframe import AreaReframer, Handover

    handover = Handover("nv12", stays=hardware.keeps_frames())
    reframer = AreaReframer(crop="center", image_size=settings.image_size, device="cuda", handover=handover)
    return write_h264(path, reframer(frames), settings)


def encode_sample(path: Path, encoder: str) -> None:
    """A video of any codec, by the CPU; of full range and BT.709, which frames have only if they are told."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=FPS, options=QUIET.get(encoder, {}))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = 10, 1
        stream.codec_context.color_range = color_range = ColorRange.JPEG.value
        stream.codec_context.colorspace = matrix = Colorspace.ITU709.value
        for frame in sample_frames():
            frame.color_range, frame.colorspace = color_range, matrix
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sample_frames(height: int = HEIGHT, width: int = WIDTH) -> Iterator[av.VideoFrame]:
    """Coloured waves that move: smooth, as cameras' pictures are, with every level in them."""
    rows, columns = np.mgrid[0 : height * 3 // 2, 0:width]
    for number in range(NUM_FRAMES):
        waves = np.sin((rows + 2 * number) / 17) + np.cos((columns - 3 * number) / 23) + np.sin((rows + columns) / 41)
        picture = (128 + 36 * waves).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts, frame.time_base = number, 1 / FPS
        yield frame


def _planes(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """All three planes, wherever the frame lies, (H * 3 / 2, W)."""
    # Of "yuvj420p" PyAV below 18 would make limited range.
    host = frame if frame.format.name in ("yuv420p", "yuvj420p") else frame.reformat(format="yuv420p")
    return np.asarray(host.to_ndarray(), dtype=np.uint8)


def _colors(frame: av.VideoFrame) -> tuple[int, int]:
    """Range and matrix, as H.273 counts them."""
    return int(frame.color_range), int(frame.colorspace)


def _psnr_db(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
