"""Whether what a GPU makes of real pictures is what the CPU makes of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from gpu_works import AREA_NVENC, Setup
from numpy.typing import NDArray

from engine.sources import Clip
from engine.video.decode import OpenDecoder, decode_frames, on_cpu
from engine.video.encode import write_h264
from engine.video.gpu import hardware
from engine.video.gpu.report import GpuReport
from engine.video.reframe import Reframer
from engine.video.stages import CPU_STAGES, Stages

MIN_PSNR_DB = 44.0
MAX_BYTES = 1800.0
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """Something that has a bound; most: whether what is found must lie below it."""

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


def qualities(setup: Setup, codec: str, report: GpuReport) -> Iterator[Quality]:
    """Pixels of each stage that works here, and what its encoder keeps."""
    if report.problem(f"decode {codec}") is None:
        decoded = _pictures(_frames(setup))
        found = _pictures(decode_frames(setup.clip, setup.frames, decoder=_nvdec(codec)))
        yield Quality(f"NVDEC, {codec}: values that differ from the CPU's", float((found != decoded).sum()), 0)
    if hardware.torch_problem() is not None:
        return
    area = _area(setup, "cpu")
    filtered = _pictures(map(Reframer(crop=setup.job.crop, image_size=setup.size), _frames(setup)))
    error = np.abs(area.astype(np.int64) - filtered)
    yield Quality(f"area means, {codec}: luma off libavfilter's, mean", float(error[:, : setup.size].mean()), 1)
    yield Quality(f"area means, {codec}: chroma off libavfilter's, mean", float(error[:, setup.size :].mean()), 1)
    if report.problem("resize") is None:
        differing = float((_area(setup, "cuda") != area).sum())
        yield Quality(f"CUDA, {codec}: values that differ from area means on the CPU", differing, 0)
    yield from _encoded(setup, codec, CPU_STAGES, area)
    if report.problem("encode") is None:
        yield from _encoded(setup, codec, AREA_NVENC, area)


def _encoded(setup: Setup, codec: str, stages: Stages, ideal: Pictures) -> Iterator[Quality]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "encoded.mp4"
        frames = (av.VideoFrame.from_ndarray(picture, "yuv420p") for picture in ideal)
        write_h264(path, frames, replace(setup.job.video, stages=stages))
        clip = Clip(path, len(ideal), setup.job.video.fps)
        written = _pictures(decode_frames(clip, np.arange(len(ideal)))).astype(np.float64)
        error = ((written - ideal)[:, : setup.size] ** 2).mean(axis=(1, 2))
        psnr = float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-9))))
        num_bytes = path.stat().st_size / len(ideal)
    yield Quality(f"{stages.encoder}, {codec}: dB that luma keeps", psnr, MIN_PSNR_DB, is_most=False)
    yield Quality(f"{stages.encoder}, {codec}: bytes a frame", num_bytes, MAX_BYTES)


def _area(setup: Setup, device: str) -> Pictures:
    from engine.video.gpu.reframe import AreaReframer

    reframer: Callable[[Iterable[av.VideoFrame]], Iterator[av.VideoFrame]]
    reframer = AreaReframer(crop=setup.job.crop, image_size=setup.size, device=device)
    return _pictures(reframer(_frames(setup)))


def _frames(setup: Setup) -> Iterator[av.VideoFrame]:
    return decode_frames(setup.clip, setup.frames, decoder=on_cpu)


def _nvdec(codec: str) -> OpenDecoder:
    from engine.video.gpu.nvdec import Nvdec

    return Nvdec([codec], keeps_frames=hardware.keeps_frames())


def _pictures(frames: Iterable[av.VideoFrame]) -> Pictures:
    """All planes of each frame, wherever it lies, (T, H * 3 / 2, W)."""
    return np.stack([_planes(frame) for frame in frames])


def _planes(frame: av.VideoFrame) -> NDArray[np.uint8]:
    host = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
    return np.asarray(host.to_ndarray(), dtype=np.uint8)
