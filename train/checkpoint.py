"""Read a checkpoint's embodiment tags, modality configs and statistics. No weights are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import AliasPath, Field, ValidationError

from millrace.embodiments import FrozenModel, Remedy, unknown_name
from millrace.engine.dataset.modality_config import GrootConfig, GrootModality
from millrace.engine.dataset.releases import RELEASES, Release, release_of_model
from millrace.train.checkpoint_files import (
    STATISTICS,
    Widths,
    open_checkpoint_files,
    read_checkpoint_file,
    read_widths,
)
from millrace.train.errors import ConfigError
from millrace.train.installed import how_to_get
from millrace.train.run_folder import CHECKPOINTS, COMPLETE, IDENTITY, complete_checkpoints
from millrace.train.run_identity import RunIdentity

CONFIG, PROCESSOR = "config.json", "processor_config.json"
# What GR00T's run() leaves of its own config in every checkpoint.
RUN_CONFIG = "experiment_cfg/conf.yaml"


class _Modality(FrozenModel):
    modality_keys: tuple[str, ...]
    delta_indices: tuple[int, ...]


class _Arguments(FrozenModel):
    modality_configs: dict[str, dict[str, _Modality]]


class _Processor(FrozenModel):
    """processor_config.json."""

    processor_kwargs: _Arguments


class _Model(FrozenModel):
    """config.json."""

    model_type: str
    model_name: str | None = None


class _Dataset(FrozenModel):
    embodiment_tag: str


class _Run(FrozenModel):
    """experiment_cfg/conf.yaml."""

    datasets: tuple[_Dataset, ...] = Field(default=(), validation_alias=AliasPath("data", "datasets"))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can be evaluated and served.

    Args:
        name: Its folder, or its name on the Hugging Face Hub.
        configs: Modality config by tag, of the tags that it has statistics for too.
        widths: Values of a joint group in its statistics, by tag, by part, by group.
        trained_tag: The tag that it was finetuned for; None where it does not say.
        release: Of its model; None for a type of the user's.
        backbone: The model that is loaded beside it, a folder or one on the Hub; None where nothing is to be fetched.
    """

    name: str
    configs: Mapping[str, GrootConfig]
    widths: Widths
    trained_tag: str | None
    release: Release | None = None
    backbone: str | None = None

    @classmethod
    def open(cls, name: str) -> "Checkpoint":
        """Read the small files of a checkpoint.

        Raises:
            ConfigError: there is none, it was cut short, or a file is missing or malformed.
        """
        folder = Path(name)
        _check_complete(folder)
        configs = _read_configs(name)
        widths = read_widths(name)
        known = {tag: config for tag, config in configs.items() if tag in widths}
        if not known:
            raise ConfigError(f"{name}: {PROCESSOR} and {STATISTICS} share no embodiment tag")
        return cls(name, known, widths, _read_trained_tag(folder), *_read_model(name))

    def choose_tag(self, asked: str | None, gr00t: Release | None = None) -> str:
        """Choose the tag to act under, as files have it: the one asked for, or that of the finetuning.

        Args:
            asked: Name or value of a tag, in any case; None: not asked for.
            gr00t: The release that runs it; None: the checkpoint's own.

        Raises:
            ConfigError: there is no telling which, or the checkpoint is one of another release.
            UnknownName: the checkpoint has learnt nothing under that tag.
        """
        release = self._running(gr00t)
        tag = release.tag_value(asked) if asked else self.trained_tag
        tags = tuple(self.configs)
        if tag is None and len(tags) == 1:
            return tags[0]
        if tag is None:
            known = ", ".join(map(release.tag_name, tags))
            raise ConfigError(f"{self.name} does not say its tag. ", Remedy(f"Pass --embodiment-tag: {known}"))
        if tag not in tags:
            raise unknown_name(release.tag_name(tag), f"tag of {self.name}", map(release.tag_name, tags))
        return tag

    def notes(self, tag: str, gr00t: Release | None = None) -> tuple[str, ...]:
        """Notes for the user of this tag."""
        if self.trained_tag in (None, tag):
            return ()
        release = self._running(gr00t)
        trained, name = release.tag_name(self.trained_tag), release.tag_name(tag)
        return (
            f"{self.name} was finetuned as {trained}: under {name} it acts by the config, the "
            "statistics and the projectors of its base model, which the finetuning left as they were",
        )

    def _running(self, gr00t: Release | None) -> Release:
        if gr00t is not None and self.release is not None and self.release != gr00t:
            raise ConfigError(
                f"{self.name} is a checkpoint of GR00T {self.release.name}, and {gr00t.name} is to run it. "
                f"{how_to_get(self.release)}"
            )
        return gr00t or self.release or RELEASES[0]


def list_checkpoints(path: Path) -> tuple[Path, ...]:
    """A checkpoint itself, or all complete checkpoints of a run's folder, by step.

    Raises:
        ConfigError: it is the folder of a run that has none.
    """
    if (path / PROCESSOR).is_file() or not (path / IDENTITY).is_file():
        return (path,)
    complete = complete_checkpoints(path)
    if not complete:
        raise ConfigError(f"{path}: the run has no complete checkpoint yet")
    return tuple(complete)


def read_training_digests(name: str) -> tuple[str, ...]:
    """Digests of the datasets that a checkpoint was finetuned on by Millrace; empty where unknown."""
    try:
        return RunIdentity.model_validate_json((Path(name).parent / IDENTITY).read_bytes()).digests
    except (OSError, ValidationError):
        return ()


def _check_complete(folder: Path) -> None:
    if not folder.is_dir() or (folder / PROCESSOR).is_file():
        is_ours = (folder.parent / IDENTITY).is_file() and folder.match(CHECKPOINTS)
        if is_ours and not (folder / COMPLETE).is_file():
            raise ConfigError(f"{folder} was cut short while it was written: it has no {COMPLETE}")
        return
    found = ", ".join(str(path) for path in complete_checkpoints(folder))
    advice = f"The run's checkpoints: {found}" if found else "A checkpoint is a folder such as checkpoint-5000"
    raise ConfigError(f"{folder} is no checkpoint: it has no {PROCESSOR}. {advice}")


def _read_configs(name: str) -> dict[str, GrootConfig]:
    configs = read_checkpoint_file(name, PROCESSOR, _Processor).processor_kwargs.modality_configs
    return {
        tag: GrootConfig(
            {part: GrootModality(entry.modality_keys, entry.delta_indices) for part, entry in config.items()}, tag
        )
        for tag, config in configs.items()
    }


def _read_model(name: str) -> tuple[Release | None, str | None]:
    """The release of a checkpoint's model, and the backbone that is loaded beside it."""
    if open_checkpoint_files(name).path(CONFIG) is None:
        return None, None
    model = read_checkpoint_file(name, CONFIG, _Model)
    release = release_of_model(model.model_type)
    gated = None if release is None else release.gated_backbone
    return release, gated and (model.model_name or gated)


def _read_trained_tag(folder: Path) -> str | None:
    """None where a checkpoint does not say, as one on the Hub, or was finetuned for several tags."""
    try:
        content = yaml.safe_load((folder / RUN_CONFIG).read_bytes())
        tags = {dataset.embodiment_tag for dataset in _Run.model_validate(content).datasets}
    except (OSError, yaml.YAMLError, ValidationError):
        return None
    return tags.pop() if len(tags) == 1 else None
