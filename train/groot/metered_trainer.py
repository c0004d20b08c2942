"""GR00T's trainer with a meter and held-out errors, and the callback that reports both to the worker."""

from collections.abc import Iterable
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gr00t.experiment.trainer import Gr00tTrainer
from transformers import TrainerCallback

from millrace.train.errors import WeightsDiverged
from millrace.train.groot.heldout_measure import HeldOutMeasure
from millrace.train.heldout import HeldOut, write_heldout
from millrace.train.image_batch import Finisher, ImageBatch
from millrace.train.run_folder import checkpoint_step, newest_checkpoint
from millrace.train.stopping import StopListener, ignore_interrupts, is_stop_requested
from millrace.train.train_progress import Evaluated, Meter, MeterReading
from millrace.train.worker import Worker, describe_divergence


class MeteredTrainer(Gr00tTrainer):
    """GR00T's trainer, which also finishes images where the model is, and measures how long it waits for samples."""

    meter: Meter | None = None
    measure: HeldOutMeasure | None = None
    heldout: tuple[int, HeldOut] | None = None
    """The step of the last evaluation, and what it found."""
    worker: Worker
    control: Any

    @cached_property
    def finisher(self) -> Finisher:
        """Makes of our collator's images what GR00T's gives."""
        return Finisher(self.args.device)

    def _prepare_input(self, data: Any) -> Any:
        """A batch, or a part of it, as the model takes it; so in training and in evaluation."""
        return super()._prepare_input(self.finisher(data) if isinstance(data, ImageBatch) else data)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The held-out errors, where transformers' Trainer would evaluate; loggers get them as eval_..."""
        assert self.measure is not None, "only a run with --eval-dataset evaluates"
        with nullcontext() if self.meter is None else self.meter.pause():
            found = self.measure(self)
        self.heldout = self.state.global_step, found
        self.worker.append(Evaluated(step=self.state.global_step, heldout=found))
        values = {"loss": found.loss, "open_loop_mse": found.mse, "open_loop_mae": found.mae}
        values["open_loop_range_error"] = found.range_error
        metrics = {f"eval_{name}": value for name, value in values.items() if value is not None}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One pass; a loss that is not finite ends the run at once instead of spoiling the weights.

        Raises:
            WeightsDiverged: it is not finite.
        """
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise WeightsDiverged(describe_divergence(self.state.global_step + 1, loss=loss.item()))
        return loss

    def get_train_dataloader(self) -> Any:
        """Batches of the size that this run asks for, where transformers resumes with that of the checkpoint."""
        self._train_batch_size = self.args.train_batch_size
        loader = super().get_train_dataloader()
        loader.worker_init_fn = ignore_interrupts
        return loader

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The next step's batches; none, and an end with a checkpoint, where loaders were stopped with the run.

        A scheduler may send SIGTERM to all processes. Where there are several workers, Ray's own end as well.
        """
        try:
            return self._measured_batches(*args, **kwargs)
        except RuntimeError:
            if self.args.world_size > 1 or not is_stop_requested(self.worker.folder):
                raise
            newest = newest_checkpoint(self.worker.folder)
            saved = self.worker.first_step if newest is None else checkpoint_step(newest)
            self.control.should_training_stop, self.control.should_save = True, self.state.global_step > saved
            return [], None

    def _measured_batches(self, *args: Any, **kwargs: Any) -> Any:
        if self.meter is None:
            first = super().get_batch_samples(*args, **kwargs)
            # From here on: loader processes take a minute to start, which says nothing of the steps to come.
            self.meter = Meter(self.state.global_step)
            return first
        with self.meter.measure_wait():
            return super().get_batch_samples(*args, **kwargs)


class WorkerCallback(TrainerCallback):
    """Reports to the worker what the trainer logs and saves; added last, as a checkpoint then has all its files."""

    def __init__(self, worker: Worker, trainer: MeteredTrainer) -> None:
        self.worker, self.trainer = worker, trainer
        self.last: MeterReading | None = None
        self.listener: StopListener | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on there is something to save when the run is asked to stop."""
        self.listener = StopListener(self.worker.folder)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop where the run was asked to."""
        steps, step = self.worker.settings.eval_steps, state.global_step
        is_due = control.should_save or (steps is not None and step % steps == 0)
        control.should_evaluate = self.trainer.measure is not None and is_due
        if self.listener is not None and self.listener.must_stop():
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False  # a scheduler does not wait

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report a step's loss; the last log has none."""
        meter, step = self.trainer.meter, state.global_step
        if meter is not None and logs and "loss" in logs:
            rate = logs.get("learning_rate", 0.0)
            loss, norm = logs["loss"], logs.get("grad_norm")
            self.last = self.worker.log(meter, step=step, loss=loss, learning_rate=rate, grad_norm=norm)

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Report that this rank has saved."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        step, found = self.trainer.heldout or (None, None)
        if found is not None and step == state.global_step and self.worker.rank == 0:
            write_heldout(checkpoint, found)
        self.worker.save(checkpoint, self._whole_parameters(model), self.last)

    def _whole_parameters(self, model: Any) -> Iterable[torch.Tensor]:
        """Those that every rank has all of: with ZeRO-3 none."""
        settings = self.worker.settings
        is_sharded = settings.uses_deepspeed and settings.deepspeed_stage == 3
        return () if is_sharded else model.parameters()
