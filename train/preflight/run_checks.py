"""Every check of a run that is not one of its data; remedies name in braces what the problem fills in.

The data's checks are those of engine/validate; "model-dims", "model-horizon" and "shards" are judged here as well, by
the base model's own limits and the run's own settings.

An error: the run stops, or trains something else than was asked. A warning: it runs, but probably not as meant. A note:
what was not checked this time, and why.
"""

from pathlib import Path

from millrace.engine.dataset.checks import Check, error, note, warning
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import DEFAULT_TAG

CHECKS: dict[str, Check] = {
    # the output folder's earlier run
    "other-run": error("The output folder holds no other run.", "{remedy}"),
    # robot
    "embodiment-tag": error("GR00T has the embodiment tag.", f"For a robot of your own pass {DEFAULT_TAG}"),
    "release-flag": error("The installed GR00T has the flag.", "{remedy}"),
    "tag-unregistered": error(
        "The embodiment tag has a modality config.",
        "Pass --modality-config-path FILE.py with the robot's config; `millrace convert` writes one",
    ),
    "tag-taken": error(
        "No file is given for a tag whose config GR00T has.", f"Leave it out, or train as {DEFAULT_TAG}"
    ),
    "tag-projector": error("The base model has a projector for the tag.", f"Pass {DEFAULT_TAG}, or another base model"),
    "tag-keys": error(
        "A dataset has the very cameras and joint groups of the tag's config, where GR00T has one.",
        f"Train as {DEFAULT_TAG}, by the dataset's own modality config, or convert its source to the tag's robot. "
        "GR00T might take other cameras by their position",
    ),
    "configs-differ": error(
        "All datasets of a run have one config.", "Pass the right one as --modality-config-path FILE.py"
    ),
    "config-unread": warning(
        "The modality config can be read and judged.",
        "Make it run here: it needs gr00t and whatever it imports. A file of constants, as `millrace convert` writes "
        f"it for {DEFAULT_TAG}, needs neither",
    ),
    # data
    "data-unchanged": note("The dataset's files are checked in full.", "Pass --verify to check all of them again"),
    "camera-aspects": error(
        "The cameras of a dataset have one aspect, where images keep theirs.",
        "Leave out --shortest-image-edge and --crop-fraction, or convert again with one size for all: millrace convert "
        "SOURCE OUT --image-size 256 --crop pad",
    ),
    # base model
    "base-model": error(
        "The base model's config.json and processor_config.json can be read.",
        "Name a checkpoint folder such as checkpoint-5000, or a model on the Hub: {released}",
    ),
    "base-model-type": error(
        "The base model is a GR00T model, or of a type that --import-module brings.",
        "{remedy}",
    ),
    "backbone": error("The model that GR00T loads beside the base model is within reach.", "{remedy}"),
    "base-model-weights": warning("The base model's sizes are known.", "Download the model, and name its folder"),
    "base-statistics": error(
        "Statistics of the base model, where they are kept, are of the trained joints.",
        "Leave the flag out, and the dataset's own count; or name the base model's joints, by a modality config",
    ),
    "model-dims": error(
        "The config's state and action fit the base model.",
        "Name fewer groups in the modality config, or choose a base model that takes more",
    ),
    "model-horizon": error("The action chunk fits the base model.", "Name at most {most} delta_indices"),
    # settings
    "batch": error(
        "The global batch is per device x accumulation x workers.",
        "Pass --global-batch-size {near}, or change --num-gpus or --gradient-accumulation-steps",
    ),
    "shards": error(
        "Every shard gets a part of an episode, or GR00T stops with 'All shards must ...'.",
        "Pass --shard-size {size}, or --episode-sampling-rate {rate}",
    ),
    "shards-per-epoch": error(
        "Every loader process gets a shard in each epoch.", "Pass {least} or more; the default is 100000"
    ),
    "learning-rate": warning(
        "The learning rate is near GR00T's.",
        "The loss will hardly decrease, or diverge; begin with {usual}",
    ),
    # machine
    "groot": error("The gr00t package of the release is there.", "{get}"),
    "flash-attn": error(
        "flash-attn can be imported, where the backbone needs it.",
        "pip install {pin} --no-build-isolation (Python 3.10 or 3.12, with CUDA's compiler)",
    ),
    "flash-attn-slow": warning(
        "flash-attn can be imported, where the backbone is faster with it.",
        "pip install {pin} --no-build-isolation (with CUDA's compiler), or train on without",
    ),
    "versions": warning("Python and packages are those that the release pins.", "{remedy}"),
    "flash-attn-gpu": error(
        "The backbone has a GPU, where it needs one.",
        "Train on GPUs; for a smoke test on a CPU name a small model of your own with --import-module",
    ),
    "video-backend": error(
        "GR00T's loader has its video decoder.", "{install}. Millrace's own loader, the default, does without"
    ),
    "gpus": error(
        "The machine has the GPUs.", "{fewer}, or join a cluster by --address; for a smoke test without GPUs pass --cpu"
    ),
    "torch-gpus": error(
        "torch uses the machine's GPUs.",
        "Install the torch that GR00T pins, built for CUDA, and a driver that is new enough for it: "
        'python -c "import torch; torch.cuda.init()" says what is missing',
    ),
    "precision": error("The GPUs compute in the precision.", "Pass --precision fp32, or train on GPUs with bf16"),
    "gpu-memory": error("Model and optimizer fit the GPU.", "{train} on more GPUs with DeepSpeed, or on larger ones"),
    "gpu-memory-batch": warning(
        "So does the batch, as far as is known.",
        "Pass a smaller --global-batch-size, or a larger --gradient-accumulation-steps, which keeps the batch",
    ),
    "memory": error("Workers and their loader processes fit the memory.", "Pass {fewer}"),
    "shared-memory": error(
        "The batches of loader processes fit the shared memory.",
        "In Docker run the container with --shm-size={size} or --ipc=host; or pass --dataloader-num-workers {fitting}",
    ),
    "disk": error("The checkpoints fit the disk.", "{fewer}, or an --output-dir on a larger disk"),
    "output-dir": error("The output folder can be written.", "Pass --output-dir with a folder of yours"),
    "deepspeed": error("DeepSpeed can be imported where it trains.", "pip install {pin}, or pass --use-ddp"),
    "tensorboard": error("TensorBoard can be imported, or is not asked for.", "pip install tensorboard"),
    "wandb": error(
        "wandb, where asked for, is there and logged in.",
        "pip install wandb, then wandb login; or set WANDB_API_KEY or WANDB_MODE=offline",
    ),
    "cluster": warning(
        "The run stays on this machine.", "Datasets, base model and --output-dir must be on storage they share"
    ),
}


def make_run_problem(code: str, message: str, path: Path | None = None, **values: object) -> Problem:
    """A check of a run that failed; path: the dataset that it concerns, values: what its remedy names in braces."""
    return Problem.of(code, path, message, CHECKS, **values)
