"""Probe what a run needs of this machine."""

import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from millrace.embodiments.messages import Message
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.execution.capacity import available_memory
from millrace.train.environment import find_wandb_key
from millrace.train.errors import GrootMissing
from millrace.train.installed import Installed, find_installed, require_groot
from millrace.train.preflight.backbone import Unreachable, why_no_backbone
from millrace.train.preflight.gpus import Gpus, probe_gpus
from millrace.train.preflight.packages import why_not_importable
from millrace.train.preflight.pinned_versions import read_versions

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Machine:
    """The machine's hardware, packages and logins that preflight checks.

    Args:
        memory_bytes: Memory that is available now, within the limits of the container.
        disk_bytes: Free space where the output goes.
        gpus: Those that this process may use.
        why_no_groot: Why the GR00T that is asked for cannot be imported; None where it can.
        broken: Why a package cannot be imported, by its name; only of those that are asked for.
        has_wandb_login: Whether wandb finds a key, or needs none.
        why_not_writable: Why the output folder cannot be written; None where it can.
        installed: The package gr00t, whichever release it is; None where there is none.
        versions: Of Python and of what the release pins, by name; empty: not judged.
        no_backbone: Why the model that GR00T loads beside the base model cannot be; None where it can.
        shared_bytes: Free shared memory, through which loader processes hand over batches; None where unknown.
    """

    memory_bytes: int
    disk_bytes: int
    gpus: Gpus
    why_no_groot: str | None
    broken: Mapping[str, str]
    has_wandb_login: bool
    why_not_writable: str | None
    shared_bytes: int | None = None
    installed: Installed | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    no_backbone: Unreachable | None = None


def probe_machine(
    output: Path,
    *,
    gr00t: GrootChoice = "auto",
    backbone: str | None = None,
    packages: Iterable[str] = (),
    with_gpus: bool = True,
) -> Machine:
    """This machine.

    Args:
        output: Folder that a run would write to; it need not exist.
        gr00t: The release that must be installed.
        backbone: The model that is loaded beside the base model, if any: a folder, or one on the Hub, which is asked.
        packages: What the run imports; each is tried in a process of its own, all at once.
        with_gpus: Whether torch is asked for its GPUs, which takes seconds.
    """
    existing = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    with ThreadPoolExecutor() as pool:
        gpus = pool.submit(probe_gpus, os.environ) if with_gpus else None
        names = tuple(packages)
        reasons = zip(names, pool.map(why_not_importable, names), strict=True)
        broken = {name: reason for name, reason in reasons if reason is not None}
    installed = find_installed()
    return Machine(
        memory_bytes=available_memory(),
        disk_bytes=shutil.disk_usage(existing).free,
        gpus=Gpus() if gpus is None else gpus.result(),
        why_no_groot=_why_no_groot(gr00t),
        broken=broken,
        has_wandb_login=has_wandb_login(os.environ, Path.home()),
        why_not_writable=why_not_writable(existing),
        shared_bytes=free_shared_memory(),
        installed=installed,
        versions={} if installed is None or installed.release is None else read_versions(installed.release),
        no_backbone=None if backbone is None else why_no_backbone(backbone),
    )


def _why_no_groot(choice: GrootChoice) -> str | None:
    try:
        require_groot(choice)
    except GrootMissing as error:
        return str(error.message.what) if isinstance(error.message, Message) else str(error)
    return None


def has_wandb_login(environ: Mapping[str, str], home: Path) -> bool:
    """Whether wandb would find a key (WANDB_API_KEY, netrc) or is told to stay offline (WANDB_MODE)."""
    is_offline = environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
    return is_offline or find_wandb_key(environ, home) is not None


def free_shared_memory(folder: Path = SHARED_MEMORY) -> int | None:
    """Bytes that processes can still share there, where Linux has its shared memory; None where it has none."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def why_not_writable(folder: Path) -> str | None:
    """Why no file can be made in an existing folder; None if one can."""
    if not folder.is_dir():
        return f"{folder} is a file"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written by this user"
