"""The GPUs of a machine, as torch uses them and as nvidia-smi lists them."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from pydantic import TypeAdapter, ValidationError

from millrace.train.preflight.packages import run_python

ASK_TORCH = """
import json, torch, torch.distributed
said = {"version": torch.__version__, "why": None, "cards": [], "bf16": False}
said["nccl"] = torch.distributed.is_available() and torch.distributed.is_nccl_available()
try:
    torch.cuda.init()
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    said["cards"] = [[card.name, card.total_memory] for card in cards]
    said["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
except (AssertionError, RuntimeError) as error:
    said["why"] = str(error).strip().splitlines()[0]
print(json.dumps(said))
"""


@dataclass(frozen=True)
class GpuCard:
    """One GPU."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Gpus:
    """The GPUs that a process may use.

    Args:
        cards: As torch sees them; as nvidia-smi does where there is no torch.
        num_listed: How many nvidia-smi lists.
        why_fewer: Why torch does not see as many; None where it does.
        has_bf16: Whether they compute in bf16.
        has_nccl: Whether torch has NCCL, by which several share gradients.
    """

    cards: tuple[GpuCard, ...] = ()
    num_listed: int = 0
    why_fewer: str | None = None
    has_bf16: bool = True
    has_nccl: bool = True


@dataclass(frozen=True)
class _Answer:
    version: str
    why: str | None
    cards: tuple[tuple[str, int], ...]
    bf16: bool
    nccl: bool


_AnswerText = TypeAdapter(_Answer)


def probe_gpus(environ: Mapping[str, str]) -> Gpus:
    """The GPUs of this machine; torch starts CUDA for that, in a process of its own."""
    listed = visible_gpus(environ)
    if find_spec("torch") is None:
        return Gpus(listed, len(listed))
    said = run_python(ASK_TORCH)
    try:
        answer = _AnswerText.validate_json(said.last_line)
    except ValidationError:
        return Gpus((), len(listed), f"torch cannot say how many it sees: {said.why_failed}")
    cards = tuple(GpuCard(name, num_bytes) for name, num_bytes in answer.cards)
    why = f"torch {answer.version} sees {len(cards)}" + (f": {answer.why}" if answer.why else "")
    return Gpus(cards, len(listed), why if len(cards) < len(listed) else None, answer.bf16, answer.nccl)


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
