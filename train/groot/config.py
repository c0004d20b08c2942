"""Settings to GR00T's Config and transformers' TrainingArguments: the same values that launch_finetune.py sets."""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from gr00t.configs.base_config import Config, get_default_config
from gr00t.model import MODEL_REGISTRY
from transformers import AutoConfig, TrainingArguments

from millrace.embodiments import Remedy
from millrace.train.batch import BatchPlan
from millrace.train.errors import ConfigError, GpuMissing
from millrace.train.finetune_flags import Precision
from millrace.train.groot.adapter import installed_adapter
from millrace.train.groot.signatures import DECODER
from millrace.train.settings import FinetuneSettings

RUNS = "runs"  # TensorBoard's files
# Settings that GR00T's configs of the model, the data and the training have under the same names.
MODEL_SETTINGS = (
    *("tune_llm", "tune_visual", "tune_projector", "tune_diffusion_model"),
    *("state_dropout_prob", "random_rotation_angle", "color_jitter_params"),
)
DATA_SETTINGS = (
    *("shard_size", "episode_sampling_rate", "num_shards_per_epoch", "seed"),
    *("override_pretraining_statistics", "multiprocessing_context"),
)
TRAINING_SETTINGS = (
    *("experiment_name", "global_batch_size", "gradient_accumulation_steps", "dataloader_num_workers"),
    *("learning_rate", "weight_decay", "warmup_ratio", "max_steps", "deepspeed_stage"),
    *("save_steps", "save_total_limit", "logging_steps", "use_wandb", "wandb_project"),
)
# Those that not every build of GR00T has, with the values that leave it as it is.
BUILD_SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"use_percentiles": None, "shortest_image_edge": None, "crop_fraction": None},
    "data": {"ds_weights_alpha": None, "video_backend": DECODER},
    "training": {"skip_weight_loading": False, "save_only_model": False},
}
# What transformers' TrainingArguments take from GR00T's training config as it stands.
TRAINER_ARGUMENTS = (
    *("output_dir", "max_steps", "learning_rate", "lr_scheduler_type", "weight_decay", "warmup_ratio"),
    *("max_grad_norm", "logging_steps", "save_steps", "fp16", "bf16", "tf32", "gradient_checkpointing", "optim"),
    *("dataloader_num_workers", "ddp_bucket_cap_mb", "remove_unused_columns"),
)


def groot_config(settings: FinetuneSettings) -> Config:
    """GR00T's config for a run; the modality config of its tag must be registered.

    Raises:
        ConfigError: the base model is not of a kind that GR00T, or a user's module, has registered.
    """
    config = get_default_config().load_dict({"data": {"download_cache": False, "datasets": _datasets(settings)}})
    config.load_config_path = None
    base = read_model_config(settings.base_model_path)
    config.model = type(base)()
    _set(config.model, model_values(settings, base))
    _set(config.data, take_values(settings, DATA_SETTINGS))
    _set(config.training, training_values(settings))
    for part, unset in BUILD_SETTINGS.items():
        _set(getattr(config, part), build_values(settings, unset, getattr(config, part)))
    return config


def read_model_config(base_model: str) -> Any:
    """The base checkpoint's config, by whose type GR00T chooses model and pipeline.

    Raises:
        ConfigError: it is unknown.
    """
    try:
        found = AutoConfig.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"--base-model-path {base_model}: {reason} (a model type of your own: --import-module FILE.py)"
        ) from error
    if type(found) not in MODEL_REGISTRY:
        known = ", ".join(kind.__name__ for kind in MODEL_REGISTRY)
        raise ConfigError(f"--base-model-path {base_model}: GR00T trains no {type(found).__name__}. Known: {known}")
    return found


def check_gpu(settings: FinetuneSettings) -> None:
    """Check that this process has a GPU, unless it is to train on a CPU: it would do so without a word, for weeks.

    Raises:
        GpuMissing: torch sees none.
    """
    if not settings.cpu and not torch.cuda.is_available():
        raise GpuMissing(
            f"torch {torch.__version__} sees no GPU on {socket.gethostname()}. ", Remedy("To train on a CPU pass --cpu")
        )


def take_device(settings: FinetuneSettings) -> torch.device:
    """The device of this process, as accelerate will choose it; a GPU is its current one from here on."""
    if settings.cpu:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


class WorkerArguments(TrainingArguments):
    """TrainingArguments of a process that trains on one GPU at most."""

    @property
    def n_gpu(self) -> int:
        """0 or 1. Transformers gives a process without a group all GPUs that it sees, and each of them a batch."""
        visible: int = super().n_gpu
        return min(visible, 1)


def training_arguments(settings: FinetuneSettings, config: Config) -> WorkerArguments:
    """What transformers' Trainer is told, as in gr00t/experiment/experiment.py but for what is said here."""
    plan, on_cpu, training = BatchPlan.of(settings), settings.cpu, config.training
    loggers = {"wandb": settings.use_wandb, "tensorboard": settings.tensorboard}
    return WorkerArguments(
        **take_values(training, TRAINER_ARGUMENTS),
        # N1.6 leaves accumulation out of this division: its batches are larger than its flag says.
        per_device_train_batch_size=plan.per_device,
        gradient_accumulation_steps=plan.accumulation,
        logging_dir=str(Path(training.output_dir) / RUNS),
        # Deleting is left to millrace.train.run_folder, which first makes sure that the newest is complete.
        save_total_limit=None,
        report_to=[name for name, is_on in loggers.items() if is_on] or "none",
        run_name=settings.run_folder.name,
        seed=config.data.seed,
        deepspeed=config.get_deepspeed_config() if settings.uses_deepspeed else None,
        # N1.6 says False, where DDP stops: vision encoder and language model have heads that nothing uses.
        ddp_find_unused_parameters=settings.tune_visual or settings.tune_llm,
        # Else transformers puts the average in the place of a loss that is NaN.
        logging_nan_inf_filter=False,
        eval_strategy="no",  # millrace.train.groot.heldout_measure evaluates
        ignore_data_skip=True,
        disable_tqdm=True,
        # Else accelerate overlooks a gloo process group, and every worker trains a model of its own.
        use_cpu=on_cpu,
    )


def _datasets(settings: FinetuneSettings) -> list[dict[str, Any]]:
    """Datasets of one entry share it by their lengths; with --mix each has an entry."""
    paths, shares = [str(settings.groot_path(dataset)) for dataset in settings.datasets], settings.shares
    if not shares:
        return [{"dataset_paths": paths, "mix_ratio": 1.0, "embodiment_tag": settings.parts[0].tag}]
    tags = {path: part.tag for part in settings.parts for path in part.datasets}
    return [
        {"dataset_paths": [str(settings.groot_path(path))], "mix_ratio": share, "embodiment_tag": tags[path]}
        for path, share in zip(settings.datasets, shares, strict=True)
    ]


def model_values(settings: FinetuneSettings, base: Any) -> dict[str, Any]:
    """Values of the model's config: those of flags, and the launcher's own.

    Args:
        settings: Of the run.
        base: The base checkpoint's config.
    """
    augmentation = settings.extra_augmentation_config
    return {
        **installed_adapter().launcher_values(base),
        **take_values(settings, MODEL_SETTINGS),
        "extra_augmentation_config": json.loads(augmentation) if augmentation else None,
    }


def build_values(settings: FinetuneSettings, unset: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """Values for a part of the config, of settings that not every build of GR00T has.

    Args:
        settings: Of the run.
        unset: Names of settings, and the values that leave GR00T as it is.
        target: The part.

    Raises:
        ConfigError: the build has no such setting, which would be ignored without a word.
    """
    chosen = {name: getattr(settings, name) for name, value in unset.items() if getattr(settings, name) != value}
    lacking = [name for name in chosen if not hasattr(target, name)]
    # Of checkpoints without optimizers millrace.train.run_folder makes sure, whatever GR00T can.
    if strange := [name for name in lacking if name != "save_only_model"]:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in strange)
        raise ConfigError(f"the installed build of GR00T {settings.release.name} has no {flags}")
    values = {name: value for name, value in chosen.items() if name not in lacking}
    if "shortest_image_edge" in values:  # instead of GR00T's default, a square
        values |= {"image_crop_size": None, "image_target_size": None}
    return values


def check_processor(settings: FinetuneSettings, processor: Any) -> None:
    """Check that a processor works as the settings ask: early builds of N1.7 keep what the base model's has.

    Raises:
        ConfigError: it does not.
    """
    for name in BUILD_SETTINGS["model"]:
        asked, found = getattr(settings, name), getattr(processor, name, None)
        if asked is not None and found != asked:
            flag = f"--{name.replace('_', '-')} {asked}"
            raise ConfigError(f"{flag}: the installed build of GR00T keeps the base model's, {found}")


def training_values(settings: FinetuneSettings) -> dict[str, Any]:
    """Values of the training config."""
    precision = _precision(settings)
    return take_values(settings, TRAINING_SETTINGS) | {
        "start_from_checkpoint": settings.base_model_path,
        "optim": "adamw_torch",
        "output_dir": str(settings.run_folder),
        "num_gpus": settings.num_workers,  # GR00T means the world's size
        "use_ddp": not settings.uses_deepspeed,
        "bf16": precision == "bf16",
        "tf32": precision in ("bf16", "tf32"),
    }


def _precision(settings: FinetuneSettings) -> Precision:
    return settings.precision or ("fp32" if settings.cpu else "bf16")


def take_values(source: Any, names: Iterable[str]) -> dict[str, Any]:
    """The values of some attributes, by name."""
    return {name: getattr(source, name) for name in names}


def _set(target: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(target, name, value)
