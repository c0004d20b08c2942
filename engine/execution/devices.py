"""Choose resize backend and encoder of a dataset: once, by a probe; every later run keeps the choice."""

from collections.abc import Iterable, Sequence

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.errors import HubError, OtherRecipe, StoreError
from millrace.engine.execution.workers import Workers
from millrace.engine.hub.calls import map_at_once
from millrace.engine.hub.silence import silence_hub
from millrace.engine.output.state import OutputState
from millrace.engine.planning.planner import PreparedRecipe
from millrace.engine.sources import SourceEpisode
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, BackendChoice, Backends, Device, Gpu
from millrace.engine.video.codecs import read_codecs
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import (
    ENCODE,
    RESIZE,
    GpuReport,
    NoGpuStage,
    choose_backends,
    choose_gpu,
    decode_stage,
)


def created_backends(states: Iterable[OutputState], device: Device) -> Backends | None:
    """The backends of the earlier run that this one continues; None if there was none.

    Raises:
        OtherRecipe: `device` asks for another.
    """
    state = next((state for state in states if state.backends is not None), None)
    if state is None or state.backends is None:
        return None
    if device not in ("auto", _device_of(state.backends)):
        created = (f"{state.folder} was created with {state.backends}, which ", Setting("device", device))
        auto = ("Continue it with ", Setting("device", "auto"))
        advice = Remedy(*auto, ", choose another folder, or pass ", Setting("overwrite", True))
        raise OtherRecipe(
            *created, " would not give. ", advice, file=state.folder, got=device, expected=_device_of(state.backends)
        )
    return state.backends


def _device_of(backends: Backends) -> str:
    if backends.encoder == NVENC:
        return "cuda"
    return "cpu" if backends == CPU_BACKENDS else "auto"


def choose(
    prepared: PreparedRecipe, device: Device, workers: Workers, *, created: Backends | None = None
) -> BackendChoice:
    """Choose resize backend and encoder for a recipe's datasets, and how this run uses GPUs.

    Args:
        prepared: The recipe.
        device: What the user wants.
        workers: Where the work is done; this process is connected to their cluster.
        created: What an earlier run chose, which stays.

    Raises:
        NoGpuStage: the wish, or what an earlier run chose, cannot be done here.
        HubError: a source cannot be asked for its codec; a choice without that would stay.
    """
    reports = _probe(prepared.video_settings(), workers) if _may_use_gpu(device, created, workers) else []
    codecs = sorted(source_codecs(prepared)) if reports else []
    if created is None:
        return choose_for_new(reports, device, codecs, workers)
    gpu = choose_gpu(created, reports, codecs)
    if problem := cores_torch_problem(created, gpu, workers):
        message = f"this dataset was created with {created}, which without a GPU needs torch, too: {problem}"
        raise NoGpuStage(message, expected=str(created))
    return BackendChoice(created, gpu, _why_cpu(reports, codecs) if gpu is None else None)


def _may_use_gpu(device: Device, created: Backends | None, workers: Workers) -> bool:
    """Whether to look for a GPU; costs nothing where there can be none.

    Of a cluster only Ray knows; an embedded Ray has this machine's.
    """
    if device == "cpu" or created == CPU_BACKENDS:
        return False
    return device == "cuda" or workers.cluster is not None or hardware.may_have_gpu()


def choose_for_new(
    reports: Sequence[GpuReport], device: Device, codecs: Sequence[str], workers: Workers
) -> BackendChoice:
    """Choose resize backend and encoder for a new dataset.

    Raises:
        NoGpuStage: the wish cannot be done with these machines.
    """
    backends, gpu = choose_backends(reports, device, codecs)
    if problem := cores_torch_problem(backends, gpu, workers):
        return BackendChoice(why_cpu=f"cores would need torch beside a GPU: {problem}")
    return BackendChoice(backends, gpu, _why_cpu(reports, codecs) if gpu is None else None)


def _why_cpu(reports: Sequence[GpuReport], codecs: Sequence[str]) -> str | None:
    """Why the existing GPUs are not used; if they cannot resize, only that counts."""
    reports = [report for report in reports if report.has_gpu]
    others = (_problem(reports, stage) for stage in (*map(decode_stage, codecs), ENCODE))
    return _problem(reports, RESIZE) or "; ".join(filter(None, others)) or None


def _problem(reports: Sequence[GpuReport], stage: str) -> str | None:
    """What is wrong with the first machine that cannot run a stage; None if all can."""
    for report in reports:
        if (problem := report.problem(stage)) is not None:
            where = f"{report.card or 'the GPU'} of {report.node}"
            return f"{where}: {stage}: {problem}" if report.checks else f"{where}: {problem}"
    return None


def cores_torch_problem(backends: Backends, gpu: Gpu | None, workers: Workers) -> str | None:
    """Why a CPU worker could not resize; None if all can.

    NVENC leaves such workers no work, and a GPU that was seen to resize has shown that its machine has torch.
    """
    if backends.resize != "area" or backends.encoder == NVENC:
        return None
    if workers.cluster is None:
        return hardware.torch_problem() if gpu is None else None
    from millrace.engine.execution.cluster import nodes_torch_problem

    return nodes_torch_problem()


def _probe(settings: VideoSettings, workers: Workers) -> Sequence[GpuReport]:
    """Probe every machine that has a GPU, broken ones too: workers that need a GPU would be sent there."""
    if workers.cluster is None:
        if not hardware.may_have_gpu():
            return []
        from millrace.engine.video.gpu.probe_gpu import probe_isolated

        return [probe_isolated(settings)]
    from millrace.engine.execution.cluster import probe_nodes

    return probe_nodes(settings, gpu_share=workers.gpu_share)


def source_codecs(prepared: PreparedRecipe) -> set[str]:
    """The codecs of each source's first episode; those that are not here are fetched at the same time."""
    first = [source.episodes[0] for source in prepared.sources]
    cameras = [tuple(source.cameras.values()) for source in prepared.sources]
    with silence_hub():
        return set().union(*map_at_once(_codecs, first, cameras))


def _codecs(episode: SourceEpisode, cameras: Sequence[str]) -> set[str]:
    """None of an episode that cannot be read; its conversion reports that.

    Raises:
        HubError, StoreError: it cannot be had, perhaps for a moment only.
    """
    try:
        with episode.holding_files():
            episode.fetch(cameras)
            return read_codecs(episode.clips[camera] for camera in cameras if camera in episode.clips)
    except (HubError, StoreError):
        raise
    except (MillraceError, OSError):
        return set()
