"""Decode a source clip, crop and scale its frames and encode them, on a GPU where the run has one."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import MillraceError
from millrace.engine.dataset import ColumnSummary, EpisodeWarning
from millrace.engine.dataset.camera_levels import Levels, sampled_frames
from millrace.engine.dataset.writing import WRITE_ERRORS
from millrace.engine.episode.frame_warnings import FrameWatch, is_upright_square
from millrace.engine.episode.stage_clock import StageClock
from millrace.engine.errors import RUN_ELSEWHERE, FaultCode, VideoError
from millrace.engine.planning import Job
from millrace.engine.sources import Camera, name_file_in_errors
from millrace.engine.video.backends import NVENC, Gpu
from millrace.engine.video.black import black_frames
from millrace.engine.video.decode import Frame, OpenDecoder, decode_clip, open_cpu_decoder
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.histogram import RgbHistogram, feed_histogram
from millrace.engine.video.probe import probe_video
from millrace.engine.video.reframe import Reframer
from millrace.engine.video.stream_facts import StreamFacts, read_stream_facts


@dataclass(frozen=True)
class EncodedClip:
    """An encoded clip.

    stats: LeRobot's. levels: counts of its levels. redone: why the CPU did what a GPU should have done. warnings: about
    the source's frames. mean_fps: of the source's video, frames by duration; None where unknown.
    """

    stats: ColumnSummary
    levels: Levels
    redone: str | None = None
    warnings: tuple[EpisodeWarning, ...] = ()
    mean_fps: Fraction | None = None


def encode_clip(clip: Camera | None, frames: NDArray[np.int64], path: Path, job: Job, clock: StageClock) -> EncodedClip:
    """Write the `frames` of a clip, or as many black ones, to `path` and check what was written.

    What a GPU cannot do, because it is gone or does not support the clip, is done on the CPU. The bytes are the
    same, as both use the dataset's resize backend; where NVENC encodes, the CPU can only decode and resize.

    Raises:
        VideoError: the source is missing or corrupt, or does not match its rows, or NVENC failed.
    """
    redone = None
    if job.gpu is not None:
        try:
            return _encode(clip, frames, path, job, clock)
        except Exception as error:  # of torch, libav or the driver; if the clip is to blame, the CPU says so
            redone = f"{type(error).__name__}: {error}"
            _decoder.cache_clear()  # an error may leave a decoder in any state
    try:
        return replace(_encode(clip, frames, path, replace(job, gpu=None), clock), redone=redone)
    except MillraceError:
        raise
    except Exception as error:
        if job.video.backends.encoder != NVENC or getattr(error, "errno", None) in WRITE_ERRORS:
            raise
        raise _nvenc_error(error) from error


def _nvenc_error(error: Exception) -> VideoError:
    problem = (
        f"{NVENC} failed ({getattr(error, 'strerror', None) or error}), and no other encoder may continue its work. "
    )
    return VideoError(problem, RUN_ELSEWHERE, code=FaultCode.GPU)


def _encode(clip: Camera | None, frames: NDArray[np.int64], path: Path, job: Job, clock: StageClock) -> EncodedClip:
    histogram, facts = RgbHistogram(), StreamFacts()
    observer = FrameWatch()
    if clip is None:
        output = black_frames(len(frames), job.video.size)
    else:
        facts = read_stream_facts(clip)
        job = job if is_upright_square(clip, facts) else _use_libavfilter(job)
        decoded = observer.watch(clock.iterate("decode", decode_clip(clip, frames, decoder=_decoder(job.gpu))))
        output = clock.iterate("crop and scale", _reframe(decoded, job, facts.pixel_aspect))
    every = sampled_frames(len(frames)).step
    counted = clock.iterate("image statistics", feed_histogram(output, histogram, every=every))
    is_nvenc = job.video.backends.encoder == NVENC  # its driver gives numbers of the system, too
    with clock.stage("encode"), nullcontext() if is_nvenc else name_file_in_errors(path):
        write_h264(path, counted, job.video, color_tags=facts.color_tags)
    check_written(path, len(frames), job.video, clock)
    warnings = () if clip is None else observer.warnings(facts, histogram)
    return EncodedClip(histogram.summary(), histogram.counts, warnings=warnings, mean_fps=facts.mean_fps)


def _use_libavfilter(job: Job) -> Job:
    """The job for frames that are turned or have pixels that are not square: only libavfilter handles these."""
    backends = job.video.backends.model_copy(update={"resize": "libavfilter"})
    return replace(job, gpu=None, video=replace(job.video, backends=backends))


@lru_cache
def _decoder(gpu: Gpu | None) -> OpenDecoder:
    """Cached, as decoders on a card serve clip after clip."""
    if gpu is None or not gpu.codecs:
        return open_cpu_decoder
    from millrace.engine.video.gpu.nvdec import Nvdec

    return Nvdec(gpu.codecs, keeps_frames=gpu.keeps_frames)


def _reframe(decoded: Iterable[Frame], job: Job, pixel_aspect: Fraction) -> Iterator[Frame]:
    size, gpu = job.video.size, job.gpu
    if job.video.backends.resize == "libavfilter":
        return map(Reframer(crop=job.crop, size=size, pixel_aspect=pixel_aspect), decoded)
    # torch takes seconds to import, and is not there without the extra `gpu`.
    from millrace.engine.video.gpu.area_reframe import AreaReframer, EncoderInput

    stays = gpu is not None and gpu.keeps_frames
    encoder_input = EncoderInput("nv12", stays) if job.video.backends.encoder == NVENC else EncoderInput()
    device = "cpu" if gpu is None else gpu.device
    return AreaReframer(crop=job.crop, size=size, device=device, handover=encoder_input)(decoded)


def check_written(path: Path, num_frames: int, settings: VideoSettings, clock: StageClock) -> None:
    """Check that a written file has the frames and format that the dataset will state.

    Raises:
        VideoError: it does not, or cannot be read back, which is not the source's fault.
    """
    try:
        with clock.stage("probe"):
            facts = probe_video(path)
    except VideoError as error:
        raise VideoError(f"what was written cannot be read back: {error}", code=FaultCode.INTERNAL) from error
    expected = ("h264", "yuv420p", *settings.size, num_frames, 0, True, False)
    found = (
        facts.codec,
        facts.pix_fmt,
        facts.width,
        facts.height,
        facts.num_frames,
        facts.first_pts,
        facts.is_constant_rate,
        facts.has_b_frames,
    )
    if found != expected or facts.fps not in (settings.fps, None):
        message = f"wrote {facts.describe()}, expected {num_frames} frames at {settings.fps} fps"
        raise VideoError(message, code=FaultCode.INTERNAL, got=facts.describe())
