"""Do the statistics of the base model, where --no-override-pretraining-statistics keeps them, fit what is trained?"""

from collections.abc import Iterator, Mapping

from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.problems import Problem
from millrace.train.checkpoint_files import checkpoint_files
from millrace.train.checkpoint_statistics import STATISTICS, read_widths
from millrace.train.errors import ConfigError
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.preflight.data import TrainedDataset
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.settings import FinetuneSettings


def kept_statistics_problems(
    settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint
) -> Iterator[Problem]:
    """Whether the base model's statistics, where the run keeps them, are of the joints that it trains."""
    if settings.override_pretraining_statistics or dataset.config is None:
        return
    try:
        known = read_widths(base.name).get(settings.tag) if checkpoint_files(base.name).path(STATISTICS) else None
    except ConfigError as error:
        yield make_run_problem("base-statistics", str(error))
        return
    # GR00T takes the dataset's where the base model has none for the tag.
    lacking = [] if known is None else list(_lacking(known, dataset.config, dataset))
    if lacking:
        tag = settings.embodiment_tag
        message = f"--no-override-pretraining-statistics keeps those of {base.name} for {tag}: {', '.join(lacking)}"
        yield make_run_problem("base-statistics", message)


def _lacking(known: Mapping[str, Mapping[str, int]], config: GrootConfig, dataset: TrainedDataset) -> Iterator[str]:
    """What of the trained joints the statistics have not, or otherwise."""
    modality = dataset.metadata.modality
    for part, groups in ({} if modality is None else modality.groups).items():
        for name in (name for name in config.keys(part) if name in groups):
            found, wanted = known.get(part, {}).get(name), groups[name].width
            if found != wanted:
                yield f"no {part} {name}" if found is None else f"{part} {name} of {found} values, not {wanted}"
    for name in config.relative:
        found = known.get("relative_action", {}).get(name)
        if found != config.horizon:
            of = "" if found is None else f" of {config.horizon} steps, but of {found}"
            yield f"no relative action {name}{of}"
