"""GR00T's own policy, from a checkpoint or in a running server, as `Policy`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ModalityConfig
from gr00t.policy import Gr00tPolicy
from numpy.typing import NDArray

from millrace.engine.dataset.modality_config import GrootConfig, GrootModality
from millrace.train.episodes import Observations
from millrace.train.errors import ConfigError, GpuMissing
from millrace.train.groot.signatures import decode_as_trained

BATCH_SIZE = 8


class CheckpointPolicy:
    """A checkpoint's model, processor, modality config and statistics, loaded as GR00T's server loads them.

    Raises:
        ConfigError: it cannot be loaded.
    """

    batch_size = BATCH_SIZE
    read_frames = staticmethod(decode_as_trained)

    def __init__(self, name: str, tag: str, *, cpu: bool) -> None:
        self.name = name
        self._policy = load_policy(name, tag, device="cpu" if cpu else "cuda")
        self.config = policy_config(self._policy.get_modality_config())

    def act(self, observations: Observations, *, seed: int) -> Mapping[str, NDArray[np.float32]]:
        """Action chunks, in the units of the data."""
        torch.manual_seed(seed)
        actions, _ = self._policy.get_action(nest_observations(observations, self.config))
        return dict(actions)


def load_policy(name: str, tag: str, *, device: str, strict: bool = True) -> Gr00tPolicy:
    """GR00T's policy of a checkpoint, in bfloat16 as GR00T has it.

    Args:
        name: A folder, or a name on the Hugging Face Hub.
        tag: The value of an EmbodimentTag.
        device: Such as "cuda", "cuda:1" or "cpu".
        strict: Check observations and actions.

    Raises:
        ConfigError: the model is of an unknown type, or something that it needs is missing.
        GpuMissing: there is no such GPU.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise GpuMissing(
            f"torch {torch.__version__} sees no GPU here, for {device}. For a small model: evaluate --cpu, or serve "
            "--device cpu"
        )
    try:
        return Gr00tPolicy(EmbodimentTag(tag), name, device=device, strict=strict)
    except (AssertionError, ImportError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{name} cannot be loaded: {reason} (a model type of your own: --import-module FILE.py)"
        ) from error


def policy_config(config: Mapping[str, ModalityConfig]) -> GrootConfig:
    """GR00T's modality config as a `GrootConfig`."""
    return GrootConfig(
        {name: GrootModality(tuple(entry.modality_keys), tuple(entry.delta_indices)) for name, entry in config.items()}
    )


def nest_observations(observations: Observations, config: GrootConfig) -> dict[str, Any]:
    """Observations as Gr00tPolicy takes them; each text is a list, of one step."""
    language, *_ = config.keys("language")  # N1.7 has several of some robots, for training, and acts by the first
    return {
        "video": dict(observations.images),
        "state": dict(observations.states),
        "language": {language: [[text] for text in observations.texts]},
    }
