"""Pieces of work that tell CPU and GPU apart: each stage alone, and all of them on one clip."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import getpid
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from millrace.engine.episode.encode_clip import encode_clip
from millrace.engine.episode.stage_clock import StageClock
from millrace.engine.planning.plan import Job
from millrace.engine.planning.resample import nearest_indices
from millrace.engine.sources import Clip
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, Backends, Gpu
from millrace.engine.video.decode import decode_frames, open_cpu_decoder, open_video
from millrace.engine.video.encode import write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import ENCODE, RESIZE, decode_stage
from millrace.engine.video.reframe import Reframer

AREA_CPU, AREA_NVENC = Backends(resize="area"), Backends(resize="area", encoder=NVENC)

Step = Callable[[], int]  # one pass; returns its number of output frames


@dataclass(frozen=True)
class Setup:
    """A camera's clip of an episode, and the settings of its output. folder: for what is written."""

    clip: Clip
    job: Job
    folder: Path

    @property
    def frames(self) -> NDArray[np.int64]:
        """Source frames that become the output's."""
        return nearest_indices(self.clip.num_frames, source_fps=self.clip.fps, target_fps=self.job.video.fps)

    @property
    def size(self) -> FrameSize:
        """Size of the output's frames."""
        return self.job.video.size

    @property
    def output_bytes(self) -> int:
        """Of a frame of the output, in 4:2:0."""
        return self.size.width * self.size.height * 3 // 2

    @property
    def path(self) -> Path:
        """Where this process writes a clip."""
        return self.folder / f"{getpid()}.mp4"


@dataclass(frozen=True)
class Work:
    """A stage on one kind of hardware. begin: called in its process. transfer_bytes: to and from the card, a frame."""

    stage: str
    where: str
    begin: Callable[[], Step]
    transfer_bytes: int = 0

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU takes part."""
        return self.where != "CPU" and not self.where.startswith("CPU,")


def list_works(setups: Mapping[str, Setup], is_working: Callable[[str], bool]) -> Iterator[Work]:
    """All that is timed, of setups by codec; is_working: whether the GPU can do a stage."""
    for codec, setup in setups.items():
        yield Work(f"all, {codec}", "CPU", partial(begin_all, setup, backends=CPU_BACKENDS, gpu=None))
        yield Work(f"all, {codec}", "CPU, area means", partial(begin_all, setup, backends=AREA_CPU, gpu=None))
        yield from _all_on_gpu(codec, setup, is_working)
        yield Work(decode_stage(codec), "CPU", partial(begin_decode, setup))
        if is_working(decode_stage(codec)):
            keeps = hardware.keeps_frames()
            where, crossing = ("stays on the card", 0) if keeps else ("to the host", _frame_bytes(setup))
            decode = partial(begin_nvdec, codec, setup, keeps=keeps)
            yield Work(decode_stage(codec), f"NVDEC, {where}", decode, crossing)
    small = setup.output_bytes  # resize and encode do not depend on the codec
    yield Work("resize", "CPU", partial(begin_resize, setup))
    yield Work("resize", "CPU, area means", partial(begin_area, setup, device="cpu"))
    if is_working(RESIZE):
        resize = partial(begin_area, setup, device="cuda")
        yield Work("resize", "CUDA, from and to the host", resize, _frame_bytes(setup) + small)
    yield Work("encode", "CPU", partial(begin_encode, setup, backends=CPU_BACKENDS))
    if is_working(ENCODE):
        yield Work("encode", "NVENC, from the host", partial(begin_encode, setup, backends=AREA_NVENC), small)


def _all_on_gpu(codec: str, setup: Setup, is_working: Callable[[str], bool]) -> Iterator[Work]:
    is_decoded, has_nvenc = is_working(decode_stage(codec)), is_working(ENCODE)
    if not is_working(RESIZE) or not (is_decoded or has_nvenc):
        return
    gpu = Gpu(codecs=(codec,) if is_decoded else (), keeps_frames=hardware.keeps_frames())
    backends = AREA_NVENC if has_nvenc else AREA_CPU
    crossing = 0 if is_decoded and gpu.keeps_frames else _frame_bytes(setup)
    crossing += 0 if has_nvenc and gpu.keeps_frames else setup.output_bytes
    where = f"{'NVDEC' if is_decoded else 'CPU decode'}, CUDA, {backends.encoder}"
    yield Work(f"all, {codec}", where, partial(begin_all, setup, backends=backends, gpu=gpu), crossing)


def _frame_bytes(setup: Setup) -> int:
    """Of a source frame, in 4:2:0."""
    with open_video(setup.clip.path) as (_, stream):
        return stream.width * stream.height * 3 // 2


def measure_quality(setup: Setup, backends: Backends) -> dict[str, float]:
    """What an encoder keeps of the luma of area means, mean PSNR in dB, and the bytes of a frame."""
    from millrace.engine.video.gpu.area_reframe import AreaReframer

    reframer = AreaReframer(crop=setup.job.crop, size=setup.size, device="cpu")
    given = np.stack([frame.to_ndarray() for frame in reframer(decode_frames(setup.clip, setup.frames))])
    frames = (av.VideoFrame.from_ndarray(planes, "yuv420p") for planes in given)
    write_h264(setup.path, frames, replace(setup.job.video, backends=backends))
    clip = Clip(setup.path, len(given), setup.job.video.fps)
    written = np.stack([frame.to_ndarray() for frame in decode_frames(clip, np.arange(len(given)))])
    error = ((written.astype(np.float64) - given)[:, : setup.size.height] ** 2).mean(axis=(1, 2))
    psnr_db = float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-9))))
    return {"luma_psnr_db": psnr_db, "bytes_per_frame": setup.path.stat().st_size / len(given)}


def begin_decode(setup: Setup) -> Step:
    """The planned packets, by libav's own decoder."""
    return lambda: _count(decode_frames(setup.clip, setup.frames, decoder=open_cpu_decoder))


def begin_nvdec(codec: str, setup: Setup, *, keeps: bool) -> Step:
    """The same by NVDEC."""
    from millrace.engine.video.gpu.nvdec import Nvdec

    decoder = Nvdec([codec], keeps_frames=keeps)
    return lambda: _count(decode_frames(setup.clip, setup.frames, decoder=decoder))


def begin_resize(setup: Setup) -> Step:
    """Crop and scale by libavfilter, of frames that lie in memory."""
    frames = _decoded(setup)
    return lambda: _count(map(Reframer(crop=setup.job.crop, size=setup.size), frames))


def begin_area(setup: Setup, *, device: str) -> Step:
    """Crop and scale by area means, of frames that lie in the host's memory and come back there."""
    from millrace.engine.video.gpu.area_reframe import AreaReframer

    frames = _decoded(setup)
    reframer = AreaReframer(crop=setup.job.crop, size=setup.size, device=device)
    return lambda: _count(reframer(frames))


def begin_encode(setup: Setup, *, backends: Backends) -> Step:
    """Encode small frames that lie in memory, into a file."""
    frames = list(map(Reframer(crop=setup.job.crop, size=setup.size), _decoded(setup)))
    settings = replace(setup.job.video, backends=backends)
    return lambda: write_h264(setup.path, _renewed(frames), settings)


def begin_all(setup: Setup, *, backends: Backends, gpu: Gpu | None) -> Step:
    """A clip as a worker makes it."""
    job = replace(setup.job, video=replace(setup.job.video, backends=backends), gpu=gpu)

    def step() -> int:
        made = encode_clip(setup.clip, setup.frames, setup.path, job, StageClock())
        assert made.redone is None, made.redone
        return len(setup.frames)

    return step


def transcode(clip: Clip, path: Path) -> Clip:
    """The same frames in H.264, as a dataset of H.264 has them."""
    with open_video(clip.path) as (container, stream), av.open(str(path), "w") as out:
        written = out.add_stream("libx264", clip.fps, {"preset": "veryfast", "crf": "18", "g": "10", "bf": "0"})
        written.width, written.height, written.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in container.decode(stream):
            frame.pict_type = 0
            out.mux(written.encode(frame))
        out.mux(written.encode(None))
    return replace(clip, path=path, root=None)


def _decoded(setup: Setup) -> list[av.VideoFrame]:
    """Some of the clip's frames; a decoder's own memory is not held."""
    return list(_renewed(decode_frames(setup.clip, setup.frames[:32])))


def _renewed(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Each frame as if it were new: an encoder keeps what it is given."""
    return (av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p") for frame in frames)


def _count(frames: Iterable[av.VideoFrame]) -> int:
    """Frames are let go as they come, as a worker does."""
    return sum(1 for _ in frames)
