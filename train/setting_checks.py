"""Checks of a finetune run's settings that need nothing but these."""

import json
from typing import TYPE_CHECKING

from millrace.embodiments import Message, Setting
from millrace.train.errors import SettingsError
from millrace.train.mixture import check_tags, check_weights
from millrace.train.release_settings import check_release_settings

if TYPE_CHECKING:
    from millrace.train.settings import FinetuneSettings

# Smallest value of each flag that counts something.
LEAST = {
    "global_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "dataloader_num_workers": 0,
    "max_steps": 1,
    "save_steps": 1,
    "save_total_limit": 1,
    "logging_steps": 1,
    "shard_size": 1,
    "num_shards_per_epoch": 1,
    "num_gpus": 0,
    "max_failures": 0,
    "eval_samples": 1,
    "eval_episodes": 0,
}


def check_settings(settings: "FinetuneSettings") -> None:
    """Check that no flag contradicts another, and that each value means something.

    Raises:
        SettingsError: one does; the first of them.
    """
    _check_mix(settings)
    _check_ranges(settings)
    _check_batch(settings)
    check_release_settings(settings)
    _check_augmentation(settings)
    _check_evaluation(settings)
    _check_device(settings)


def _check_device(settings: "FinetuneSettings") -> None:
    if settings.address and settings.in_process:
        needed = Setting("num_gpus", 1)
        raise SettingsError(
            Message(Setting("address", settings.address), " needs ", needed, " or more: 0 trains in this process")
        )
    if settings.cpu and settings.precision not in (None, "fp32"):
        precision = Setting("precision", settings.precision)
        raise SettingsError(Message(precision, " needs GPUs; with ", Setting("cpu", True), " only fp32 is trained"))


def _check_mix(settings: "FinetuneSettings") -> None:
    shares = Setting("mix", list(settings.mix))
    if settings.mix and len(settings.mix) != len(settings.datasets):
        raise SettingsError(Message(shares, f": {len(settings.mix)} shares for {len(settings.datasets)} datasets"))
    if any(not 0 < share < float("inf") for share in settings.mix):
        raise SettingsError(Message(shares, ": each share must be above 0"))
    if settings.weights is not None:
        check_weights(settings.weights, settings.mix, settings.datasets)
    if settings.tags and len(settings.parts) > 1:
        check_tags(settings.tags, has_shares=bool(settings.shares), config=settings.modality_config_path)


def _check_ranges(settings: "FinetuneSettings") -> None:
    for name, least in LEAST.items():
        if getattr(settings, name) < least:
            raise SettingsError(Message(Setting(name, getattr(settings, name)), f": must be at least {least}"))
    if not 0 < settings.episode_sampling_rate <= 1:
        rate = Setting("episode_sampling_rate", settings.episode_sampling_rate)
        raise SettingsError(Message(rate, ": must be above 0 and at most 1"))
    if not 0 <= settings.warmup_ratio <= 1:
        raise SettingsError(Message(Setting("warmup_ratio", settings.warmup_ratio), ": must be from 0 to 1"))
    if not 0 < settings.learning_rate < float("inf"):
        raise SettingsError(Message(Setting("learning_rate", settings.learning_rate), ": must be above 0"))
    if not 0 <= settings.weight_decay < float("inf"):
        raise SettingsError(Message(Setting("weight_decay", settings.weight_decay), ": must be at least 0"))


def _check_batch(settings: "FinetuneSettings") -> None:
    if settings.batch == "fixed":
        return
    auto, steps = Setting("batch", settings.batch), settings.gradient_accumulation_steps
    if steps != 1:
        raise SettingsError(
            Message(auto, " chooses the passes of a step: leave out ", Setting("gradient_accumulation_steps", steps))
        )
    if settings.uses_deepspeed and settings.deepspeed_stage == 3:
        stage = Setting("deepspeed_stage", settings.deepspeed_stage)
        raise SettingsError(Message(auto, " tries the whole model on each GPU, and ", stage, " has a share of it"))


def _check_evaluation(settings: "FinetuneSettings") -> None:
    if settings.eval_steps is not None and settings.eval_steps < 1:
        raise SettingsError(Message(Setting("eval_steps", settings.eval_steps), ": must be at least 1"))
    if settings.eval_steps is not None and settings.eval_dataset is None:
        raise SettingsError(Message(Setting("eval_steps", settings.eval_steps), " needs ", Setting("eval_dataset")))
    if settings.eval_dataset is not None and settings.eval_dataset.absolute() in {
        path.absolute() for path in settings.datasets
    }:
        trained = Setting("eval_dataset", settings.eval_dataset)
        raise SettingsError(Message(trained, " is trained on: hold episodes out by `millrace convert --holdout`"))


def _check_augmentation(settings: "FinetuneSettings") -> None:
    if settings.extra_augmentation_config is None:
        return
    setting = Setting("extra_augmentation_config")
    try:
        parsed = json.loads(settings.extra_augmentation_config)
    except ValueError as error:
        raise SettingsError(Message(setting, f" is not JSON: {error}")) from error
    if not isinstance(parsed, dict):
        raise SettingsError(Message(setting, " must be a JSON object"))
