"""Train through Ray Train, which starts, watches and restarts workers; or in this process."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.train.v2.api.report_config import CheckpointUploadMode
from rich.console import Console
from rich.markup import escape

from millrace.embodiments import Remedy
from millrace.engine.execution.capacity import usable_cores
from millrace.engine.execution.waiting import report_waiting
from millrace.train.environment import WorkerEnvironment
from millrace.train.errors import SettingsError, TrainError, TrainingFailed, TrainingStopped
from millrace.train.failures import describe_failure, explain_failures, join_failures
from millrace.train.loss_plot import draw_losses
from millrace.train.progress_display import show_events, show_line
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
from millrace.train.stored_datasets import fetch_on_node
from millrace.train.train_progress import (
    Failed,
    Waiting,
    WorkerFailure,
    append_event,
    last_start,
)
from millrace.train.worker import LOGS, Worker, redirect_output
from millrace.train.worker_session import worker_session

SAME_COMMAND = Remedy("The same command resumes")

# What each worker runs; a function that its process can import.
Training = Callable[[Worker], None]
# What is done before; takes what shows a line to the user, and returns the settings that workers get.
Prepare = Callable[[FinetuneSettings, Callable[[str], None]], FinetuneSettings]

ENVIRONMENT = {
    # Importing torch, transformers and GR00T takes a worker a minute on slow disks; Ray's default is 60.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "900",
    # Printed lines go where `redirect_output` puts them, not into Ray's logs.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


def finetune(
    settings: FinetuneSettings,
    identity: RunIdentity,
    training: Training,
    console: Console,
    *,
    prepare: Prepare = lambda settings, tell: settings,
) -> Path:
    """Train until --max-steps, from the newest complete checkpoint of the run's folder.

    Args:
        settings: All paths absolute: workers have working directories of their own.
        identity: What is trained on what; it must be that of the run's folder.
        training: What each worker does.
        console: Where progress is shown.
        prepare: What is done before workers start, while no other run may write to the folder.

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
            _train(prepare(settings, partial(show_line, console)), training, console)
        last = newest_checkpoint(folder)
        if settings.save_only_model and last is not None and checkpoint_step(last) >= settings.max_steps:
            for note in keep_weights_only(last):
                show_line(console, f"note: {note}")
    _check_stopped(folder, last, settings.max_steps)
    if last is None:
        raise TrainingFailed(f"training ended without a complete checkpoint; see {folder / LOGS}")
    return last


def _train(settings: FinetuneSettings, training: Training, console: Console) -> None:
    shown = show_events(settings.run_folder, console, _loaders(settings))
    with shown, stop_on_signals(settings.run_folder, partial(show_line, console)):
        train = _train_here if settings.in_process else _train_on_ray
        train(settings, training)
    _tell_summary(settings, console)


def _check_resumable(newest: Path | None) -> None:
    if newest is not None and is_weights_only(newest):
        raise SettingsError(
            f"{newest} has weights alone (--save-only-model), so no run can resume from it. ",
            Remedy(f"To train on from these weights pass --base-model-path {newest} and another --output-dir"),
            file=newest,
        )


def _loaders(settings: FinetuneSettings) -> Loaders:
    cores = max(usable_cores() // settings.num_workers, 1)
    return Loaders(settings.dataloader_num_workers, None if settings.address else cores)


def _tell_summary(settings: FinetuneSettings, console: Console) -> None:
    folder = settings.run_folder
    for line in summarize_run(folder, _loaders(settings)):
        show_line(console, line)
    try:
        plot = draw_losses(folder)
    except Exception as error:  # of many types: matplotlib may be broken, and the run has ended well
        show_line(console, f"warning: losses are not plotted: {describe_failure(error)}")
    else:
        if plot is not None:
            show_line(console, f"losses: {plot}")


def _check_stopped(folder: Path, last: Path | None, max_steps: int) -> None:
    if last is None or checkpoint_step(last) >= max_steps or not is_stop_requested(folder):
        return
    step = f"stopped at step {checkpoint_step(last)} of {max_steps}"
    advice = Remedy("the same command resumes from it")
    raise TrainingStopped(f"{step}: {last} is complete, and ", advice, file=last)


def _train_here(settings: FinetuneSettings, training: Training) -> None:
    folder = settings.run_folder
    log = folder / LOGS / "rank-0.log"
    try:
        with redirect_output(log), explain_failures():
            training(Worker.join(settings, folder, lambda metrics, checkpoint: None))
    except TrainingFailed as error:
        raise TrainingFailed(error, f" (all of it in {log}). ", SAME_COMMAND, file=log) from error


def _train_on_ray(settings: FinetuneSettings, training: Training) -> None:
    session = worker_session(
        settings.num_gpus, address=settings.address, use_gpu=not settings.cpu, environment=ENVIRONMENT
    )
    environment = WorkerEnvironment.take(os.environ, Path.home(), address=settings.address)
    # Ray's own notices too would break into the progress bar. The pool ends after the session, which ends fit().
    with redirect_output(settings.run_folder / LOGS / "ray.log"), ThreadPoolExecutor(1) as pool, session:
        trainer = TorchTrainer(
            _train_in_worker,
            train_loop_config={"settings": settings, "training": training, "environment": environment},
            torch_config=TorchConfig(backend="gloo" if settings.cpu else None),
            scaling_config=ScalingConfig(num_workers=settings.num_gpus, use_gpu=not settings.cpu),
            run_config=RunConfig(
                name=settings.run_folder.name,
                storage_path=str(settings.run_folder.parent),
                failure_config=FailureConfig(settings.max_failures, controller_failure_limit=settings.max_failures),
                callbacks=[FailureLog(settings.run_folder, settings.max_failures)],
                worker_runtime_env={"env_vars": dict(environment.shown)},
            ),
        )

        def say_waiting(what: str) -> None:
            append_event(settings.run_folder, Waiting(step=0, what=what))

        try:
            with report_waiting(say_waiting):
                pool.submit(trainer.fit).result()  # in the main thread Ray takes Ctrl-C for itself and ends the process
        except TrainingFailedError as error:
            raise _told(error, settings.run_folder) from error


def _train_in_worker(config: dict[str, Any]) -> None:
    settings: FinetuneSettings = config["settings"]
    config["environment"].set_secrets()
    rank = ray.train.get_context().get_world_rank()
    with redirect_output(settings.run_folder / LOGS / f"rank-{rank}.log"), explain_failures():
        fetch_on_node(settings.stored)
        config["training"](Worker.join(settings, settings.run_folder, _report))


class FailureLog(UserCallback):  # type: ignore[misc]  # Ray is untyped
    """Appends to the run's log why workers failed; called by Ray Train's controller, in a process of its own."""

    def __init__(self, folder: Path, max_restarts: int) -> None:
        self._folder, self._max_restarts, self._num_failures = folder, max_restarts, 0

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Log the errors of workers, by rank."""
        self._num_failures += 1
        with suppress(OSError):  # what the controller raises would hide the failure
            append_event(self._folder, self._describe(worker_exceptions))

    def _describe(self, worker_exceptions: Mapping[int, Exception]) -> Failed:
        newest, start = newest_checkpoint(self._folder), last_start(self._folder)
        hosts = {} if start is None else {worker.rank: worker.host for worker in start.workers}
        return Failed(
            step=checkpoint_step(newest) if newest else 0,
            failures=tuple(
                WorkerFailure(rank=rank, host=hosts.get(rank), message=describe_failure(error))
                for rank, error in sorted(worker_exceptions.items())
            ),
            restart=self._num_failures,
            max_restarts=self._max_restarts,
        )


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
    failures = sorted(error.worker_failures.items())
    lines = join_failures({str(rank): describe_failure(failure) for rank, failure in failures})
    return TrainingFailed(f"{lines} (all of it in {folder / LOGS}). ", SAME_COMMAND, file=folder / LOGS)
