"""Whether a dataset has what GR00T's own config of a tag takes, by name."""

from collections.abc import Iterable, Iterator

from millrace.engine.dataset.problems import Problem
from millrace.engine.text import join_names
from millrace.engine.validate.modality_json import EPISODE_LANGUAGE
from millrace.train.preflight.data import TrainedDataset
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.settings import FinetuneSettings

# How validate tells of keys that a dataset lacks, with a remedy for configs of the user.
CONFIG_KEYS = "config-keys"


def judge_tag_keys(
    settings: FinetuneSettings, dataset: TrainedDataset, problems: Iterable[Problem]
) -> Iterator[Problem]:
    """The problems of a dataset; for a tag that GR00T has a config for, what it lacks of that as one, with both lists.

    Args:
        settings: Of the run.
        dataset: One of its datasets.
        problems: What validate finds in it.
    """
    release, tag = settings.release, settings.embodiment_tag
    has_own = release.has_config(tag)
    yield from (problem for problem in problems if not (has_own and problem.code == CONFIG_KEYS))
    differences = list(_differences(dataset)) if has_own else []
    if differences:
        message = f"does not fit {release.name}'s config of {tag}: {'; '.join(differences)}"
        yield make_run_problem("tag-keys", message, dataset.path)


def _differences(dataset: TrainedDataset) -> Iterator[str]:
    """For each part of which the dataset lacks a key, the keys of both."""
    modality = dataset.metadata.modality
    if dataset.config is None or modality is None:
        return
    languages = (*EPISODE_LANGUAGE, *(f"annotation.{name}" for name in modality.annotation))
    there: dict[str, Iterable[str]] = {
        "video": modality.video,
        "state": modality.state,
        "action": modality.action,
        "language": languages,
    }
    for part, known in there.items():
        keys = dataset.config.keys(part)
        if not set(keys) <= set(known):
            yield f"{part} of the config {join_names(list(keys), 12)}, of the dataset {join_names(list(known), 12)}"
