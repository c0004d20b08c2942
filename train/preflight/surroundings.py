"""Packages, logins and hardware: what a run needs of the machine that it starts on."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import Release, release_of_model
from millrace.train.batch import BatchPlan
from millrace.train.environment import WorkerEnvironment
from millrace.train.errors import BatchError
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.installed import how_to_get
from millrace.train.preflight.machine import Machine
from millrace.train.preflight.pinned_versions import PYTHON, fitting_build, version_problems
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.settings import FinetuneSettings

FFMPEG = "Install FFmpeg's libraries, version 4 to 7: apt-get install ffmpeg (Debian, Ubuntu) or conda install ffmpeg"


def setting_problems(settings: FinetuneSettings) -> Iterator[Problem]:
    """Batch, shards of an epoch, learning rate."""
    try:
        BatchPlan.of(settings)
    except BatchError as error:
        message, _, near = str(error).rpartition(". Try ")
        yield make_run_problem("batch", message, near=near)
    num_loaders = settings.num_workers * max(settings.dataloader_num_workers, 1)
    if settings.num_shards_per_epoch < num_loaders:
        message = f"--num-shards-per-epoch {settings.num_shards_per_epoch} leaves some of {num_loaders} loaders without"
        yield make_run_problem("shards-per-epoch", message, least=num_loaders)
    rate, usual = settings.learning_rate, settings.release.learning_rate
    if not usual / 100 <= rate <= usual * 100:
        message = f"--learning-rate {rate:g} is more than 100 times off {settings.release.name}'s {usual:g}"
        yield make_run_problem("learning-rate", message, usual=f"{usual:g}")


def model_problems(settings: FinetuneSettings, base: BaseCheckpoint | None, machine: Machine) -> Iterator[Problem]:
    """Whether the base model's code is there, and what the released one needs."""
    if base is None:
        return
    if base.why_no_weights is not None:
        yield make_run_problem(
            "base-model-weights", f"{base.why_no_weights}: trainable parameters and memory are not told"
        )
    release = base.release
    if not base.is_own_type:
        yield from _type_problems(settings, base)
        return
    if (found := machine.no_backbone) is not None:
        yield make_run_problem("backbone", f"{release.backbone}: {found.why}", remedy=found.remedy)
    if not release.needs_flash_attention:
        if (reason := machine.broken.get("flash_attn")) and not settings.cpu:
            message = f"{release.backbone} falls back to torch's attention: {reason}"
            yield make_run_problem("flash-attn-slow", message, pin=_pin(release, machine, "flash-attn"))
        return
    if reason := machine.broken.get("flash_attn"):
        message = f"{release.backbone} needs flash-attn, which cannot be imported: {reason}"
        yield make_run_problem("flash-attn", message, pin=_pin(release, machine, "flash-attn"))
    if settings.cpu or (settings.in_process and not machine.gpus.cards):
        message = f"{release.backbone} needs a GPU, since flash-attn has no other code"
        yield make_run_problem("flash-attn-gpu", message)


def _pin(release: Release, machine: Machine, package: str) -> str:
    """What pip installs of a package, for this machine's Python where the release has a build for it."""
    build = fitting_build(release, machine.versions.get(PYTHON)) or release.builds[0]
    return build.pins[package]


def _type_problems(settings: FinetuneSettings, base: BaseCheckpoint) -> Iterator[Problem]:
    """Whether another release's model, or a type of the user's that nothing registers, is to be trained."""
    model_type, release = base.config.model_type, base.release
    message = f"{base.name} is of the type {model_type!r}, {release.name}'s is {release.model_type!r}"
    if (other := release_of_model(model_type)) is not None:
        remedy = f"Name a checkpoint of {release.name}, such as {release.base_model}; or train with {other.name}"
        message += f": it is a model of {other.name}"
    elif settings.import_module:
        return
    else:
        remedy = f"Pass --import-module FILE.py, which registers the type, or name a checkpoint of {release.name}"
    yield make_run_problem("base-model-type", message, remedy=remedy)


def list_packages(settings: FinetuneSettings, base: BaseCheckpoint | None) -> list[str]:
    """The packages that a run imports late, beside gr00t."""
    board = "tensorboard" if find_spec("tensorboard") or not find_spec("tensorboardX") else "tensorboardX"
    asked = {
        "flash_attn": base is not None and base.is_own_type,
        settings.video_backend: settings.stock_loader,
        "deepspeed": settings.uses_deepspeed,
        "wandb": settings.use_wandb,
        board: settings.tensorboard,
    }
    return [name for name, is_asked in asked.items() if is_asked]


def package_problems(settings: FinetuneSettings, machine: Machine) -> Iterator[Problem]:
    """gr00t, its versions, the video decoder of its own loader, DeepSpeed, and loggers."""
    broken = machine.broken
    yield from version_problems(settings.release, machine.versions)
    if machine.why_no_groot is not None:
        yield make_run_problem("groot", machine.why_no_groot, get=how_to_get(settings.release))
    if settings.stock_loader and (reason := broken.get(settings.video_backend)):
        install = FFMPEG if settings.video_backend == "torchcodec" else "pip install decord"
        message = f"GR00T's loader decodes with {settings.video_backend}, which cannot be imported: {reason}"
        yield make_run_problem("video-backend", message, install=install)
    if reason := broken.get("deepspeed"):
        message = f"--num-gpus {settings.num_gpus} trains with DeepSpeed, which cannot be imported: {reason}"
        yield make_run_problem("deepspeed", message, pin=_pin(settings.release, machine, "deepspeed"))
    if reason := broken.get("tensorboard") or broken.get("tensorboardX"):
        yield make_run_problem("tensorboard", f"--tensorboard, but it cannot be imported: {reason}")
    if reason := broken.get("wandb"):
        yield make_run_problem("wandb", f"--use-wandb, but wandb cannot be imported: {reason}")
    elif settings.use_wandb and not machine.has_wandb_login:
        message = "--use-wandb, but nobody is logged in to Weights & Biases: the run would wait for a key"
        yield make_run_problem("wandb", message)


def gpu_problems(settings: FinetuneSettings, machine: Machine) -> Iterator[Problem]:
    """Whether there are as many GPUs as workers, and whether torch uses them; on a cluster Ray counts at the start."""
    gpus = machine.gpus
    if settings.address:
        message = f"of the machines behind --address {settings.address} nothing is known: GPUs, memory, packages"
        if passed := WorkerEnvironment.take(os.environ, Path.home(), address=settings.address).names:
            message += f"; workers get of this environment {', '.join(passed)}"
        yield make_run_problem("cluster", message)
        return
    if settings.cpu:
        return
    if settings.num_workers > len(gpus.cards):
        asked = f"--num-gpus {settings.num_gpus}" + (" trains in this process" if settings.in_process else "")
        if gpus.why_fewer and gpus.num_listed > len(gpus.cards):
            message = f"{asked}: nvidia-smi lists {gpus.num_listed} GPUs, {gpus.why_fewer}"
            yield make_run_problem("torch-gpus", message)
        else:
            fewer = f"Pass --num-gpus {len(gpus.cards)}" if gpus.cards else "Start it where there are GPUs"
            yield make_run_problem("gpus", f"{asked}, but this machine has {len(gpus.cards) or 'no GPU'}", fewer=fewer)
        return
    if not gpus.has_bf16 and settings.precision in (None, "bf16"):
        yield make_run_problem("precision", f"{gpus.cards[0].name} does not compute in bf16, the default")
    if not gpus.has_nccl and settings.num_workers > 1:
        yield make_run_problem("torch-gpus", f"--num-gpus {settings.num_gpus}: this torch has no NCCL")
