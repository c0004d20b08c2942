"""GR00T's model, processor, datasets and trainer, put together as its run() does, for one worker."""

import copy
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from gr00t.configs.base_config import Config
from gr00t.data.dataset import factory
from gr00t.experiment.utils import CheckpointFormatCallback
from gr00t.model import MODEL_REGISTRY
from gr00t.utils.initial_actions import INITIAL_ACTIONS_FILENAME, save_initial_actions
from omegaconf import OmegaConf
from transformers import set_seed

from millrace.train.batch_trial import BatchTrial, choose_batch, find_costliest
from millrace.train.control_notes import write_control
from millrace.train.framings import write_framings
from millrace.train.groot.adapter import installed_adapter
from millrace.train.groot.base_processor import strip_statistics
from millrace.train.groot.config import check_gpu, check_processor, groot_config, take_device, training_arguments
from millrace.train.groot.heldout_measure import HeldOutMeasure, fixed_random_state
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.groot.metered_trainer import MeteredTrainer, WorkerCallback
from millrace.train.groot.modality_configs import register_run_configs
from millrace.train.settings import FinetuneSettings
from millrace.train.wandb_run import wandb_run
from millrace.train.worker import Worker


def train_groot(worker: Worker) -> None:
    """Finetune GR00T until --max-steps.

    Raises:
        GpuMissing: torch sees no GPU, and --cpu is not given.
        ConfigError: modality config or base model are not what GR00T needs.
        WorldMismatch: the trainer does not see the other workers.
    """
    settings = worker.settings
    check_gpu(settings)
    register_run_configs(settings)
    config = groot_config(settings)
    set_seed(config.data.seed)
    config.validate()
    with tempfile.TemporaryDirectory() as scratch:
        # GR00T's pipeline writes here on every rank; only the first one's files are the run's.
        notes = worker.folder / "experiment_cfg" if worker.rank == 0 else Path(scratch)
        notes.mkdir(parents=True, exist_ok=True)
        pipeline = _pipeline(config, settings, notes)
        if settings.batch == "auto":
            worker = _divide_batch(pipeline, config, worker)
        trainer = _trainer(pipeline, config, worker)
        if worker.rank == 0:
            _write_notes(notes, config, worker)
            _write_processor(pipeline, notes, worker.folder / "processor")
        checkpoint = str(worker.checkpoint) if worker.checkpoint else False
        with wandb_run(worker, _launcher_config(config), tags=(config.data.mode,)):
            trainer.train(resume_from_checkpoint=checkpoint)


def _pipeline(config: Config, settings: FinetuneSettings, notes: Path) -> Any:
    kind = MODEL_REGISTRY[type(config.model)]
    pipeline = _with_our_data(kind, settings)(config, notes)
    pipeline.setup()
    check_processor(settings, pipeline.return_processor())
    return pipeline


def _divide_batch(pipeline: Any, config: Config, worker: Worker) -> Worker:
    """The worker with the batch divided by a trial, of the costliest sample in each dataset's first shard."""
    device = take_device(worker.settings)
    with fixed_random_state():
        samples = [_costliest_sample(dataset) for dataset in pipeline.return_dataset()[0].datasets]
        trial = BatchTrial(
            pipeline.return_model(),
            find_costliest(samples),
            copy.deepcopy(pipeline.return_collator()),
            device=device,
            settings=worker.settings,
            has_bf16=config.training.bf16,
        )
        chosen = choose_batch(worker, trial.fits)
    config.training.gradient_accumulation_steps = chosen.settings.gradient_accumulation_steps
    return chosen


def _costliest_sample(dataset: Any) -> Any:
    """That of the first shard, read by a copy: what is kept for the next steps would go to each loader process."""
    reader = copy.copy(dataset)
    reader.set_processor(dataset.processor)
    return find_costliest(reader.get_shard(0))


def _with_our_data(kind: Any, settings: FinetuneSettings) -> Any:
    """A pipeline of that kind with our loader; its mixture, statistics and processor stay GR00T's."""

    class Pipeline(kind):
        def _create_dataset(self, save_cfg_dir: Path) -> Any:
            with _base_for_processor(settings) as base, _datasets_of(settings):
                self.config.training.start_from_checkpoint = base
                created = super()._create_dataset(save_cfg_dir)
            self.config.training.start_from_checkpoint = settings.base_model_path
            return created

        def _create_collator(self) -> Any:
            collator = super()._create_collator()
            return collator if settings.stock_loader else installed_adapter().wrap_collator(collator)

    return Pipeline


def _base_for_processor(settings: FinetuneSettings) -> AbstractContextManager[str]:
    if settings.override_pretraining_statistics:
        return strip_statistics(settings.base_model_path, [part.tag for part in settings.parts])
    return nullcontext(settings.base_model_path)


@contextmanager
def _datasets_of(settings: FinetuneSettings) -> Iterator[None]:
    """Let GR00T's factory make our datasets, unless its own are asked for: it takes no class to make.

    Replacing its datasets afterwards would deal all steps into shards twice.
    """
    stock = factory.ShardedSingleStepDataset
    factory.ShardedSingleStepDataset = stock if settings.stock_loader else SparseShardedDataset
    try:
        yield
    finally:
        factory.ShardedSingleStepDataset = stock


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
    trainer.worker = worker
    if worker.settings.eval_dataset is not None:
        trainer.measure = HeldOutMeasure(worker, config, pipeline.return_processor())
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
    write_control(notes, {path: part.tag for part in worker.settings.parts for path in part.datasets})
    values = OmegaConf.create(config.__dict__)
    values["max_steps"], values["save_steps"] = config.training.max_steps, config.training.save_steps
    OmegaConf.save(values, notes / "conf.yaml", resolve=True)


def _launcher_config(config: Config) -> dict[str, Any]:
    """What GR00T's launcher gives its W&B run as config."""
    return {**config.__dict__, "git_commit_hash": os.environ.get("GROOT_COMMIT_HASH", "unknown")}


def _write_processor(pipeline: Any, notes: Path, folder: Path) -> None:
    pipeline.return_processor().save_pretrained(folder)
    dataset = pipeline.return_dataset()[0]
    if actions := dataset.get_initial_actions() if hasattr(dataset, "get_initial_actions") else None:
        save_initial_actions(actions, notes / INITIAL_ACTIONS_FILENAME)
