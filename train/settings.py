"""Settings of a finetune run, checked, with the defaults of its release of GR00T."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from millrace.engine.dataset.releases import Release, find_release
from millrace.train.errors import SettingsError
from millrace.train.finetune_flags import FinetuneFlags
from millrace.train.mixture import tags_by_dataset, values_by_dataset
from millrace.train.release_settings import guess_release, resolve_defaults
from millrace.train.setting_checks import check_settings


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(FinetuneFlags):
    """A finetune run.

    `gr00t` names its release, embodiment tags are names of that, and defaults that differ by release are filled in.

    Args:
        datasets: Folders of GR00T datasets, at least one.
        stored: By folder, the address of each dataset that was fetched from an object store.
        views: By dataset, the folder of its view, where the installed GR00T needs one; see millrace.train.dataset_view.

    Raises:
        SettingsError: a flag contradicts another, or its value means nothing.
    """

    datasets: tuple[Path, ...]
    stored: Mapping[str, str] = field(default_factory=dict)
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
