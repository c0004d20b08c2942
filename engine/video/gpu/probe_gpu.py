"""Try every stage on the card with a few frames and compare with the CPU's pixels; no card is judged by its name."""

import errno
import platform
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.sources import Clip
from millrace.engine.video.backends import CPU_BACKENDS, GPU_SHARE, NVENC, Backends
from millrace.engine.video.decode import OpenDecoder, decode_frames, open_cpu_decoder
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.isolation import run_isolated
from millrace.engine.video.gpu.report import CODECS, ENCODE, RESIZE, GpuReport, StageCheck, decode_stage
from millrace.engine.video.gpu.sample import (
    FPS,
    HEIGHT,
    NUM_FRAMES,
    SAMPLE_ENCODERS,
    WIDTH,
    encode_sample,
    sample_frames,
)
from millrace.engine.video.probe import probe_video

# Against libx264 with the same frames.
MAX_PSNR_LOSS_DB, MAX_TIMES_BYTES = 1.0, 3.0
DEFAULT_SETTINGS = VideoSettings(FPS, FrameSize.square(256))
MAX_SESSIONS = round(1 / GPU_SHARE)

WriteVideo = Callable[[Path, Iterator[av.VideoFrame], VideoSettings], int]


class WrongResult(Exception):
    """A stage ran, but its result is wrong."""


def probe_gpu(settings: VideoSettings = DEFAULT_SETTINGS, *, node: str | None = None) -> GpuReport:
    """Try this machine's first card; what is missing or broken is reported, not raised.

    Args:
        settings: Of the output: NVENC has a minimum size.
        node: The machine's name, by default its own.
    """
    report = GpuReport(
        node=node or platform.node(),
        has_gpu=hardware.may_have_gpu(),
        driver=hardware.driver_version(),
        keeps_frames=hardware.keeps_frames(),
        missing=hardware.hardware_problems(),
        versions=hardware.gpu_versions(),
    )
    if report.missing:
        return report
    import torch

    return try_stages(report.model_copy(update={"card": torch.cuda.get_device_name(0)}), settings)


def probe_isolated(settings: VideoSettings = DEFAULT_SETTINGS) -> GpuReport:
    """Do the same in another process, for a machine that has a GPU."""
    return run_isolated(
        partial(probe_gpu, settings), lambda why: GpuReport(node=platform.node(), has_gpu=True, failed=why)
    )


def try_stages(report: GpuReport, settings: VideoSettings, *, device: str = "cuda") -> GpuReport:
    """Try each stage on the card, torch's `device`, and add the results to the report."""
    from millrace.engine.video.gpu.nvdec import Nvdec

    keeps = hardware.keeps_frames()
    nvenc = replace_backends(settings, Backends(resize="area", encoder=NVENC))
    write = partial(_write_from_card, device=device)
    with tempfile.TemporaryDirectory() as folder:
        decoders = [
            _check(decode_stage(codec), partial(check_decoder, codec, Nvdec([codec], keeps_frames=keeps), Path(folder)))
            for codec in CODECS
        ]
        resize = _check(RESIZE, partial(check_resize, settings, device=device))
        encode = _check(ENCODE, partial(check_encoder, nvenc, Path(folder), write=write))
    num_sessions = 0 if encode.problem else count_sessions(settings)
    return report.model_copy(update={"checks": (*decoders, resize, encode), "num_sessions": num_sessions})


def count_sessions(settings: VideoSettings) -> int:
    """How many NVENC sessions this process can open at once; tries one for each worker that a card gets by default.

    Drivers bound them on consumer cards, and answer "out of memory" beyond: NVIDIA's Video Encode and Decode Support
    Matrix, "Max # of concurrent sessions".
    """
    nvenc = replace_backends(settings, Backends(resize="area", encoder=NVENC))
    sessions = []
    for _ in range(MAX_SESSIONS):
        encoder = av.CodecContext.create(NVENC, "w")
        encoder.width, encoder.height = settings.size
        encoder.pix_fmt, encoder.time_base, encoder.options = "nv12", 1 / settings.fps, nvenc.options
        try:
            encoder.open()
        except av.FFmpegError:
            break
        sessions.append(encoder)
    return len(sessions)


def replace_backends(settings: VideoSettings, backends: Backends) -> VideoSettings:
    """Settings of the same output with other backends."""
    return VideoSettings(settings.fps, settings.size, settings.gop, backends=backends)


def _check(stage: str, attempt: Callable[[], None]) -> StageCheck:
    try:
        attempt()
    except Exception as error:  # of libav, torch or the driver; a stage that does not work is a finding
        return StageCheck(stage=stage, problem=explain_stage(error, stage))
    return StageCheck(stage=stage)


def explain_stage(error: BaseException, stage: str) -> str:
    """An error of a stage in a line; of libav's what its number means there, and not that the file is corrupt."""
    cause = error.__cause__ if isinstance(error, VideoError) and error.code is not FaultCode.GPU else error
    if isinstance(cause, av.FFmpegError):
        return _describe_error(cause, stage)
    told = str(error) if isinstance(error, WrongResult | VideoError) else f"{type(error).__name__}: {error}"
    return " ".join(told.split())


def _describe_error(error: av.FFmpegError, stage: str) -> str:
    """No more than is known: libav's numbers do not tell whether it is for the card, the driver or itself."""
    if stage in map(decode_stage, CODECS):
        codec = stage.removeprefix(decode_stage("")).upper()
        return f"this card, driver and libav do not decode {codec} (libav: {error.strerror})"
    if stage == ENCODE and error.errno == errno.ENOSYS:
        return f"this card has no NVENC, or its driver is too old for it (libav: {error.strerror})"
    return f"libav says: {error.strerror}"


def check_decoder(codec: str, decoder: OpenDecoder, folder: Path) -> None:
    """Every pixel is the CPU's, and so is what is said of their range and matrix; the second time, too.

    Raises:
        Unfit: some is not, or the card did not decode.
    """
    path = folder / f"{codec}.mp4"
    encode_sample(path, SAMPLE_ENCODERS[codec])
    clip, wanted = Clip(path, NUM_FRAMES, FPS), np.arange(1, NUM_FRAMES, 2, dtype=np.int64)
    expected = [(_planes(frame), _colors(frame)) for frame in decode_frames(clip, wanted, decoder=open_cpu_decoder)]
    for _ in range(2):  # a decoder is kept for the next clip
        found = [(_planes(frame), _colors(frame)) for frame in decode_frames(clip, wanted, decoder=decoder)]
        for number, (one, colors), (other, expected_colors) in zip(wanted, found, expected, strict=True):
            if not np.array_equal(one, other):
                num_wrong = int((one != other).sum())
                raise WrongResult(f"frame {number} differs from the CPU's in {num_wrong} of {one.size} values")
            if colors != expected_colors:
                raise WrongResult(f"frame {number} has range and matrix {colors}, the CPU's {expected_colors}")


def check_resize(settings: VideoSettings, *, device: str) -> None:
    """Every pixel is the CPU's, and none is far from libavfilter's.

    Raises:
        Unfit: some is not.
    """
    from millrace.engine.video.gpu.area_reframe import AreaReframer

    size = FrameSize(min(settings.size.width, WIDTH), min(settings.size.height, HEIGHT))
    here, there = (
        [_planes(frame) for frame in AreaReframer(crop="center", size=size, device=where)(sample_frames())]
        for where in ("cpu", device)
    )
    if not all(map(np.array_equal, here, there)):
        raise WrongResult("area means differ from the CPU's")


def check_encoder(settings: VideoSettings, folder: Path, *, write: WriteVideo) -> None:
    """What is written has every frame, key frames where they belong, and pictures as good as libx264's.

    Raises:
        Unfit: it has not, or takes far more bytes.
    """
    path, other = folder / "encoded.mp4", folder / "reference.mp4"
    write(path, sample_frames(settings.size.height, settings.size.width), settings)
    facts = probe_video(path)
    expected = ("h264", "yuv420p", NUM_FRAMES, settings.fps, min(settings.gop, NUM_FRAMES), True, False)
    found = (facts.codec, facts.pix_fmt, facts.num_frames, facts.fps, facts.gop, facts.is_constant_rate)
    if (*found, facts.has_b_frames) != expected:
        raise WrongResult(f"wrote {facts.describe()} in groups of {facts.gop}, expected {expected}")
    reference = replace_backends(settings, CPU_BACKENDS)
    write_h264(other, sample_frames(settings.size.height, settings.size.width), reference)
    kept, most = worst_psnr_db(path, settings), worst_psnr_db(other, reference)
    if kept < most - MAX_PSNR_LOSS_DB:
        raise WrongResult(f"keeps {kept:.1f} dB of a frame, where libx264 keeps {most:.1f} dB")
    num_bytes, num_fewest = path.stat().st_size, other.stat().st_size
    if num_bytes > MAX_TIMES_BYTES * num_fewest:
        raise WrongResult(f"takes {num_bytes} bytes, where libx264 takes {num_fewest}")


def worst_psnr_db(path: Path, settings: VideoSettings) -> float:
    """PSNR, in dB, of the worst frame of the sample's file against the frame that was given to the encoder."""
    given = sample_frames(settings.size.height, settings.size.width)
    written = decode_frames(Clip(path, NUM_FRAMES, settings.fps), np.arange(NUM_FRAMES))
    return min(_psnr_db(_planes(frame), _planes(picture)) for frame, picture in zip(written, given, strict=True))


def _write_from_card(path: Path, frames: Iterator[av.VideoFrame], settings: VideoSettings, *, device: str) -> int:
    """As a worker does: the encoder takes what the resize left on the card."""
    from millrace.engine.video.gpu.area_reframe import AreaReframer, EncoderInput

    handover = EncoderInput("nv12", stays_on_card=hardware.keeps_frames())
    reframer = AreaReframer(crop="center", size=settings.size, device=device, handover=handover)
    return write_h264(path, reframer(frames), settings)


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
