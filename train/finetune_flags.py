"""Flags of a finetune run, in the groups that its help shows: GR00T's by their names and defaults, and Millrace's own.

Where releases of GR00T differ, a default is None, and FinetuneSettings has that of its release instead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from millrace.engine.dataset.releases import DEFAULT_TAG, GrootChoice, Release, VideoBackend
from millrace.train.flag_types import option

Precision = Literal["bf16", "tf32", "fp32"]


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """The pretrained model, and which of its parts are trained."""

    base_model_path: str
    """The pretrained model: a checkpoint folder, or a name on the Hugging Face Hub."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T that trains; auto: the one that is installed."""
    tune_llm: bool = False
    """Train the language model. Its top four layers are trained either way."""
    tune_visual: bool = False
    """Train the vision encoder."""
    tune_projector: bool = True
    """Train the projectors of state and action."""
    tune_diffusion_model: bool = True
    """Train the diffusion action head."""
    state_dropout_prob: Annotated[float | None, option("FLOAT")] = None
    """Probability with which a sample's state is dropped; by default the release's, 0 on N1.6 and 0.2 on N1.7."""
    skip_weight_loading: bool = False
    """Begin with random weights instead of the base model's, for tests. Only N1.7."""


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """As which robots the datasets are trained, and how much each counts."""

    embodiment_tag: Annotated[str, arg(metavar="TAG")] = DEFAULT_TAG
    """The robot, as GR00T calls it: name or value of a tag of the release, in any case. UNITREE_G1 and others have a
    modality config in GR00T; NEW_EMBODIMENT, and GR1 of N1.6, take the dataset's own."""
    modality_config_path: Path | None = None
    """A modality config file; by default the dataset's own modality_config.py, where GR00T has none for the tag."""
    mix: tuple[float, ...] = ()
    """Share of the samples from each dataset, in their order; by default each by its length."""
    weights: dict[str, float] | None = None
    """The same by the names of the datasets' folders, for example: aloha_gr1 0.7 g1_box 0.3."""
    tags: dict[str, str] | None = None
    """Embodiment tags by folder names, for several robots in one run: aloha_gr1 GR1 g1_box UNITREE_G1. Each trains with
    GR00T's config for its tag, or else its dataset's own modality_config.py; other datasets have --embodiment-tag."""
    ds_weights_alpha: Annotated[float | None, option("FLOAT")] = None
    """Weigh each dataset by its length to this power, instead of by its length; 0: all alike. Only N1.7 since July
    2026."""
    use_percentiles: Annotated[bool | None, option("[True|False]")] = None
    """Scale state and action by their quantiles q01 and q99, the default of N1.7; off: by min and max, as N1.6 always
    does. Only N1.7 since July 2026."""
    override_pretraining_statistics: bool = True
    """Normalise by the datasets' statistics, also where the base model has some for the tag."""


@dataclass(frozen=True, kw_only=True)
class AugmentationFlags:
    """How images are varied and cropped."""

    random_rotation_angle: int | None = None
    """Rotate images by up to this many degrees."""
    color_jitter_params: dict[str, float] | None = None
    """Colour jitter, for example: brightness 0.4 contrast 0.4 saturation 0.4 hue 0.1; by default the base model's."""
    extra_augmentation_config: str | None = None
    """JSON of further augmentations, as GR00T's FinetuneConfig describes them."""
    shortest_image_edge: Annotated[int | None, option("PIXELS")] = None
    """Resize images to this shortest edge, aspect ratio kept, instead of to a square; with --crop-fraction. Only N1.7
    since July 2026."""
    crop_fraction: Annotated[float | None, option("FLOAT")] = None
    """Share of each side that the crop keeps then; with --shortest-image-edge. Only N1.7 since July 2026."""


@dataclass(frozen=True, kw_only=True)
class OptimizerFlags:
    """Steps, batches and rates."""

    max_steps: int = 10000
    """Steps after which the run ends."""
    global_batch_size: int = 64
    """Samples in an optimizer step, over all workers and accumulation steps."""
    batch: Literal["fixed", "auto"] = "fixed"
    """auto: try the model before training, and divide --global-batch-size into the largest passes that fit the GPUs'
    memory; fixed: into --gradient-accumulation-steps of them."""
    gradient_accumulation_steps: int = 1
    """Passes whose gradients make one step; --global-batch-size counts all of them."""
    learning_rate: float = Release.learning_rate
    """Highest learning rate."""
    warmup_ratio: float = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 1e-5
    """Weight decay."""
    precision: Precision | None = None
    """Arithmetic; by default bf16 (with TF32, as GR00T has it) on GPUs, fp32 on a CPU."""
    seed: int = 42
    """Seed of sampling, augmentation and new weights."""


@dataclass(frozen=True, kw_only=True)
class LoaderFlags:
    """How samples are read."""

    dataloader_num_workers: int = 2
    """Loader processes of each worker."""
    shard_size: int = Release.shard_size
    """Samples that a loader process holds at a time."""
    episode_sampling_rate: float = Release.sampling_rate
    """Share of an episode that goes into one shard; lower mixes better and decodes more."""
    num_shards_per_epoch: int = int(1e5)
    """Shards drawn before the order is drawn again."""
    multiprocessing_context: Literal["fork", "forkserver", "spawn"] = "forkserver"
    """How loader processes start. GR00T forks, which can deadlock in a process with threads, as Ray's are."""
    stock_loader: bool = False
    """Feed by GR00T's own loader instead of Millrace's; the samples are the same."""
    video_backend: VideoBackend = "torchcodec"
    """Decoder of GR00T's own loader; see --stock-loader."""


@dataclass(frozen=True, kw_only=True)
class EvalFlags:
    """What is measured on held-out episodes while training."""

    eval_dataset: Path | None = None
    """Held-out episodes, such as OUT_heldout: loss and open-loop error are logged, and the best checkpoint is kept,
    by the open-loop error as `millrace evaluate` counts it; without --eval-episodes by the loss."""
    eval_steps: int | None = None
    """Steps from evaluation to evaluation; each checkpoint is evaluated in any case."""
    eval_samples: int = 144
    """Samples of the held-out loss, spread evenly over all steps."""
    eval_episodes: int = 4
    """Episodes of the open-loop error, spread evenly over all; 0: none."""


@dataclass(frozen=True, kw_only=True)
class SaveFlags:
    """What is saved, and where."""

    output_dir: Path = Path("./outputs")
    """Folder of checkpoints and logs; on a cluster one that all nodes share."""
    experiment_name: str | None = None
    """A folder in --output-dir for this run, and its name in wandb."""
    save_steps: int = 1000
    """Steps from checkpoint to checkpoint."""
    save_total_limit: int = 5
    """Complete checkpoints to keep, the newest; beside them the best on --eval-dataset."""
    save_only_model: bool = False
    """Keep the weights alone of all checkpoints but the newest, and in the end of that too: a third of the disk."""
    overwrite: bool = False
    """Delete the checkpoints and logs that an earlier run left in the output, and begin again."""


@dataclass(frozen=True, kw_only=True)
class LogFlags:
    """Where progress is logged."""

    logging_steps: int = 10
    """Steps from log line to log line."""
    use_wandb: bool = False
    """Also log to Weights & Biases."""
    wandb_project: Annotated[str | None, option("NAME")] = None
    """Project in wandb; by default the release's, as finetune-gr00t-n1d6."""
    tensorboard: bool = False
    """Also log to TensorBoard, in the folder "runs" of the output."""


@dataclass(frozen=True, kw_only=True)
class WorkerFlags:
    """Which machines and GPUs train."""

    num_gpus: int = 1
    """Workers, a GPU each, over all nodes; 0 trains in this process."""
    address: str | None = None
    """A running Ray cluster, for example "auto"; by default a Ray of this machine, for this run."""
    cpu: bool = False
    """Train on CPUs (gloo, DDP, fp32): for smoke tests."""
    use_ddp: bool = False
    """Several workers share gradients by DDP instead of DeepSpeed."""
    deepspeed_stage: Literal[2, 3] = 2
    """DeepSpeed ZeRO stage."""
    max_failures: int = 0
    """Restarts, from the newest complete checkpoint, after a worker or node dies."""
    import_module: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A Python file that every worker imports first, such as a model type of your own; may be given again."""


@dataclass(frozen=True, kw_only=True)
class FinetuneFlags(
    ModelFlags,
    DataFlags,
    AugmentationFlags,
    OptimizerFlags,
    LoaderFlags,
    EvalFlags,
    SaveFlags,
    LogFlags,
    WorkerFlags,
):
    """All settings of a run beside its datasets; defaults are those of GR00T's FinetuneConfig."""
