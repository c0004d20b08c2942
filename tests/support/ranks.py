"""Two processes in a gloo group, as the workers of a run are; forked, so that nothing is imported again."""

import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch.distributed as dist

SECONDS = 120


def run_ranks(function: Callable[[int], Any], folder: Path, num_ranks: int = 2) -> list[Any]:
    """What the function returns or raises on each rank."""
    context = get_context("fork")
    ranks = [context.Process(target=_run, args=(function, rank, num_ranks, folder)) for rank in range(num_ranks)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(SECONDS)
        rank.kill()
    return [pickle.loads((folder / f"{number}.result").read_bytes()) for number in range(num_ranks)]


def _run(function: Callable[[int], Any], rank: int, num_ranks: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=num_ranks)
    try:
        result = function(rank)
    except Exception as error:
        result = error
    (folder / f"{rank}.result").write_bytes(pickle.dumps(result))
