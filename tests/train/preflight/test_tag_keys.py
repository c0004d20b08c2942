"""A dataset for a tag that GR00T has a config for must have that config's very keys; the error has both lists."""

from dataclasses import replace
from pathlib import Path

import pytest

from millrace.engine.dataset.modality_config import GrootConfig, GrootModality, read_config
from millrace.engine.dataset.problems import Problem
from millrace.train.preflight.data import TrainedDataset, open_dataset
from millrace.train.preflight.tag_keys import judge_tag_keys
from millrace.train.preflight.trained_robot import TrainedConfig
from support.training_setups import EVERYTHING, settings_of

pytest_plugins = ["support.training_fixtures"]
UNREAD = Problem.of("config-keys", "modality_config.py", "video names front, which modality.json lacks")


@pytest.fixture
def opened(whole: Path) -> TrainedDataset:
    """A dataset, and the config of a tag that it fits."""
    found = open_dataset(whole, TrainedConfig("GR00T", read_config(whole)), EVERYTHING)
    assert found is not None
    return found


def with_keys(dataset: TrainedDataset, **keys: tuple[str, ...]) -> TrainedDataset:
    """The dataset, judged for a config with other keys."""
    assert dataset.config is not None
    changed = {
        part: GrootModality(keys.get(part, modality.modality_keys), modality.delta_indices)
        for part, modality in dataset.config.modalities.items()
    }
    return replace(dataset, config=GrootConfig(changed))


def test_what_differs_is_told_with_the_keys_of_both(opened: TrainedDataset, base: Path) -> None:
    """As many cameras of other names are the ones that GR00T N1.7 takes by their position."""
    settings = settings_of(opened.path, base, gr00t="n1.7", embodiment_tag="LIBERO_PANDA")
    other = with_keys(opened, video=("front",), language=("annotation.human.action.task_description",))
    (found,) = judge_tag_keys(settings, other, [UNREAD])
    assert (found.code, found.severity, found.path) == ("tag-keys", "error", opened.path)
    assert found.message == (
        "does not fit N1.7's config of LIBERO_PANDA: video of the config front, of the dataset top; "
        "language of the config annotation.human.action.task_description, "
        "of the dataset task, sub_task, annotation.human.task_description"
    )
    assert "Train as NEW_EMBODIMENT" in found.remedy


def test_a_dataset_that_fits_has_no_problem(opened: TrainedDataset, base: Path) -> None:
    settings = settings_of(opened.path, base, gr00t="n1.7", embodiment_tag="LIBERO_PANDA")
    assert list(judge_tag_keys(settings, opened, [])) == []
    assert list(judge_tag_keys(settings, with_keys(opened, state=("left_arm",)), [])) == []


def test_a_config_of_the_user_is_judged_by_validate_alone(opened: TrainedDataset, base: Path) -> None:
    settings = settings_of(opened.path, base, gr00t="n1.7")
    assert list(judge_tag_keys(settings, with_keys(opened, video=("front",)), [UNREAD])) == [UNREAD]
