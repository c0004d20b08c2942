"""The resize backend and encoder of a dataset, and how a run uses a GPU for it."""

from dataclasses import dataclass
from typing import Literal

from millrace.embodiments import FrozenModel

Device = Literal["auto", "cpu", "cuda"]
Resize = Literal["libavfilter", "area"]
X264: Literal["libx264"] = "libx264"
NVENC: Literal["h264_nvenc"] = "h264_nvenc"
Encoder = Literal["libx264", "h264_nvenc"]


class Backends(FrozenModel):
    """The resize backend and encoder, which decide the bytes of videos: chosen once for all workers and later runs.

    The decoder is none of them: H.264, HEVC and AV1 define each pixel.

    resize: "area" is the exact mean of the source's pixels, the same on a GPU and without; "libavfilter" is the
    CPU's own, which differs by a level in some pixels. card, driver: of the GPU when the choice was made.
    """

    resize: Resize = "libavfilter"
    encoder: Encoder = X264
    card: str | None = None
    driver: str | None = None

    def __str__(self) -> str:
        where = "" if self.card is None else f" ({self.card}, driver {self.driver})"
        return f"{self.resize} and {self.encoder}{where}"


CPU_BACKENDS = Backends()
# Expected: eight workers keep a card's decoders busy, and each takes half a gigabyte of it; benchmarks/gpu.py measures.
GPU_SHARE = 0.125


@dataclass(frozen=True)
class Gpu:
    """How workers that have a GPU use it; the output's bytes do not depend on it.

    device: torch's name of it. codecs: what is decoded on it. keeps_frames: decoded frames stay on the card until
    they are small (PyAV 18.1), or else pass through the host. num_sessions: of NVENC, which a card opens at once; None
    where it does not encode.
    """

    device: str = "cuda"
    codecs: tuple[str, ...] = ()
    keeps_frames: bool = False
    num_sessions: int | None = None


@dataclass(frozen=True)
class BackendChoice:
    """The backends of a dataset, and how this run uses GPUs.

    why_cpu: why it does not use the GPUs that exist. shortage: what its cluster lacks at the start, in words.
    """

    backends: Backends = CPU_BACKENDS
    gpu: Gpu | None = None
    why_cpu: str | None = None
    shortage: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of this machine."""
        why = () if self.why_cpu is None else (f"videos are converted on the CPU: {self.why_cpu}",)
        return why if self.shortage is None else (*why, self.shortage)


CPU_CHOICE = BackendChoice()
