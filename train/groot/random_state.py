"""The random numbers that are drawn next, of every generator that GR00T uses."""

import random
from typing import Any

import numpy as np
import torch

RandomState = tuple[Any, Any, torch.Tensor]


def random_state() -> RandomState:
    """The state of Python's, numpy's and torch's generator."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_state(state: RandomState) -> None:
    """Draw from here on what is drawn from this state on."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


def is_random_state(state: RandomState) -> bool:
    """Whether the same numbers are drawn next as from this state on."""
    return _plain(random_state()) == _plain(state)


def _plain(state: RandomState) -> tuple[Any, ...]:
    python, (name, keys, *rest), torchs = state
    return python, name, keys.tobytes(), rest, torchs.numpy().tobytes()
