"""What nvidia-smi says of the card: which one it is, and how busy its engines are."""

import os
import re
import subprocess
from dataclasses import dataclass

QUERY = "utilization.decoder,utilization.encoder,utilization.gpu,memory.used"
ENGINES = ("NVDEC %", "NVENC %", "SM %", "memory MiB")
TIMEOUT_SECONDS = 10.0
Busy = dict[str, int]
"""By ENGINES, all engines of a kind together; without those that the driver does not tell."""


@dataclass(frozen=True)
class Card:
    """The first card that CUDA sees. capability: CUDA's, such as "8.9". max_video_mhz: None where nobody says."""

    name: str
    capability: str
    max_video_mhz: int | None = None


def find_card() -> Card | None:
    """None where nvidia-smi finds none."""
    name, _, capability = _smi("--query-gpu=name,compute_cap", "--format=csv,noheader").rpartition(",")
    if not name:
        return None
    clocks = re.search(r"Max Clocks\n(?:.*:.*\n)*?\s*Video\s*:\s*(\d+) MHz", _smi("-q", "-d", "CLOCK"))
    return Card(name.strip(), capability.strip(), int(clocks[1]) if clocks else None)


def busy() -> Busy:
    """At this moment."""
    told = _smi(f"--query-gpu={QUERY}", "--format=csv,noheader,nounits").split(",")
    pairs = zip(ENGINES, map(str.strip, told), strict=False)
    return {name: int(value) for name, value in pairs if value.isdecimal()}


def _smi(*arguments: str) -> str:
    """Its answer; empty without one."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", f"--id={first}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
