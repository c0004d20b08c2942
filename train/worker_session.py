"""The Ray session that workers of training and evaluation run in."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import ray

from millrace.embodiments import Remedy
from millrace.engine.execution.ray_session import ray_session
from millrace.train.errors import GpuMissing


@contextmanager
def worker_session(
    num_workers: int, *, address: str | None, use_gpu: bool, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """A `ray_session` with a core, and where they use one a GPU, for each worker.

    Raises:
        GpuMissing: Ray has fewer GPUs than workers.
        ClusterFailed: as of `ray_session`.
    """
    # Workers wait for one another: on fewer cores than workers they share them.
    with ray_session(max(os.cpu_count() or 1, num_workers), address, environment=environment):
        num_gpus = int(ray.cluster_resources().get("GPU", 0)) if use_gpu else num_workers
        if num_gpus < num_workers:
            raise GpuMissing(
                f"--num-gpus {num_workers}: Ray sees {num_gpus} GPUs. ",
                Remedy(
                    "Ask for as many, or for a test without any pass --cpu, or do it in this process with --num-gpus 0"
                ),
                got=num_workers,
                expected=num_gpus,
            )
        yield
