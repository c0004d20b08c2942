"""GR00T's model, processor, datasets and trainer, put together as its run() does, for one worker."""

import json
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from gr00t.configs.base_config import Config
from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
from gr00t.experiment.trainer import Gr00tTrainer
from gr00t.experiment.utils import CheckpointFormatCallback
from gr00t.model import MODEL_REGISTRY
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator
from gr00t.utils.initial_actions import INITIAL_ACTIONS_FILENAME, save_initial_actions
from omegaconf import OmegaConf
from transformers import TrainerCallback, set_seed

from millrace.train.framings import write_framings
from millrace.train.groot.base_processor import strip_statistics
from millrace.train.groot.config import check_gpu, groot_config, take_values, training_arguments
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.groot.modality_configs import register_run_config
from millrace.train.groot.processor import CachingCollator
from millrace.train.settings import FinetuneSettings
from millrace.train.train_progress import Meter, MeterReading
from millrace.train.worker import Worker

SHARDING_SETTINGS = ("video_backend", "shard_size", "episode_sampling_rate", "seed", "allow_padding")
MIXTURE_SETTINGS = (
    *("weights", "processor", "seed", "training"),
    *("num_shards_per_epoch", "override_pretraining_statistics"),
)


def train_groot(worker: Worker) -> None:
    """Finetune GR00T until --max-steps.

    Raises:
        GpuMissing: torch sees no GPU, and --cpu is not given.
        ConfigError: modality config or base model are not what GR00T needs.
        WorldMismatch: the trainer does not see the other workers.
    """
    settings = worker.settings
    check_gpu(settings)
    register_run_config(settings)
    config = groot_config(settings)
    set_seed(config.data.seed)
    config.validate()
    with tempfile.TemporaryDirectory() as scratch:
        # GR00T's pipeline writes here on every rank; only the first one's files are the run's.
        notes = worker.folder / "experiment_cfg" if worker.rank == 0 else Path(scratch)
        notes.mkdir(parents=True, exist_ok=True)
        pipeline = _pipeline(config, settings, notes)
        trainer = _trainer(pipeline, config, worker)
        if worker.rank == 0:
            _write_notes(notes, config, worker)
            _write_processor(pipeline, notes, worker.folder / "processor")
        checkpoint = str(worker.checkpoint) if worker.checkpoint else False
        trainer.train(resume_from_checkpoint=checkpoint)


class MeteredTrainer(Gr00tTrainer):
    """GR00T's trainer, which also measures how long it waits for samples."""

    meter: Meter | None = None

    def get_train_dataloader(self) -> Any:
        """Batches of the size that this run asks for, where transformers resumes with that of the checkpoint."""
        self._train_batch_size = self.args.train_batch_size
        return super().get_train_dataloader()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The next step's batches, as transformers' Trainer asks for them."""
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

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report a step's loss; the last log has none."""
        meter, step = self.trainer.meter, state.global_step
        if meter is not None and logs and "loss" in logs:
            rate, norm = logs.get("learning_rate", 0.0), logs.get("grad_norm")
            self.last = self.worker.log(meter, step=step, loss=logs["loss"], learning_rate=rate, grad_norm=norm)

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Report that this rank has saved."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.worker.save(checkpoint, self._whole_parameters(model), self.last)

    def _whole_parameters(self, model: Any) -> Iterable[torch.Tensor]:
        """Those that every rank has all of: with ZeRO-3 none."""
        settings = self.worker.settings
        is_sharded = settings.uses_deepspeed and settings.deepspeed_stage == 3
        return () if is_sharded else model.parameters()


def _pipeline(config: Config, settings: FinetuneSettings, notes: Path) -> Any:
    kind = MODEL_REGISTRY[type(config.model)]
    pipeline = _with_our_data(kind, settings)(config, notes)
    pipeline.setup()
    return pipeline


def _with_our_data(kind: Any, settings: FinetuneSettings) -> Any:
    """A pipeline of that kind with our loader; its mixture, statistics and processor stay GR00T's."""

    class Pipeline(kind):
        def _create_dataset(self, save_cfg_dir: Path) -> Any:
            with _base_for_processor(settings) as base:
                self.config.training.start_from_checkpoint = base
                mixture, evaluation = super()._create_dataset(save_cfg_dir)
            self.config.training.start_from_checkpoint = settings.base_model_path
            return mixture if settings.stock_loader else _sparse(mixture, self.config, settings), evaluation

        def _create_collator(self) -> Any:
            collator = super()._create_collator()
            is_groots = type(collator) is Gr00tN1d6DataCollator
            return CachingCollator(collator) if is_groots and not settings.stock_loader else collator

    return Pipeline


def _base_for_processor(settings: FinetuneSettings) -> AbstractContextManager[str]:
    if settings.override_pretraining_statistics:
        return strip_statistics(settings.base_model_path, settings.tag)
    return nullcontext(settings.base_model_path)


def _sparse(stock: Any, config: Config, settings: FinetuneSettings) -> Any:
    """The same mixture of the same datasets, read by our loader."""
    if type(stock) is not ShardedMixtureDataset:
        return stock  # a pipeline of the user's, with data of its own
    datasets = [
        SparseShardedDataset(
            dataset_path=dataset.dataset_path,
            embodiment_tag=dataset.embodiment_tag,
            modality_configs=config.data.modality_configs[dataset.embodiment_tag.value],
            **take_values(config.data, SHARDING_SETTINGS),
        )
        for dataset in stock.datasets
    ]
    return ShardedMixtureDataset(datasets=datasets, **take_values(stock, MIXTURE_SETTINGS))


def _trainer(pipeline: Any, config: Config, worker: Worker) -> MeteredTrainer:
    arguments = training_arguments(worker.settings, config)
    worker.check_world(arguments.world_size)
    trainer = MeteredTrainer(
        model=pipeline.return_model(),
        args=arguments,
        train_dataset=pipeline.return_dataset()[0],
        data_collator=pipeline.return_collator(),
        multiprocessing_context=config.data.multiprocessing_context,
    )
    trainer.add_callback(
        CheckpointFormatCallback(
            run_name=worker.folder.name,
            exp_cfg_dir=worker.folder / "experiment_cfg",
            processor_dir=worker.folder / "processor",
        )
    )
    trainer.add_callback(WorkerCallback(worker, trainer))
    return trainer


def _write_notes(notes: Path, config: Config, worker: Worker) -> None:
    """What run() leaves beside the checkpoints, for those who look for it there."""
    config.save(notes / "config.yaml")
    write_framings(notes, worker.settings.datasets)
    values = OmegaConf.create(config.__dict__)
    values["max_steps"], values["save_steps"] = config.training.max_steps, config.training.save_steps
    OmegaConf.save(values, notes / "conf.yaml", resolve=True)
    project = {"project": config.training.wandb_project, "run_id": worker.folder.name}
    (worker.folder / "wandb_config.json").write_text(json.dumps(project), encoding="utf-8")
    if config.training.use_wandb:
        import wandb

        run = {"project": config.training.wandb_project, "name": worker.folder.name, "tags": [config.data.mode]}
        wandb.init(**run, dir=str(worker.folder))


def _write_processor(pipeline: Any, notes: Path, folder: Path) -> None:
    pipeline.return_processor().save_pretrained(folder)
    dataset = pipeline.return_dataset()[0]
    if actions := dataset.get_initial_actions() if hasattr(dataset, "get_initial_actions") else None:
        save_initial_actions(actions, notes / INITIAL_ACTIONS_FILENAME)
