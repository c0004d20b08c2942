"""Facts about a machine's GPU that need no use of it: cheap, and safe where there is none."""

import importlib
import re
import subprocess
from pathlib import Path

from millrace.engine.about import environment_versions, install_command, installed_version

# Of NVIDIA's driver, of its Jetsons', and of Windows' subsystem for Linux.
DEVICE_NODES = ("nvidia[0-9]*", "nvhost-gpu", "dxg")
NO_DEVICE = "no NVIDIA device (/dev/nvidia0)"
DRIVER_VERSION = Path("/proc/driver/nvidia/version")
EXTRA = f"install Millrace with its extra `gpu`, in a separate environment: {install_command('gpu')}"
# Frames that stay on the card: is_hw_owned, DLPack both ways, and CudaContext(current_ctx=True).
KEEPING_AV = (18, 1)
PACKAGES = ("torch", "torchvision")


def may_have_gpu(folder: Path = Path("/dev")) -> bool:
    """Whether this machine, or container, has an NVIDIA device."""
    return any(next(folder.glob(pattern), None) is not None for pattern in DEVICE_NODES)


def driver_version() -> str | None:
    """The driver's version by the kernel module, or else by nvidia-smi."""
    try:
        found = re.search(r"Module\S*(?: for \S+)?\s+([\d.]+)", DRIVER_VERSION.read_text())
        if found:
            return found[1]
    except OSError:
        pass
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return told.split("\n")[0].strip() or None


def gpu_versions() -> dict[str, str | None]:
    """Python and the installed packages; None: not installed."""
    return environment_versions() | {name: installed_version(name) for name in PACKAGES}


def keeps_frames() -> bool:
    """Whether this PyAV can leave decoded frames on the card."""
    return tuple(map(int, re.findall(r"\d+", installed_version("av") or "")[:2])) >= KEEPING_AV


def hardware_problems() -> tuple[str, ...]:
    """Why this machine cannot use a GPU; empty where no problem is seen."""
    found = () if may_have_gpu() else (NO_DEVICE,)
    if problem := torch_problem():
        return (*found, problem)
    return found or _cuda_problem()


def torch_problem() -> str | None:
    """Why torch cannot take area means, on any device; None if it can."""
    return next(filter(None, map(_import_problem, ("torch", "torchvision"))), None)


def _import_problem(name: str) -> str | None:
    if installed_version(name) is None:
        return f"{name} is not installed: {EXTRA}"
    try:
        importlib.import_module(name)
    except Exception as error:  # a +cpu torch beside torchvision raises a RuntimeError
        return f"{name} cannot be imported ({error}): {EXTRA}"
    return None


def _cuda_problem() -> tuple[str, ...]:
    import torch

    if torch.version.cuda is None:
        return (f"torch {torch.__version__} is built without CUDA: {EXTRA}",)
    return () if torch.cuda.is_available() else (f"torch {torch.__version__} sees no GPU: is the driver too old?",)
