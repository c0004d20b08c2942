"""Views of datasets for one release of GR00T: of a run's datasets, in the run's folder, and of one dataset on demand.

GR00T writes statistics into the datasets that it trains on. Builds of N1.7 since July 2026 compute them again where
fingerprints are missing, and write relative ones in a form at which N1.6 stops.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.groot_view import ViewPlan
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.metadata import RELATIVE_STATS
from millrace.engine.dataset.modality_config import GrootConfig, read_config
from millrace.engine.dataset.releases import Release, Tag
from millrace.engine.dataset.view_statistics import Purpose
from millrace.engine.layout import MODALITY_CONFIG
from millrace.train.errors import ConfigError
from millrace.train.installed import find_installed
from millrace.train.run_folder import VIEWS
from millrace.train.settings import FinetuneSettings

# Of a view's digest, in its folder's name.
DIGITS = 12


def view_datasets(
    settings: FinetuneSettings, configs: Mapping[str, GrootConfig], tell: Callable[[str], None]
) -> FinetuneSettings:
    """Make a view of each dataset of a run that the installed GR00T would rewrite, or stop at.

    A view's folder is named by its content, so that runs, tags and action chunks do not meet, and the same run finds
    its own again.

    Args:
        settings: Of the run, before any worker starts.
        configs: The modality config of each of its tags, by EmbodimentTag's value.
        tell: Takes a line about each dataset whose statistics are computed.

    Returns:
        The settings with the views, from which GR00T reads; see `FinetuneSettings.groot_path`.

    Raises:
        DatasetError, RowsError, OutputFailed: a view cannot be made.
    """
    installed = find_installed()
    has_fingerprints = installed is not None and installed.has_fingerprints
    views: dict[str, str] = {}
    for dataset, tag in ((path, part.tag) for part in settings.parts for path in part.all_datasets):
        if has_fingerprints or _has_relative_fingerprints(dataset):
            plan = ViewPlan.of(dataset, Purpose(configs[tag], tag, has_fingerprints))
            folder = settings.run_folder / VIEWS / f"{dataset.name}-{plan.record.digest[:DIGITS]}"
            if plan.statistics.computed and not folder.is_dir():
                tell(f"computing statistics of {dataset}: {', '.join(plan.statistics.computed)}")
            plan.write(folder)
            views[str(dataset)] = str(folder)
    return replace(settings, views=views)


def _has_relative_fingerprints(dataset: Path) -> bool:
    """Whether a build of N1.7 has trained on a dataset itself: others stop at what it left there."""
    with suppress(OSError, ValueError):
        return FINGERPRINTS in json.loads((dataset / RELATIVE_STATS).read_bytes())
    return False


@dataclass(frozen=True)
class MadeView:
    """A view that was made, or was there.

    left: RELATIVE joint groups whose statistics GR00T computes itself, with the reason.
    """

    has_fingerprints: bool
    computed: tuple[str, ...]
    left: Mapping[str, str]
    is_new: bool


def make_view(
    dataset: Path,
    out: Path,
    *,
    release: Release,
    tag: Tag,
    config: GrootConfig,
    overwrite: bool = False,
    scratch: Path | None = None,
) -> MadeView:
    """Make a view of a dataset for NVIDIA's launcher.

    Args:
        dataset: A GR00T dataset, to which nothing is written.
        out: The folder of the view.
        release: What it is for. Where that is installed, its source tells whether it wants fingerprints.
        tag: One of the release's.
        config: The modality config that is trained.
        overwrite: Replace another view.
        scratch: A folder for temporary files; None for the system's.

    Raises:
        OutputExists, OutputFailed, DatasetError, RowsError: see `ViewPlan`.
    """
    installed, has_fingerprints = find_installed(), release.has_fingerprints
    if installed is not None and installed.release == release:
        has_fingerprints = installed.has_fingerprints
    plan = ViewPlan.of(dataset, Purpose(config, tag.value, has_fingerprints))
    is_new = plan.write(out, overwrite=overwrite, scratch=scratch)
    return MadeView(has_fingerprints, plan.statistics.computed, plan.statistics.left, is_new)


def read_dataset_config(dataset: Path, path: Path | None) -> GrootConfig:
    """A modality config file, by default the dataset's modality_config.py, without running it.

    Raises:
        ConfigError: there is none, or only running it could tell what it says.
    """
    file = dataset / MODALITY_CONFIG if path is None else path
    if not file.is_file():
        advice = Remedy("pass ", Setting("modality_config_path", "FILE"))
        raise ConfigError(f"there is no modality config at {file}; ", advice)
    try:
        return read_config(file.parent, file.name)
    except Unreadable as error:
        raise ConfigError(f"{file}: {error.problem.message}") from error
