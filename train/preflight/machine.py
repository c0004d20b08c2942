"""Probe what a run needs of this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlparse

from millrace.engine.execution.capacity import available_memory
from millrace.train.errors import GrootMissing
from millrace.train.groot import require_groot

# Packages whose absence a run would notice late.
PACKAGES = ("deepspeed", "flash_attn", "tensorboard", "tensorboardX", "wandb")
# Importing torchcodec imports torch, which takes long on a cold disk.
IMPORT_SECONDS = 120


@dataclass(frozen=True)
class GpuCard:
    """One GPU, by nvidia-smi."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Machine:
    """The machine's hardware, packages and logins that preflight checks.

    Args:
        memory_bytes: Memory that is available now, within the limits of the container.
        disk_bytes: Free space where the output goes.
        gpus: Those that this process may use.
        packages: Of PACKAGES, those that are installed.
        why_no_groot: Why GR00T N1.6 cannot be imported; None where it can.
        broken_decoders: Why a video decoder cannot be used, by its name; only of the one that is asked for.
        has_wandb_login: Whether wandb finds a key, or needs none.
        why_not_writable: Why the output folder cannot be written; None where it can.
    """

    memory_bytes: int
    disk_bytes: int
    gpus: tuple[GpuCard, ...]
    packages: frozenset[str]
    why_no_groot: str | None
    broken_decoders: Mapping[str, str]
    has_wandb_login: bool
    why_not_writable: str | None


def probe_machine(output: Path, *, decoder: str | None = None) -> Machine:
    """This machine.

    Args:
        output: Folder that a run would write to; it need not exist.
        decoder: The video decoder that the run needs: the package torchcodec or decord.
    """
    existing = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    reason = None if decoder is None else why_not_importable(decoder)
    return Machine(
        memory_bytes=available_memory(),
        disk_bytes=shutil.disk_usage(existing).free,
        gpus=visible_gpus(os.environ),
        packages=frozenset(name for name in PACKAGES if find_spec(name) is not None),
        why_no_groot=_why_no_groot(),
        broken_decoders={} if decoder is None or reason is None else {decoder: reason},
        has_wandb_login=has_wandb_login(os.environ, Path.home()),
        why_not_writable=why_not_writable(existing),
    )


def visible_gpus(environ: Mapping[str, str]) -> tuple[GpuCard, ...]:
    """The GPUs that nvidia-smi lists, less those that CUDA_VISIBLE_DEVICES hides; none without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = tuple(
        GpuCard(name.strip(), int(mebibytes) << 20)
        for name, _, mebibytes in (line.rpartition(",") for line in listed.splitlines())
        if mebibytes.strip().isdigit()
    )
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    chosen = [device.strip() for device in visible.split(",") if device.strip()]
    by_number = [gpus[int(device)] for device in chosen if device.isdigit() and int(device) < len(gpus)]
    # Devices named otherwise (GPU-..., MIG-...) are taken for the first ones.
    return tuple(by_number) if all(device.isdigit() for device in chosen) else gpus[: len(chosen)]


def why_not_importable(package: str) -> str | None:
    """Why a fresh interpreter cannot import a package, in a line; None if it can."""
    if find_spec(package) is None:
        return f"the package {package} is not installed"
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {package}"], capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"importing {package} takes more than {IMPORT_SECONDS} s"
    return None if done.returncode == 0 else _reason_in(done.stderr)


def _reason_in(traceback: str) -> str:
    """The library that the loader misses, where it names one; else the last line, which names the error."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    missing = [line for line in lines if "cannot open shared object file" in line]
    return (missing or lines[-1:] or ["it ended without a word"])[0]


def _why_no_groot() -> str | None:
    try:
        require_groot()
    except GrootMissing as error:
        return str(error)
    return None


def has_wandb_login(environ: Mapping[str, str], home: Path) -> bool:
    """Whether wandb would find a key (WANDB_API_KEY, netrc) or is told to stay offline (WANDB_MODE)."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    host = urlparse(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    files = [Path(environ["NETRC"])] if "NETRC" in environ else [home / ".netrc", home / "_netrc"]
    return any(_has_key(file, host) for file in files)


def _has_key(file: Path, host: str) -> bool:
    try:
        return host in netrc(str(file)).hosts
    except (OSError, NetrcParseError):
        return False


def why_not_writable(folder: Path) -> str | None:
    """Why no file can be made in an existing folder; None if one can."""
    if not folder.is_dir():
        return f"{folder} is a file"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written by this user"
