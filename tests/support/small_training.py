"""A small torch model trained through the product's own workers; Ray's processes import it by name."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset

from millrace.train.stopping import StopListener
from millrace.train.train_progress import Meter
from millrace.train.training_dataset import TrainingDataError
from millrace.train.worker import Worker

SECONDS_A_STEP = 0.2  # long enough that a test can end a process between two checkpoints


def train_small(worker: Worker) -> None:
    """Workers share gradients by DDP, as GR00T's do."""
    worker.check_world(dist.get_world_size() if dist.is_initialized() else 1)
    train_with(worker, torch.nn.parallel.DistributedDataParallel if dist.is_initialized() else torch.nn.Sequential)


def train_apart(worker: Worker) -> None:
    """Each worker trains a model of its own, as GR00T's do where accelerate overlooks the process group."""
    train_with(worker, torch.nn.Sequential)


def train_noting_environment(worker: Worker) -> None:
    """As `train_small`; each rank first writes its environment into the run's folder."""
    (worker.folder / f"environment-{worker.rank}.json").write_text(json.dumps(dict(os.environ)))
    train_small(worker)


class Holder:
    """An actor of Ray that keeps its core."""

    def hold(self) -> None:
        """Returns once the actor has it."""


class Frames(IterableDataset):  # type: ignore[type-arg]
    """Frames of a video, of which the third is missing."""

    def __init__(self, video: Path) -> None:
        self.video = video

    def __iter__(self) -> Iterator[int]:
        yield from (0, 1)
        try:
            self.video.read_bytes()
        except OSError as error:
            raise TrainingDataError(f"{self.video.parent}, episode 3: camera top: {self.video} is gone") from error


def train_from_loader(worker: Worker) -> None:
    """Rank 0 is fed by a loader process of its own, which fails; rank 1 waits for it."""
    if worker.rank == 0:
        for _ in DataLoader(
            Frames(worker.folder / "episode_000003.mp4"), num_workers=1, multiprocessing_context="forkserver"
        ):
            pass
    dist.barrier()


def train_with(worker: Worker, wrap: Callable[[torch.nn.Module], torch.nn.Module]) -> None:
    torch.manual_seed(worker.settings.seed)
    model = torch.nn.Linear(4, 1)
    if worker.checkpoint:
        model.load_state_dict(torch.load(worker.checkpoint / "model.pt"))
    shared, meter, listener = wrap(model), Meter(worker.first_step), StopListener(worker.folder)
    for step in range(worker.first_step + 1, worker.settings.max_steps + 1):
        with meter.measure_wait():
            time.sleep(SECONDS_A_STEP)
            samples = torch.randn(8, 4, generator=torch.Generator().manual_seed(100 * step + worker.rank))
        shared.zero_grad()
        loss = (shared(samples) - samples.sum(1, keepdim=True)).square().mean()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= worker.settings.learning_rate * parameter.grad
        last = worker.log(meter, step=step, loss=loss.item(), learning_rate=worker.settings.learning_rate)
        must_stop = listener.must_stop()
        if must_stop or step % worker.settings.save_steps == 0:
            worker.save(saved(worker, step, model), model.parameters(), last)
        if must_stop:
            return


def saved(worker: Worker, step: int, model: torch.nn.Module) -> Path:
    checkpoint = worker.folder / f"checkpoint-{step}"
    if worker.rank == 0:
        checkpoint.mkdir(exist_ok=True)
        torch.save(model.state_dict(), checkpoint / "model.pt")
    return checkpoint
