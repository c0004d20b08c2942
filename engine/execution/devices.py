"""Choose resize backend and encoder of a dataset: once, by a probe; every later run keeps the choice."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embodiments.errors import MillraceError
from millrace.engine.errors import HubError, OtherRecipe
from millrace.engine.execution.workers import Workers
from millrace.engine.hub.calls import silence_hub
from millrace.engine.output.header import read_backends
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.sources.episode import SourceEpisode
from millrace.engine.sources.hub import NUM_CONNECTIONS
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, Backends, Device, Gpu
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


@dataclass(frozen=True)
class Choice:
    """Resize backend and encoder, and how this run uses GPUs; why_not: why it does not use the GPUs that exist."""

    stages: Backends
    gpu: Gpu | None
    why_not: str | None


def begun_with(folders: Iterable[Path], device: Device) -> Backends | None:
    """The choice of the earlier run that this one continues; None if there was none.

    Raises:
        OtherRecipe: `device` asks for another.
    """
    found = ((folder, stages) for folder in folders if (stages := read_backends(folder)) is not None)
    folder, stages = next(found, (None, None))
    if stages is not None and device not in ("auto", _device_of(stages)):
        raise OtherRecipe(
            f"{folder} was created with {stages}, which --device {device} would not give. Continue it with "
            "--device auto, choose another folder, or pass --overwrite"
        )
    return stages


def _device_of(stages: Backends) -> str:
    if stages.encoder == NVENC:
        return "cuda"
    return "cpu" if stages == CPU_BACKENDS else "auto"


def may_use_gpu(device: Device, begun: Backends | None, workers: Workers) -> bool:
    """Whether to look for a GPU; costs nothing where there can be none.

    Of a cluster only Ray knows; an embedded Ray has this machine's.
    """
    if device == "cpu" or begun == CPU_BACKENDS:
        return False
    return device == "cuda" or workers.cluster is not None or hardware.may_have_gpu()


def chosen(plan: ConversionPlan, device: Device, begun: Backends | None, workers: Workers) -> Choice:
    """Choose resize backend and encoder for a plan; connects to Ray, unless workers are local.

    Raises:
        NoGpuStage: the wish, or what an earlier run chose, cannot be done here.
        HubError: a source cannot be asked for its codec; a choice without that would stay.
    """
    reports = _probe(plan.job.video, workers) if may_use_gpu(device, begun, workers) else []
    codecs = sorted(source_codecs(plan)) if reports else []
    if begun is None:
        return first_choice(reports, device, codecs, workers)
    gpu = choose_gpu(begun, reports, codecs)
    if problem := lacks_torch(begun, gpu, workers):
        raise NoGpuStage(f"this dataset was created with {begun}, which without a GPU needs torch, too: {problem}")
    return Choice(begun, gpu, _why_not(reports, codecs) if gpu is None else None)


def first_choice(reports: Sequence[GpuReport], device: Device, codecs: Sequence[str], workers: Workers) -> Choice:
    """Choose resize backend and encoder for a new dataset; connects to Ray if workers are on a cluster.

    Raises:
        NoGpuStage: the wish cannot be done with these machines.
    """
    stages, gpu = choose_backends(reports, device, codecs)
    if problem := lacks_torch(stages, gpu, workers):
        return Choice(CPU_BACKENDS, None, f"cores would need torch beside a GPU: {problem}")
    return Choice(stages, gpu, _why_not(reports, codecs) if gpu is None else None)


def _why_not(reports: Sequence[GpuReport], codecs: Sequence[str]) -> str | None:
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


def lacks_torch(stages: Backends, gpu: Gpu | None, workers: Workers) -> str | None:
    """Why a CPU worker could not resize; None if all can.

    NVENC leaves such workers no work, and a GPU that was seen to resize has shown that its machine has torch.
    """
    if stages.resize != "area" or stages.encoder == NVENC:
        return None
    if workers.cluster is None:
        return hardware.torch_problem() if gpu is None else None
    from millrace.engine.execution.cluster import nodes_torch_problem

    return nodes_torch_problem()


def made_with(plan: ConversionPlan, stages: Backends, gpu: Gpu | None = None) -> ConversionPlan:
    """The plan with resize backend, encoder and GPUs as chosen."""
    return replace(plan, job=replace(plan.job, video=replace(plan.job.video, backends=stages), gpu=gpu))


def _probe(settings: VideoSettings, workers: Workers) -> Sequence[GpuReport]:
    """Probe every machine that has a GPU, broken ones too: workers that need a GPU would be sent there."""
    if workers.cluster is None:
        if not hardware.may_have_gpu():
            return []
        from millrace.engine.video.gpu.probe_gpu import probe_isolated

        return [probe_isolated(settings)]
    from millrace.engine.execution.cluster import probe_nodes

    return probe_nodes(settings, gpu_share=workers.gpu_share)


def source_codecs(plan: ConversionPlan) -> set[str]:
    """The codecs of each source's first episode; those on the Hub are fetched at the same time."""
    first = {episode.binding: episode.episode for episode in reversed(plan.episodes)}
    cameras = [tuple(plan.job.bindings[number].cameras.values()) for number in first]
    with silence_hub(), ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        return set().union(*pool.map(_codecs, first.values(), cameras))


def _codecs(episode: SourceEpisode, cameras: Sequence[str]) -> set[str]:
    """None of an episode that cannot be read; its conversion reports that.

    Raises:
        HubError: it cannot be had, perhaps for a moment only.
    """
    try:
        if episode.repository is not None:
            episode.fetch(cameras)
        return read_codecs(episode.clips[camera] for camera in cameras if camera in episode.clips)
    except HubError:
        raise
    except (MillraceError, OSError):
        return set()
