"""What the GPUs of a Ray cluster can do, each tried where it is."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.video.encode import VideoSettings
from engine.video.gpu.probe import probe_gpu
from engine.video.gpu.report import GpuReport

TIMEOUT_SECONDS = 300.0


def probe_nodes(settings: VideoSettings, *, gpu_share: float, only_gpus: bool = True) -> list[GpuReport]:
    """A report of every node of the Ray that this process is connected to.

    A driver that crashes takes the probe's process with it, not this one.

    Args:
        settings: Of the output.
        gpu_share: Of a GPU, as workers will have it: Ray shows a process no more of the machine.
        only_gpus: Leave out nodes that say of themselves that they have none.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and (not only_gpus or _has_gpu(node))]
    return _reports(nodes, [_begin(node, settings, gpu_share) for node in nodes])


def _has_gpu(node: dict[str, Any]) -> bool:
    return bool(node["Resources"].get("GPU", 0) > 0)


def _begin(node: dict[str, Any], settings: VideoSettings, gpu_share: float) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    share = gpu_share if _has_gpu(node) else 0
    probe = ray.remote(probe_gpu).options(num_cpus=0, num_gpus=share, max_retries=0, scheduling_strategy=there)
    return probe.remote(settings, node=node["NodeManagerHostname"])


def _reports(nodes: Sequence[dict[str, Any]], begun: Sequence[Any]) -> list[GpuReport]:
    reports = []
    for node, probe in zip(nodes, begun, strict=True):
        try:
            reports.append(ray.get(probe, timeout=TIMEOUT_SECONDS))
        except ray.exceptions.RayError as error:  # its process died, hangs, or waits for a GPU that others have
            ray.cancel(probe, force=True)
            told = f"the probe ended with {type(error).__name__}: the GPU is taken, or its driver broken"
            reports.append(GpuReport(node=node["NodeManagerHostname"], missing=(told,)))
    return reports
