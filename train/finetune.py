"""Train through Ray Train, which starts, watches and restarts workers; or in this process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.train.v2.api.report_config import CheckpointUploadMode
from rich.console import Console
from rich.markup import escape

from millrace.embodiments import MillraceError
from millrace.engine.execution.capacity import usable_cores
from millrace.train.errors import SettingsError, TrainError, TrainingFailed, TrainingStopped
from millrace.train.loss_plot import draw_losses
from millrace.train.run_folder import (
    checkpoint_step,
    claim_run_folder,
    is_weights_only,
    keep_weights_only,
    newest_checkpoint,
)
from millrace.train.run_identity import RunIdentity
from millrace.train.run_summary import Loaders, summarize_run
from millrace.train.settings import FinetuneSettings
from millrace.train.stopping import is_stop_requested, stop_on_signals
from millrace.train.train_progress import show_events, show_line
from millrace.train.worker import LOGS, Worker, redirect_output
from millrace.train.worker_session import worker_session

# What each worker runs; a function that its process can import.
Training = Callable[[Worker], None]

ENVIRONMENT = {
    # Importing torch, transformers and GR00T takes a worker a minute on slow disks; Ray's default is 60.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "900",
    # Printed lines go where `redirect_output` puts them, not into Ray's logs.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


def finetune(settings: FinetuneSettings, identity: RunIdentity, training: Training, console: Console) -> Path:
    """Train until --max-steps, from the newest complete checkpoint of the run's folder.

    Args:
        settings: All paths absolute: workers have working directories of their own.
        identity: What is trained on what; it must be that of the run's folder.
        training: What each worker does.
        console: Where progress is shown.

    Returns:
        The last checkpoint.

    Raises:
        OtherRun: the folder was created with another identity.
        SettingsError: its newest checkpoint has weights alone, and steps are left.
        GpuMissing: there are fewer GPUs than --num-gpus.
        TrainingFailed: a worker failed once more than --max-failures.
        TrainingStopped: SIGINT or SIGTERM came; the checkpoint that was then saved is complete.
    """
    folder = settings.run_folder
    with claim_run_folder(folder, identity, overwrite=settings.overwrite) as notes:
        for note in notes:
            console.print(escape(f"warning: {note}"), soft_wrap=True, highlight=False)
        newest = newest_checkpoint(folder)
        if newest is None or checkpoint_step(newest) < settings.max_steps:
            _check_resumable(newest)
            with show_events(folder, console), stop_on_signals(folder, partial(show_line, console)):
                train = _train_here if settings.in_process else _train_on_ray
                train(settings, training)
            _tell_summary(settings, console)
        last = newest_checkpoint(folder)
        if settings.save_only_model and last is not None and checkpoint_step(last) >= settings.max_steps:
            keep_weights_only(last)
    _check_stopped(folder, last, settings.max_steps)
    if last is None:
        raise TrainingFailed(f"training ended without a complete checkpoint; see {folder / LOGS}")
    return last


def _check_resumable(newest: Path | None) -> None:
    if newest is not None and is_weights_only(newest):
        raise SettingsError(
            f"{newest} has weights alone (--save-only-model), so no run can resume from it. To train on from these "
            f"weights pass --base-model-path {newest} and another --output-dir"
        )


def _tell_summary(settings: FinetuneSettings, console: Console) -> None:
    folder, cores = settings.run_folder, usable_cores() // settings.num_workers
    loaders = Loaders(settings.dataloader_num_workers, None if settings.address else max(cores, 1))
    for line in summarize_run(folder, loaders):
        show_line(console, line)
    if (plot := draw_losses(folder)) is not None:
        show_line(console, f"losses: {plot}")


def _check_stopped(folder: Path, last: Path | None, max_steps: int) -> None:
    if last is None or checkpoint_step(last) >= max_steps or not is_stop_requested(folder):
        return
    step = f"stopped at step {checkpoint_step(last)} of {max_steps}"
    raise TrainingStopped(f"{step}: {last} is complete, and the same command resumes from it")


def _train_here(settings: FinetuneSettings, training: Training) -> None:
    folder = settings.run_folder
    with redirect_output(folder / LOGS / "rank-0.log"):
        training(Worker.join(settings, folder, lambda metrics, checkpoint: None))


def _train_on_ray(settings: FinetuneSettings, training: Training) -> None:
    session = worker_session(
        settings.num_gpus, address=settings.address, use_gpu=not settings.cpu, environment=ENVIRONMENT
    )
    # Ray's own notices too would break into the progress bar. The pool ends after the session, which ends fit().
    with redirect_output(settings.run_folder / LOGS / "ray.log"), ThreadPoolExecutor(1) as pool, session:
        trainer = TorchTrainer(
            _train_in_worker,
            train_loop_config={"settings": settings, "training": training},
            torch_config=TorchConfig(backend="gloo" if settings.cpu else None),
            scaling_config=ScalingConfig(num_workers=settings.num_gpus, use_gpu=not settings.cpu),
            run_config=RunConfig(
                name=settings.run_folder.name,
                storage_path=str(settings.run_folder.parent),
                failure_config=FailureConfig(settings.max_failures, controller_failure_limit=settings.max_failures),
            ),
        )
        try:
            pool.submit(trainer.fit).result()  # in the main thread Ray takes Ctrl-C for itself and ends the process
        except TrainingFailedError as error:
            raise _told(error, settings.run_folder) from error


def _train_in_worker(config: dict[str, Any]) -> None:
    settings: FinetuneSettings = config["settings"]
    rank = ray.train.get_context().get_world_rank()
    with redirect_output(settings.run_folder / LOGS / f"rank-{rank}.log"):
        config["training"](Worker.join(settings, settings.run_folder, _report))


def _report(metrics: dict[str, Any], checkpoint: Path | None) -> None:
    """To Ray, which waits until all workers have; a checkpoint stays where it is."""
    ray.train.report(
        metrics,
        checkpoint=Checkpoint.from_directory(checkpoint) if checkpoint else None,
        checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,
    )


def _told(error: TrainingFailedError, folder: Path) -> TrainError:
    """Ray's account of a failure: what the workers said, each thing once."""
    if not isinstance(error, WorkerGroupError):
        return TrainingFailed(f"Ray Train failed: {str(error).strip().splitlines()[-1]}")
    said: dict[str, list[str]] = {}
    for rank, failure in sorted(error.worker_failures.items()):
        first = (str(failure).strip() or "no message").splitlines()[0]
        text = first if isinstance(failure, MillraceError) else f"{type(failure).__name__}: {first}"
        said.setdefault(text, []).append(str(rank))
    lines = "; ".join(f"worker {', '.join(ranks)}: {text}" for text, ranks in said.items())
    return TrainingFailed(f"{lines} (all of it in {folder / LOGS}). The same command resumes")
