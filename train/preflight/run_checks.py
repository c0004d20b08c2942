"""Every check of a run that is not one of its data: a stable code, how bad it is when broken, and what it promises.

The data's checks are those of engine/validate; "model-dims", "model-horizon" and "shards" are judged here as well, by
the base model's own limits and the run's own settings.

An error: the run stops, or trains something else than was asked. A warning: it runs, but probably not as meant.
"""

from dataclasses import dataclass

from millrace.engine.validate import Check, Severity

CHECKS: dict[str, Check] = {
    # robot
    "embodiment-tag": Check("error", "The embodiment tag is one that N1.6 has."),
    "tag-unregistered": Check("error", "The embodiment tag has a modality config."),
    "tag-taken": Check("error", "No modality config is given for a tag that has N1.6's own."),
    "tag-projector": Check("error", "The base model has a projector for the embodiment tag."),
    "configs-differ": Check("error", "All datasets of a run have the same modality config."),
    "config-unread": Check("warning", "The modality config can be read, so that it can be judged."),
    # base model
    "base-model": Check("error", "The base model's config.json and processor_config.json can be read."),
    "base-model-type": Check("error", "The base model is an N1.6 model, or of a type that --import-module brings."),
    "base-model-weights": Check("warning", "The sizes of the base model's weights can be read."),
    "base-statistics": Check("error", "Statistics of the base model, where they are kept, are of the trained joints."),
    "model-dims": Check("error", "State and action of the modality config fit the base model."),
    "model-horizon": Check("error", "The action chunk fits the base model."),
    # settings
    "batch": Check("error", "The global batch is per device x accumulation x workers."),
    "shards": Check("error", "Every shard gets a part of an episode, or GR00T stops with 'All shards must ...'."),
    "shards-per-epoch": Check("error", "Every loader process of every worker gets a shard in each epoch."),
    "learning-rate": Check("warning", "The learning rate is within a factor of 100 of N1.6's."),
    # machine
    "groot": Check("error", "The gr00t package is there, and is N1.6's."),
    "flash-attn": Check("error", "flash-attn is there, which N1.6's Eagle backbone needs."),
    "flash-attn-gpu": Check("error", "N1.6's Eagle backbone runs on GPUs, as flash-attn does."),
    "video-backend": Check("error", "GR00T's own loader, where it is asked for, has its video decoder."),
    "gpus": Check("error", "The machine has the GPUs that are asked for."),
    "gpu-memory": Check("error", "Weights, gradients and optimizer fit the memory of each GPU."),
    "gpu-memory-batch": Check("warning", "So does the batch, as far as it can be estimated."),
    "memory": Check("error", "Loader processes and the model fit the memory."),
    "disk": Check("error", "The checkpoints that are kept fit the disk."),
    "output-dir": Check("error", "The output folder can be written."),
    "deepspeed": Check("error", "DeepSpeed is installed where several GPUs train without --use-ddp."),
    "tensorboard": Check("error", "TensorBoard is installed, or not asked for."),
    "wandb": Check("error", "Weights & Biases is installed and logged in to, or not asked for."),
    "cluster": Check("warning", "The run stays on this machine: of a cluster's others nothing is known."),
}


@dataclass(frozen=True)
class RunProblem:
    """One thing that is wrong; code is a key of CHECKS here or in millrace.engine.validate."""

    code: str
    severity: Severity
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity:7}  {self.code}  {self.message}. {self.remedy}"


def broken(code: str, message: str, *, remedy: str) -> RunProblem:
    """A problem of a code of CHECKS; both texts without a full stop or with one, as they read best."""
    return RunProblem(code, CHECKS[code].severity, message, remedy)
