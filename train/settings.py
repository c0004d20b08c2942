"""Settings of a finetune run: GR00T's flags by their names and defaults, then what it leaves off its command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from millrace.engine.dataset.releases import DEFAULT_TAG, GrootChoice, Release, VideoBackend, find_release
from millrace.train.errors import SettingsError
from millrace.train.flag_types import option
from millrace.train.mixture import tags_by_dataset, values_by_dataset
from millrace.train.release_settings import guess_release, resolve_defaults
from millrace.train.setting_checks import check_settings

Precision = Literal["bf16", "tf32", "fp32"]


@dataclass(frozen=True, kw_only=True)
class FinetuneFlags:
    """All settings of a run beside its datasets; defaults are those of GR00T's FinetuneConfig.

    Where releases of GR00T differ, the default is None, and FinetuneSettings has that of its release instead.
    """

    base_model_path: str
    """The pretrained model: a checkpoint folder, or a name on the Hugging Face Hub."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T that trains; auto: the one that is installed."""
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

    random_rotation_angle: int | None = None
    """Rotate images by up to this many degrees."""
    color_jitter_params: dict[str, float] | None = None
    """Colour jitter, for example: brightness 0.4 contrast 0.4 saturation 0.4 hue 0.1; by default the base model's."""
    extra_augmentation_config: str | None = None
    """JSON of further augmentations, as GR00T's FinetuneConfig describes them."""
    use_percentiles: Annotated[bool | None, option("[True|False]")] = None
    """Scale state and action by their quantiles q01 and q99, the default of N1.7; off: by min and max, as N1.6 always
    does. Only N1.7 since July 2026."""
    shortest_image_edge: Annotated[int | None, option("PIXELS")] = None
    """Resize images to this shortest edge, aspect ratio kept, instead of to a square; with --crop-fraction. Only N1.7
    since July 2026."""
    crop_fraction: Annotated[float | None, option("FLOAT")] = None
    """Share of each side that the crop keeps then; with --shortest-image-edge. Only N1.7 since July 2026."""

    global_batch_size: int = 64
    """Samples in an optimizer step, over all workers and accumulation steps."""
    dataloader_num_workers: int = 2
    """Loader processes of each worker."""
    learning_rate: float = Release.learning_rate
    """Highest learning rate."""
    gradient_accumulation_steps: int = 1
    """Passes whose gradients make one step; --global-batch-size counts all of them."""
    batch: Literal["fixed", "auto"] = "fixed"
    """auto: try the model before training, and divide --global-batch-size into the largest passes that fit the GPUs'
    memory; fixed: into --gradient-accumulation-steps of them."""
    output_dir: Path = Path("./outputs")
    """Folder of checkpoints and logs; on a cluster one that all nodes share."""
    experiment_name: str | None = None
    """A folder in --output-dir for this run, and its name in wandb."""
    wandb_project: Annotated[str | None, option("NAME")] = None
    """Project in wandb; by default the release's, as finetune-gr00t-n1d6."""
    save_steps: int = 1000
    """Steps from checkpoint to checkpoint."""
    save_total_limit: int = 5
    """Complete checkpoints to keep, the newest; beside them the best on --eval-dataset."""
    save_only_model: bool = False
    """Keep the weights alone of all checkpoints but the newest, and in the end of that too: a third of the disk."""
    num_gpus: int = 1
    """Workers, a GPU each, over all nodes; 0 trains in this process."""
    use_wandb: bool = False
    """Also log to Weights & Biases."""
    max_steps: int = 10000
    """Steps after which the run ends."""
    weight_decay: float = 1e-5
    """Weight decay."""
    warmup_ratio: float = 0.05
    """Share of the steps in which the learning rate rises."""
    shard_size: int = Release.shard_size
    """Samples that a loader process holds at a time."""
    ds_weights_alpha: Annotated[float | None, option("FLOAT")] = None
    """Weigh each dataset by its length to this power, instead of by its length; 0: all alike. Only N1.7 since July
    2026."""
    episode_sampling_rate: float = Release.sampling_rate
    """Share of an episode that goes into one shard; lower mixes better and decodes more."""
    num_shards_per_epoch: int = int(1e5)
    """Shards drawn before the order is drawn again."""

    eval_dataset: Path | None = None
    """Held-out episodes, such as OUT_heldout: loss and open-loop error are logged, and the best checkpoint is kept,
    by the open-loop error as `millrace evaluate` counts it; without --eval-episodes by the loss."""
    eval_steps: int | None = None
    """Steps from evaluation to evaluation; each checkpoint is evaluated in any case."""
    eval_samples: int = 144
    """Samples of the held-out loss, spread evenly over all steps."""
    eval_episodes: int = 4
    """Episodes of the open-loop error, spread evenly over all; 0: none."""

    use_ddp: bool = False
    """Several workers share gradients by DDP instead of DeepSpeed."""
    deepspeed_stage: Literal[2, 3] = 2
    """DeepSpeed ZeRO stage."""
    precision: Precision | None = None
    """Arithmetic; by default bf16 (with TF32, as GR00T has it) on GPUs, fp32 on a CPU."""
    video_backend: VideoBackend = "torchcodec"
    """Decoder of GR00T's own loader; see --stock-loader."""
    multiprocessing_context: Literal["fork", "forkserver", "spawn"] = "forkserver"
    """How loader processes start. GR00T forks, which can deadlock in a process with threads, as Ray's are."""
    override_pretraining_statistics: bool = True
    """Normalise by the datasets' statistics, also where the base model has some for the tag."""
    logging_steps: int = 10
    """Steps from log line to log line."""
    seed: int = 42
    """Seed of sampling, augmentation and new weights."""

    address: str | None = None
    """A running Ray cluster, for example "auto"; by default a Ray of this machine, for this run."""
    cpu: bool = False
    """Train on CPUs (gloo, DDP, fp32): for smoke tests."""
    max_failures: int = 0
    """Restarts, from the newest complete checkpoint, after a worker or node dies."""
    import_module: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A Python file that every worker imports first, such as a model type of your own; may be given again."""
    tensorboard: bool = False
    """Also log to TensorBoard, in the folder "runs" of the output."""
    stock_loader: bool = False
    """Feed by GR00T's own loader instead of Millrace's; the samples are the same."""
    overwrite: bool = False
    """Delete the checkpoints and logs that an earlier run left in the output, and begin again."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(FinetuneFlags):
    """A finetune run.

    `gr00t` names its release, embodiment tags are names of that, and defaults that differ by release are filled in.

    Args:
        datasets: Folders of GR00T datasets, at least one.
        views: By dataset, the folder of its view, where the installed GR00T needs one; see millrace.train.dataset_view.

    Raises:
        SettingsError: a flag contradicts another, or its value means nothing.
    """

    datasets: tuple[Path, ...]
    views: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        release = guess_release(self.gr00t, self.base_model_path)
        for name, value in resolve_defaults(self, release).items():
            object.__setattr__(self, name, value)
        if not self.datasets:
            raise SettingsError("no dataset is named: millrace finetune DATASET ... --base-model-path MODEL")
        check_settings(self)

    def absolute(self) -> "FinetuneSettings":
        """The same with absolute paths: workers have working directories of their own."""
        base, config = Path(self.base_model_path), self.modality_config_path
        return replace(
            self,
            datasets=tuple(path.absolute() for path in self.datasets),
            base_model_path=str(base.absolute()) if base.is_dir() else self.base_model_path,
            modality_config_path=config.absolute() if config else None,
            output_dir=self.output_dir.absolute(),
            eval_dataset=self.eval_dataset.absolute() if self.eval_dataset else None,
            import_module=tuple(path.absolute() for path in self.import_module),
        )

    @property
    def release(self) -> Release:
        """The release of GR00T that trains: `gr00t` names it, also where it was "auto"."""
        return find_release(self.gr00t)

    @property
    def run_folder(self) -> Path:
        """Where checkpoints and logs go (gr00t/experiment/experiment.py)."""
        return self.output_dir / self.experiment_name if self.experiment_name else self.output_dir

    @property
    def all_datasets(self) -> tuple[Path, ...]:
        """Those that are trained on, and the held-out one."""
        return self.datasets if self.eval_dataset is None else (*self.datasets, self.eval_dataset)

    def groot_path(self, dataset: Path) -> Path:
        """Where GR00T reads one of the datasets: in its view, where it has one."""
        return Path(self.views.get(str(dataset), dataset))

    @property
    def num_workers(self) -> int:
        """Training processes, GR00T's world size."""
        return max(self.num_gpus, 1)

    @property
    def in_process(self) -> bool:
        """Whether this process trains, without Ray."""
        return self.num_gpus == 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each dataset, by --mix or --weights; empty: each by its length."""
        if self.weights is None:
            return self.mix
        by_path = values_by_dataset("weights", self.weights, self.datasets)
        return tuple(by_path[path] for path in self.datasets)

    @property
    def parts(self) -> tuple["FinetuneSettings", ...]:
        """The run for each of its embodiment tags, as if it were trained alone; this run where there is only one."""
        if not self.tags:
            return (self,)
        tags = tags_by_dataset(self.tags, self.datasets, self.eval_dataset, self.embodiment_tag)
        held_out = None if self.eval_dataset is None else tags[self.eval_dataset]
        return tuple(
            replace(
                self,
                embodiment_tag=tag,
                datasets=tuple(path for path in self.datasets if tags[path] == tag),
                eval_dataset=self.eval_dataset if held_out == tag else None,
                eval_steps=self.eval_steps if held_out == tag else None,
                mix=(),
                weights=None,
                tags=None,
            )
            for tag in dict.fromkeys(tags[path] for path in self.datasets)
        )

    @property
    def tag(self) -> str:
        """The embodiment tag as it stands in files: EmbodimentTag's value."""
        return self.release.tag_value(self.embodiment_tag)

    @property
    def uses_deepspeed(self) -> bool:
        """Whether DeepSpeed shards optimizer and gradients, as GR00T has it above one GPU."""
        return self.num_workers > 1 and not self.use_ddp and not self.cpu
