"""A synthetic dataset whose states follow its actions, or go before them, by some frames."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from conftest import data_path
from support.still_stretches import with_vectors
from support.synthetic import rewrite_parquet, write_dataset


def write_lagging(root: Path, *, lag: int | None, lengths: tuple[int, ...] = (80, 70)) -> None:
    """Smooth movements in all joints; a row's state is the action of `lag` rows before it, or unrelated."""
    write_dataset(root, lengths=lengths)
    for episode, length in enumerate(lengths):
        random = np.random.default_rng(episode)
        frames = np.arange(-40, length + 40)[:, np.newaxis]
        hz, phase = random.uniform(0.5, 2, (1, 14)), random.uniform(0, 6, (1, 14))
        path = (0.5 + 0.4 * np.sin(2 * np.pi * hz * frames / 50 + phase)).astype(np.float32)
        action = path[40 : 40 + length]
        unrelated = random.uniform(0, 1, action.shape).astype(np.float32)
        state = unrelated if lag is None else path[40 - lag : 40 - lag + length]

        def change(table: pa.Table, state: np.ndarray = state, action: np.ndarray = action) -> pa.Table:
            return with_vectors(table, state, action)

        rewrite_parquet(data_path(root, episode), change)
