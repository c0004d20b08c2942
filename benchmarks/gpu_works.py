"""Pieces of work whose speed tells CPU and GPU apart: each a stage alone, or all of them on one clip."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from os import getpid
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_card import Card
from benchmarks.gpu_limits import Bound, decode_bound, encode_bound
from millrace.engine.episode.encode_clip import encode_clip
from millrace.engine.episode.stage_clock import StageClock
from millrace.engine.planning.plan import Job
from millrace.engine.planning.resample import nearest_indices
from millrace.engine.sources import Clip
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, Backends, Gpu
from millrace.engine.video.decode import decode_frames, open_cpu_decoder, open_video
from millrace.engine.video.encode import write_h264
from millrace.engine.video.gpu import hardware
from millrace.engine.video.packets import PacketInfo, PacketUse, plan_packets
from millrace.engine.video.reframe import Reframer
from millrace.engine.video.seek import clip_packets

AREA_CPU, AREA_NVENC = Backends(resize="area"), Backends(resize="area", encoder=NVENC)

Step = Callable[[], int]
"""One pass; returns how many output frames it made or served."""


@dataclass(frozen=True)
class Setup:
    """One camera's clip of an episode, and the output that is wanted of it. folder: for what is written."""

    clip: Clip
    job: Job
    folder: Path

    @property
    def frames(self) -> NDArray[np.int64]:
        """Source frames that become the output's."""
        return nearest_indices(self.clip.num_frames, source_fps=self.clip.fps, target_fps=self.job.video.fps)

    @property
    def size(self) -> int:
        """Side of the output's pictures."""
        return self.job.video.image_size

    @property
    def path(self) -> Path:
        """Where this process writes a clip."""
        return self.folder / f"{getpid()}.mp4"


@dataclass(frozen=True)
class Work:
    """One stage on one kind of hardware.

    begin: called in the process that does it. transfer_bytes: between host and card, for each output frame.
    engine: the kind of the card's that does it all, whose speed is published; codec: what that decodes.
    """

    stage: str
    where: str
    begin: Callable[[Setup], Step]
    transfer_bytes: int = 0
    engine: Literal["NVDEC", "NVENC"] | None = None
    codec: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU takes part."""
        return self.where != "CPU" and not self.where.startswith("CPU,")


def works(setup: Setup, codec: str, working: Callable[[str], bool]) -> list[Work]:
    """All that is to be timed of a clip; working: whether the GPU can do a stage."""
    picture, small = _num_bytes(setup.clip.path), setup.size**2 * 3 // 2
    found = [
        Work(f"decode {codec}", "CPU", begin_decode),
        Work("resize", "CPU", begin_resize),
        Work("resize", "CPU, area means", partial(begin_area, device="cpu")),
        Work("encode", "CPU", partial(begin_encode, stages=CPU_BACKENDS)),
        Work(f"all, {codec}", "CPU", partial(begin_all, stages=CPU_BACKENDS, gpu=None)),
    ]
    is_decoded, has_nvenc = working(f"decode {codec}"), working("encode")
    if is_decoded:
        found += _nvdec_works(codec, picture)
    if working("resize"):
        crossing = picture + small
        found.append(Work("resize", "CUDA, from and to the host", partial(begin_area, device="cuda"), crossing))
    if has_nvenc:
        encode = partial(begin_encode, stages=AREA_NVENC)
        found.append(Work("encode", "NVENC, from the host", encode, small, engine="NVENC"))
    if working("resize") and (is_decoded or has_nvenc):
        gpu = Gpu(codecs=(codec,) if is_decoded else (), keeps_frames=hardware.keeps_frames())
        stages = AREA_NVENC if has_nvenc else AREA_CPU
        crossing = (0 if is_decoded and gpu.keeps_frames else picture) + (
            0 if has_nvenc and gpu.keeps_frames else small
        )
        where = f"{'NVDEC' if is_decoded else 'CPU decode'}, CUDA, {stages.encoder}"
        found.append(Work(f"all, {codec}", where, partial(begin_all, stages=stages, gpu=gpu), crossing))
    return found


def _nvdec_works(codec: str, picture: int) -> list[Work]:
    stage, to_host = f"decode {codec}", partial(begin_nvdec, codec, keeps=False)
    found = [Work(stage, "NVDEC, to the host", to_host, picture, engine="NVDEC", codec=codec)]
    if hardware.keeps_frames():
        stays = partial(begin_nvdec, codec, keeps=True)
        found.append(Work(stage, "NVDEC, stays", stays, engine="NVDEC", codec=codec))
    return found


def published(work: Work, setup: Setup, card: Card) -> Bound | None:
    """What the card's engines are said to do of it; None where several of its parts take turns, or nobody says."""
    if work.engine == "NVENC":
        return encode_bound(card, num_pixels=setup.size**2)
    if work.engine == "NVDEC":
        decoded = _num_bytes(setup.clip.path) / 1.5 * num_decoded(setup) / len(setup.frames)
        return decode_bound(card, work.codec, num_pixels=decoded)
    return None


def num_decoded(setup: Setup) -> int:
    """Frames that are decoded for the wanted ones."""
    with open_video(setup.clip.path) as (container, stream):
        packets = [PacketInfo(one.pts, one.is_keyframe) for one in clip_packets(container, stream, setup.clip)]
    times = np.sort([packet.pts for packet in packets])[setup.frames]
    return sum(use is not PacketUse.SKIP for use in plan_packets(packets, set(times.tolist())))


def _num_bytes(path: Path) -> int:
    """Of one picture of a file, in 4:2:0."""
    with open_video(path) as (_, stream):
        return stream.width * stream.height * 3 // 2


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
    return lambda: _count(map(Reframer(crop=setup.job.crop, image_size=setup.size), frames))


def begin_area(setup: Setup, *, device: str) -> Step:
    """Crop and scale by area means, of frames that lie in the host's memory and come back there."""
    from millrace.engine.video.gpu.area_reframe import AreaReframer

    frames = _decoded(setup)
    reframer = AreaReframer(crop=setup.job.crop, image_size=setup.size, device=device)
    return lambda: _count(reframer(frames))


def begin_encode(setup: Setup, *, stages: Backends) -> Step:
    """Encode small pictures that lie in memory, into a file."""
    frames = list(map(Reframer(crop=setup.job.crop, image_size=setup.size), _decoded(setup)))
    settings = replace(setup.job.video, backends=stages)
    return lambda: write_h264(setup.path, _renewed(frames), settings)


def begin_all(setup: Setup, *, stages: Backends, gpu: Gpu | None) -> Step:
    """A clip as a worker makes it."""
    job = replace(setup.job, video=replace(setup.job.video, backends=stages), gpu=gpu)

    def step() -> int:
        made = encode_clip(setup.clip, setup.frames, setup.path, job, StageClock())
        assert made.redone is None, made.redone
        return len(setup.frames)

    return step


def transcoded(clip: Clip, path: Path) -> Clip:
    """The same pictures in H.264, as a dataset of H.264 has them."""
    with open_video(clip.path) as (container, stream), av.open(str(path), "w") as out:
        options = {"preset": "veryfast", "crf": "18", "g": "10", "bf": "0"}
        written = out.add_stream("libx264", rate=clip.fps, options=options)
        written.width, written.height, written.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in container.decode(stream):
            frame.pict_type = 0
            out.mux(written.encode(frame))
        out.mux(written.encode(None))
    return replace(clip, path=path, root=None)


def _decoded(setup: Setup) -> list[av.VideoFrame]:
    """Some of the clip's frames; a decoder's own memory is not held."""
    few = setup.frames[:32]
    frames = decode_frames(setup.clip, few)
    return [av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p") for frame in frames]


def _renewed(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Each frame as if it were new: an encoder keeps what it is given."""
    return (av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p") for frame in frames)


def _count(frames: Iterable[av.VideoFrame]) -> int:
    """Frames are let go as they come, as a worker does."""
    return sum(1 for _ in frames)
