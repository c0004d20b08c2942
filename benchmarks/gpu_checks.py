"""Whether what a GPU makes of real pictures is what the CPU makes of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_works import AREA_NVENC, Setup
from millrace.engine.sources import Clip
from millrace.engine.video.backends import CPU_BACKENDS, Backends
from millrace.engine.video.decode import OpenDecoder, decode_frames, open_cpu_decoder
from millrace.engine.video.encode import write_h264
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import ENCODE, RESIZE, GpuReport, decode_stage
from millrace.engine.video.reframe import Reframer

MIN_PSNR_DB = 44.0
MAX_BYTES = 1800.0
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """Something that has a bound; is_most: whether what is found must lie below it."""

    what: str
    found: float
    limit: float
    is_most: bool = True

    @property
    def bound(self) -> str:
        """The bound as it is shown."""
        return f"at {'most' if self.is_most else 'least'} {self.limit:g}"

    @property
    def is_met(self) -> bool:
        """Whether what was found is within the bound."""
        return self.found <= self.limit if self.is_most else self.found >= self.limit


Check = Callable[[], list[Quality]]


def checks(setup: Setup, codec: str, report: GpuReport) -> dict[str, Check]:
    """Of each stage that works here, by what does it, and of the CPU's; none begins anything before it is called."""
    found: dict[str, Check] = {
        "area means": partial(area_pixels, setup),
        "libx264": partial(encoded_pixels, setup, CPU_BACKENDS),
    }
    if report.problem(decode_stage(codec)) is None:
        found["NVDEC"] = partial(nvdec_pixels, setup, codec)
    if report.problem(RESIZE) is None:
        found["CUDA"] = partial(cuda_pixels, setup)
    if report.problem(ENCODE) is None:
        found["h264_nvenc"] = partial(encoded_pixels, setup, AREA_NVENC)
    return found


def nvdec_pixels(setup: Setup, codec: str) -> list[Quality]:
    """Every value is the CPU's."""
    found = _pictures(decode_frames(setup.clip, setup.frames, decoder=_nvdec(codec)))
    return [Quality("values that differ from the CPU's", float((found != _pictures(_frames(setup))).sum()), 0)]


def area_pixels(setup: Setup) -> list[Quality]:
    """None is far from libavfilter's."""
    filtered = _pictures(map(Reframer(crop=setup.job.crop, image_size=setup.size), _frames(setup)))
    error = np.abs(_area(setup, "cpu").astype(np.int64) - filtered)
    return [
        Quality("luma off libavfilter's, mean", float(error[:, : setup.size].mean()), 1),
        Quality("chroma off libavfilter's, mean", float(error[:, setup.size :].mean()), 1),
    ]


def cuda_pixels(setup: Setup) -> list[Quality]:
    """Every value is the CPU's."""
    differing = float((_area(setup, "cuda") != _area(setup, "cpu")).sum())
    return [Quality("values that differ from area means on the CPU", differing, 0)]


def encoded_pixels(setup: Setup, stages: Backends) -> list[Quality]:
    """What an encoder keeps, and in how many bytes."""
    ideal = _area(setup, "cpu")
    frames = (av.VideoFrame.from_ndarray(picture, "yuv420p") for picture in ideal)
    write_h264(setup.path, frames, replace(setup.job.video, backends=stages))
    clip = Clip(setup.path, len(ideal), setup.job.video.fps)
    written = _pictures(decode_frames(clip, np.arange(len(ideal)))).astype(np.float64)
    error = ((written - ideal)[:, : setup.size] ** 2).mean(axis=(1, 2))
    psnr = float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-9))))
    return [
        Quality("dB that luma keeps", psnr, MIN_PSNR_DB, is_most=False),
        Quality("bytes a frame", setup.path.stat().st_size / len(ideal), MAX_BYTES),
    ]


def _area(setup: Setup, device: str) -> Pictures:
    from millrace.engine.video.gpu.area_reframe import AreaReframer

    reframer: Callable[[Iterable[av.VideoFrame]], Iterator[av.VideoFrame]]
    reframer = AreaReframer(crop=setup.job.crop, image_size=setup.size, device=device)
    return _pictures(reframer(_frames(setup)))


def _frames(setup: Setup) -> Iterator[av.VideoFrame]:
    return decode_frames(setup.clip, setup.frames, decoder=open_cpu_decoder)


def _nvdec(codec: str) -> OpenDecoder:
    from millrace.engine.video.gpu.nvdec import Nvdec

    return Nvdec([codec], keeps_frames=hardware.keeps_frames())


def _pictures(frames: Iterable[av.VideoFrame]) -> Pictures:
    """All planes of each frame, wherever it lies, (T, H * 3 / 2, W)."""
    return np.stack([_planes(frame) for frame in frames])


def _planes(frame: av.VideoFrame) -> NDArray[np.uint8]:
    host = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
    return np.asarray(host.to_ndarray(), dtype=np.uint8)
