"""Variables of the command's environment for workers on other machines, which begin with that of `ray start`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlparse

# By what they configure: the Hugging Face Hub, Weights & Biases, NCCL, gloo, torch, transformers.
PREFIXES = ("HF_", "WANDB_", "NCCL_", "GLOO_", "TORCH_NCCL_", "TORCH_DISTRIBUTED_", "TRANSFORMERS_")
NAMES = frozenset(("CUDA_LAUNCH_BLOCKING", "NO_ALBUMENTATIONS_UPDATE", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"))
SECRET = re.compile("TOKEN(?!IZERS)|KEY|SECRET|PASSWORD")
WANDB_KEY, WANDB_SERVER = "WANDB_API_KEY", "https://api.wandb.ai"


@dataclass(frozen=True)
class WorkerEnvironment:
    """Variables for workers on a cluster.

    Args:
        shown: Set by Ray before a worker starts; its logs and its dashboard show them.
        secrets: Keys and tokens, which travel with the work, and are in no log.
    """

    shown: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def take(cls, environ: Mapping[str, str], home: Path, *, address: str | None) -> "WorkerEnvironment":
        """Those of this process, with the key of Weights & Biases from netrc; none without an address, as Ray's own
        workers inherit all."""
        if address is None:
            return cls()
        found = {name: value for name, value in environ.items() if name.startswith(PREFIXES) or name in NAMES}
        if key := find_wandb_key(environ, home):
            found[WANDB_KEY] = key
        shown = {name: value for name, value in found.items() if not SECRET.search(name)}
        return cls(shown, {name: value for name, value in found.items() if name not in shown})

    @property
    def names(self) -> list[str]:
        """Names of all, sorted."""
        return sorted((*self.shown, *self.secrets))

    def set_secrets(self) -> None:
        """Set the secrets in this process, before anything reads them."""
        os.environ.update(self.secrets)


def find_wandb_key(environ: Mapping[str, str], home: Path) -> str | None:
    """The key that wandb would find here: WANDB_API_KEY, or the one for its server in netrc."""
    if key := environ.get(WANDB_KEY):
        return key
    host = urlparse(environ.get("WANDB_BASE_URL", WANDB_SERVER)).hostname or ""
    files = [Path(environ["NETRC"])] if "NETRC" in environ else [home / ".netrc", home / "_netrc"]
    return next((key for file in files if (key := _read_key(file, host))), None)


def _read_key(file: Path, host: str) -> str | None:
    try:
        found = netrc(str(file)).hosts.get(host)
    except (OSError, NetrcParseError):
        return None
    return found[2] if found else None
