"""Packages, logins and hardware: what a run needs of the machine that it starts on."""

from collections.abc import Iterator

from millrace.train.batch import BatchPlan
from millrace.train.errors import BatchError
from millrace.train.groot import HOW_TO_GET
from millrace.train.preflight.base_model import N1D6_TYPE, BaseCheckpoint
from millrace.train.preflight.machine import Machine
from millrace.train.preflight.run_checks import RunProblem, broken
from millrace.train.settings import FinetuneSettings

# N1.6's own (gr00t/configs/finetune_config.py).
DEFAULT_LEARNING_RATE = 1e-4
FFMPEG = "Install FFmpeg's libraries, version 4 to 7: apt-get install ffmpeg (Debian, Ubuntu) or conda install ffmpeg"


def setting_problems(settings: FinetuneSettings) -> Iterator[RunProblem]:
    """Batch, shards of an epoch, learning rate."""
    try:
        BatchPlan.of(settings)
    except BatchError as error:
        message, _, near = str(error).rpartition(". Try ")
        remedy = f"Pass --global-batch-size {near}, or change --num-gpus or --gradient-accumulation-steps"
        yield broken("batch", message, remedy=remedy)
    num_loaders = settings.num_workers * max(settings.dataloader_num_workers, 1)
    if settings.num_shards_per_epoch < num_loaders:
        message = f"--num-shards-per-epoch {settings.num_shards_per_epoch} leaves some of {num_loaders} loaders without"
        yield broken("shards-per-epoch", message, remedy=f"Pass {num_loaders} or more; the default is 100000")
    if not DEFAULT_LEARNING_RATE / 100 <= settings.learning_rate <= DEFAULT_LEARNING_RATE * 100:
        message = f"--learning-rate {settings.learning_rate:g} is more than 100 times off N1.6's 1e-4"
        remedy = "The loss will hardly decrease, or diverge; begin with 1e-4"
        yield broken("learning-rate", message, remedy=remedy)


def model_problems(settings: FinetuneSettings, base: BaseCheckpoint | None, machine: Machine) -> Iterator[RunProblem]:
    """Whether the base model's code is there, and what N1.6's own needs."""
    if base is None:
        return
    if base.why_no_weights is not None:
        message = f"{base.why_no_weights}: trainable parameters and memory are not told"
        yield broken("base-model-weights", message, remedy="Download the model, and name its folder")
    if not base.is_eagle:
        if not settings.import_module:
            message = f"{base.name} is of the type {base.config.model_type!r}, N1.6's is {N1D6_TYPE!r}"
            remedy = "Pass --import-module FILE.py, which registers the type, or name an N1.6 checkpoint"
            yield broken("base-model-type", message, remedy=remedy)
        return
    if "flash_attn" not in machine.packages:
        message = "N1.6's Eagle backbone needs flash-attn, which is not installed"
        remedy = "pip install flash-attn==2.7.4.post1 --no-build-isolation (Python 3.10 or 3.12, with CUDA's compiler)"
        yield broken("flash-attn", message, remedy=remedy)
    if settings.cpu or (settings.in_process and not machine.gpus):
        message = "N1.6's Eagle backbone needs a GPU, since flash-attn has no other code"
        remedy = "Train on GPUs; for a smoke test on a CPU name a small model of your own with --import-module"
        yield broken("flash-attn-gpu", message, remedy=remedy)


def package_problems(settings: FinetuneSettings, machine: Machine) -> Iterator[RunProblem]:
    """gr00t, the video decoder of its own loader, DeepSpeed, and loggers."""
    if machine.why_no_groot is not None:
        yield broken("groot", machine.why_no_groot.removesuffix(f". {HOW_TO_GET}"), remedy=HOW_TO_GET)
    reason = machine.broken_decoders.get(settings.video_backend)
    if settings.stock_loader and reason is not None:
        remedy = FFMPEG if settings.video_backend == "torchcodec" else "pip install decord"
        message = f"GR00T's loader decodes with {settings.video_backend}, which cannot be imported: {reason}"
        yield broken("video-backend", message, remedy=f"{remedy}. Millrace's own loader, the default, does without")
    if settings.uses_deepspeed and "deepspeed" not in machine.packages:
        message = f"--num-gpus {settings.num_gpus} trains with DeepSpeed, which is not installed"
        yield broken("deepspeed", message, remedy="pip install deepspeed==0.17.6, or pass --use-ddp")
    yield from _logger_problems(settings, machine)


def _logger_problems(settings: FinetuneSettings, machine: Machine) -> Iterator[RunProblem]:
    if settings.tensorboard and not machine.packages & {"tensorboard", "tensorboardX"}:
        yield broken("tensorboard", "--tensorboard, but it is not installed", remedy="pip install tensorboard")
    if settings.use_wandb and "wandb" not in machine.packages:
        yield broken("wandb", "--use-wandb, but wandb is not installed", remedy="pip install wandb")
    elif settings.use_wandb and not machine.has_wandb_login:
        message = "--use-wandb, but nobody is logged in to Weights & Biases: the run would wait for a key"
        yield broken("wandb", message, remedy="wandb login, or set WANDB_API_KEY, or WANDB_MODE=offline")


def gpu_problems(settings: FinetuneSettings, machine: Machine) -> Iterator[RunProblem]:
    """Whether there are as many GPUs as workers; on a cluster Ray counts them when the run starts."""
    if settings.address:
        message = f"of the machines behind --address {settings.address} nothing is known: GPUs, memory, packages"
        yield broken("cluster", message, remedy="Datasets, base model and --output-dir must be on storage they share")
        return
    if not settings.cpu and settings.num_gpus > len(machine.gpus):
        message = f"--num-gpus {settings.num_gpus}, but this machine has {len(machine.gpus)}"
        fewer = f"Pass --num-gpus {len(machine.gpus)}" if machine.gpus else "Start it where there are GPUs"
        remedy = f"{fewer}, or join a cluster by --address; for a smoke test without GPUs pass --cpu"
        yield broken("gpus", message, remedy=remedy)
