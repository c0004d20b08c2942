"""What an evaluation needs, as far as it is known before the checkpoints and the dataset are made."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from millrace.embodiments import MillraceError, Remedy
from millrace.train.checkpoint import Checkpoint
from millrace.train.errors import ConfigError, GpuMissing, SettingsError
from millrace.train.evaluate_settings import EvaluateSettings
from millrace.train.installed import choose_release, require_groot
from millrace.train.preflight.backbone import why_no_backbone
from millrace.train.preflight.gpus import probe_gpus
from millrace.train.training_dataset import TrainingDataset


def evaluation_problems(
    settings: EvaluateSettings, checkpoints: Sequence[str], dataset: Path | None, *, draws: bool
) -> Iterator[str]:
    """What an evaluation lacks, a line for each.

    Args:
        settings: Its settings.
        checkpoints: Those of it that must be there already.
        dataset: Its dataset, where that must be there already.
        draws: Whether it draws plots.
    """
    checks: list[Callable[[], object]] = [partial(require_groot, settings.gr00t), partial(_check_gpus, settings)]
    checks += [partial(check_module, path) for path in settings.import_module]
    checks += [partial(check_backbone, name) for name in checkpoints]
    checks += [partial(_check_tag, settings)]
    checks += [] if dataset is None else [partial(TrainingDataset.open, dataset)]
    checks += [_check_plots] if draws else []
    for check in checks:
        try:
            check()
        except MillraceError as error:
            yield str(error)


def check_backbone(checkpoint: str) -> None:
    """Check that the model that GR00T loads beside a checkpoint is within reach, before minutes of loading.

    Raises:
        ConfigError: it is not, or the checkpoint is none.
    """
    backbone = Checkpoint.open(checkpoint).backbone
    if backbone is not None and (found := why_no_backbone(backbone)) is not None:
        raise ConfigError(f"{checkpoint}: {found.why}. {found.remedy}")


def _check_gpus(settings: EvaluateSettings) -> None:
    if settings.cpu or settings.address or settings.server is not None:
        return
    gpus = probe_gpus(os.environ)
    if len(gpus.cards) < max(settings.num_gpus, 1):
        why = f" ({gpus.why_fewer})" if gpus.why_fewer else ""
        raise GpuMissing(
            f"--num-gpus {settings.num_gpus}: this machine has {len(gpus.cards) or 'no GPU'}{why}. ",
            Remedy("To evaluate on CPUs pass --cpu"),
        )


def _check_tag(settings: EvaluateSettings) -> None:
    release = choose_release(settings.gr00t)
    tag = settings.embodiment_tag
    if release is not None and tag is not None and release.find_tag(tag) is None:
        raise ConfigError(f"--embodiment-tag {release.describe_unknown_tag(tag)}")


def check_module(path: Path) -> None:
    """Check that a file that is to be imported is there.

    Raises:
        ConfigError: it is not.
    """
    if not path.is_file():
        raise ConfigError(f"--import-module {path}: there is no such file")


def _check_plots() -> None:
    if find_spec("matplotlib") is None:
        raise SettingsError("--plots needs matplotlib: ", Remedy("pip install matplotlib"))
