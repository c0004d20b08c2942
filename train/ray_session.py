"""The Ray that a command works on: one of its own, or a running cluster."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import ray

from millrace.train.errors import GpuMissing

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
OBJECT_STORE_BYTES = 256 << 20  # settings, metrics and joints of episodes are all that Ray stores


@contextmanager
def ray_session(
    address: str | None, *, num_workers: int, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """A Ray of this command, shut down afterwards, or a running cluster, left as it was.

    Args:
        address: Of the cluster; None for a Ray of this machine.
        num_workers: Workers wait for one another: on fewer cores than workers they share them.
        environment: What Ray is to find there beside `ENVIRONMENT`, unless the user has set it.
    """
    for name, value in {**ENVIRONMENT, **environment}.items():
        os.environ.setdefault(name, value)
    if address:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            "local",
            num_cpus=max(os.cpu_count() or 1, num_workers),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()


def check_gpus(num_gpus: int) -> None:
    """Make sure that the connected Ray has a GPU for each worker.

    Raises:
        GpuMissing: it has fewer.
    """
    there = int(ray.cluster_resources().get("GPU", 0))
    if num_gpus > there:
        raise GpuMissing(
            f"--num-gpus {num_gpus}: Ray sees {there} GPUs. Ask for as many, or for a test without any pass --cpu, or "
            "do it in this process with --num-gpus 0"
        )
