"""Statistics that datasets lack, computed before any worker starts."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.stats import check_stats_validity, generate_rel_stats, generate_stats
from gr00t.data.types import ActionRepresentation

from millrace.embodiments import Remedy
from millrace.engine.dataset.metadata import RELATIVE_STATS, STATS
from millrace.engine.layout import META
from millrace.train.dataset_view import view_datasets
from millrace.train.errors import TrainError
from millrace.train.groot.modality_configs import read_run_configs
from millrace.train.settings import FinetuneSettings
from millrace.train.worker import LOGS, redirect_output


def complete_statistics(settings: FinetuneSettings, tell: Callable[[str], None]) -> FinetuneSettings:
    """Provide the statistics that GR00T wants of a run's datasets, before any worker starts.

    Where the installed GR00T would rewrite or not read a dataset's statistics, in a view of it in the run's folder;
    what is still missing GR00T computes and writes into meta/, as training does: there only rank 0 computes, for hours
    where a dataset is large, and the other workers give up waiting for it after the 30 minutes of a barrier.

    Args:
        settings: Of the run.
        tell: Takes a line about each dataset that lacks some.

    Returns:
        The settings with the views; see `FinetuneSettings.groot_path`.

    Raises:
        ConfigError: there is no modality config.
        TrainError: GR00T's own code fails on a dataset.
        DatasetError, RowsError, OutputFailed: a view cannot be made.
        OSError: meta/ cannot be written.
    """
    settings = view_datasets(settings, read_run_configs(settings), tell)
    for dataset, tag in ((path, part.tag) for part in settings.parts for path in part.all_datasets):
        folder = settings.groot_path(dataset)
        if lacking := _lacking(folder, tag):
            tell(f"computing {' and '.join(lacking)} of {dataset}, which may take long; millrace convert writes them")
            with _explain_failure(dataset, log := settings.run_folder / LOGS / "statistics.log"), redirect_output(log):
                generate_stats(folder)
                generate_rel_stats(folder, EmbodimentTag(tag))
    return settings


@contextmanager
def _explain_failure(dataset: Path, log: Path) -> Iterator[None]:
    """Name the dataset where GR00T's code fails on it, with any error of Python, pandas or numpy."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        failed = f"GR00T cannot compute the statistics of {dataset}: {type(error).__name__}: {error} ({log}); "
        advice = Remedy(f"`millrace validate {dataset}` shows what is wrong with it")
        raise TrainError(failed, advice, dataset=dataset, file=log) from error


def _lacking(dataset: Path, tag: str) -> list[str]:
    """The files of statistics that GR00T would write or complete."""
    features = json.loads((dataset / META / "info.json").read_bytes())["features"]
    floats = [name for name, feature in features.items() if "float" in feature["dtype"]]
    action = MODALITY_CONFIGS[tag]["action"]
    reps = zip(action.modality_keys, action.action_configs or (), strict=False)
    relative = {name for name, config in reps if config.rep == ActionRepresentation.RELATIVE}
    file = dataset / RELATIVE_STATS
    stored = json.loads(file.read_bytes()) if file.is_file() else {}
    is_whole = {STATS: check_stats_validity(dataset, floats), RELATIVE_STATS: relative <= set(stored)}
    return [name for name, is_there in is_whole.items() if not is_there]
