"""What GPUs of this machine or cluster can do, and what the device "auto" would choose there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from millrace.embodiments import FrozenModel
from millrace.engine.execution.devices import choose_for_new
from millrace.engine.execution.workers import Workers
from millrace.engine.video.encode import library_versions, x264_version
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.probe_gpu import DEFAULT_SETTINGS, probe_gpu, probe_isolated
from millrace.engine.video.gpu.report import CODECS, GpuReport


class AutoChoice(FrozenModel):
    """What auto chooses for sources of one codec: "GPU" or "CPU" for decode and resize, and the encoder's name."""

    codec: str
    decode: str
    resize: str
    encoder: str


class Diagnosis(FrozenModel):
    """All machines. libraries: of libav, as the driver has them; x264: its build."""

    nodes: tuple[GpuReport, ...]
    auto: tuple[AutoChoice, ...]
    libraries: dict[str, str]
    x264: str | None


def diagnose_nodes(address: str | None = None) -> Diagnosis:
    """Try this machine, or every node of a running Ray cluster.

    Raises:
        ConnectionError: no cluster answers at the address.
    """
    workers = Workers(address=address)
    with _connection(address):
        nodes = [_this_machine()] if address is None else _nodes(workers)
        auto = auto_choices(nodes, workers)
    return Diagnosis(nodes=tuple(nodes), auto=auto, libraries=library_versions(), x264=x264_version())


def auto_choices(nodes: Sequence[GpuReport], workers: Workers = Workers()) -> tuple[AutoChoice, ...]:
    """For sources of each codec, as a run with these workers would choose."""
    found = []
    for codec in CODECS:
        choice = choose_for_new(nodes, "auto", [codec], workers)
        gpu = choice.gpu
        places = ("GPU" if gpu and codec in gpu.codecs else "CPU", "CPU" if gpu is None else "GPU")
        found.append(AutoChoice(codec=codec, decode=places[0], resize=places[1], encoder=choice.backends.encoder))
    return tuple(found)


def _this_machine() -> GpuReport:
    return probe_isolated() if hardware.may_have_gpu() else probe_gpu()


def _connection(address: str | None) -> AbstractContextManager[object]:
    if address is None:
        return nullcontext()
    from millrace.engine.execution.ray_session import ray_session

    return ray_session(None, address)


def _nodes(workers: Workers) -> list[GpuReport]:
    from millrace.engine.execution.cluster import probe_nodes

    return probe_nodes(DEFAULT_SETTINGS, gpu_share=workers.gpu_share, only_gpus=False)
