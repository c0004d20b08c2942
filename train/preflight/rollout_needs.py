"""What a rollout needs, as far as it is known before its checkpoint is made."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.dataset.releases import GrootChoice
from millrace.train.errors import GpuMissing
from millrace.train.installed import require_groot
from millrace.train.preflight.evaluation import check_module
from millrace.train.preflight.gpus import probe_gpus
from millrace.train.rollout.adapters import check_environment


def environment_problems(env_id: str, adapter: Path | None) -> Iterator[str]:
    """What the simulated robot lacks, a line for each."""
    yield from _attempt([partial(check_environment, env_id, adapter=adapter)])


def policy_problems(modules: Sequence[Path], *, device: str, gr00t: GrootChoice) -> Iterator[str]:
    """What a checkpoint's policy in this process lacks, a line for each.

    Args:
        modules: Files that are imported before it is loaded.
        device: Where it runs.
        gr00t: The release that runs it.
    """
    checks: list[Callable[[], object]] = [partial(require_groot, gr00t), partial(_check_device, device)]
    yield from _attempt([*checks, *(partial(check_module, path) for path in modules)])


def _attempt(checks: Sequence[Callable[[], object]]) -> Iterator[str]:
    for check in checks:
        try:
            check()
        except MillraceError as error:
            yield str(error)


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    gpus = probe_gpus(os.environ)
    if not gpus.cards:
        why = f" ({gpus.why_fewer})" if gpus.why_fewer else ""
        remedy = Remedy("On CPUs: ", Setting("device", "cpu"))
        raise GpuMissing(Setting("device", device), f": this machine has no GPU{why}. ", remedy)
