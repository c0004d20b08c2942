"""Tags and shares of a run's datasets, by the names of their folders."""

from pathlib import Path
from typing import Any

import pytest

from millrace.embodiments.errors import UnknownName
from millrace.train.errors import SettingsError
from millrace.train.settings import FinetuneSettings

DATASETS = (Path("out/aloha_gr1"), Path("out/g1_box"), Path("more/gr1_pick"))
TAGS = {"aloha_gr1": "GR1", "gr1_pick": "GR1", "g1_box": "UNITREE_G1"}
WEIGHTS = {"g1_box": 0.5, "aloha_gr1": 0.3, "gr1_pick": 0.2}


def settings(**flags: Any) -> FinetuneSettings:
    return FinetuneSettings(**{"datasets": DATASETS, "base_model_path": "base", **flags})


def test_shares_are_given_by_names_in_any_order() -> None:
    assert settings(weights=WEIGHTS).shares == (0.3, 0.5, 0.2)
    assert settings(mix=(0.3, 0.5, 0.2)).shares == (0.3, 0.5, 0.2)
    assert settings().shares == ()


def test_a_run_has_a_part_for_each_tag() -> None:
    parts = settings(tags=TAGS, weights=WEIGHTS).parts
    assert [(part.embodiment_tag, part.datasets) for part in parts] == [
        ("GR1", (DATASETS[0], DATASETS[2])),
        ("UNITREE_G1", (DATASETS[1],)),
    ]
    whole = settings(embodiment_tag="GR1")
    assert whole.parts == (whole,)


def test_a_dataset_that_is_not_named_has_the_runs_tag() -> None:
    (first, second) = settings(tags={"g1_box": "UNITREE_G1"}, weights=WEIGHTS, embodiment_tag="GR1").parts
    assert (first.embodiment_tag, second.embodiment_tag) == ("GR1", "UNITREE_G1")


def test_held_out_episodes_have_the_tag_of_their_dataset() -> None:
    parts = settings(tags=TAGS, weights=WEIGHTS, eval_dataset=Path("out/g1_box_heldout"), eval_steps=5).parts
    assert [part.eval_dataset for part in parts] == [None, Path("out/g1_box_heldout")]
    named = settings(tags={**TAGS, "other": "GR1"}, weights=WEIGHTS, eval_dataset=Path("out/other")).parts
    assert [part.eval_dataset for part in named] == [Path("out/other"), None]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"weights": {"aloha_gr1": 1.0}}, "has no share for g1_box, gr1_pick"),
        ({"weights": {**WEIGHTS, "g1_box": 0.0}}, "each share must be above 0"),
        ({"weights": WEIGHTS, "mix": (1.0, 1.0, 1.0)}, "say the same; pass one of them"),
        ({"tags": TAGS}, "tags=.* needs weights or mix: a share for each"),
        ({"tags": TAGS, "weights": WEIGHTS, "modality_config_path": Path("c.py")}, "cannot be for several tags"),
        (
            {"datasets": (Path("a/x"), Path("b/x")), "weights": {"x": 1.0}},
            "weights: a/x and b/x have the same name; rename one of them",
        ),
        (
            {"tags": TAGS, "weights": WEIGHTS, "eval_dataset": Path("out/other")},
            "other has the tag NEW_EMBODIMENT, which nothing is trained for; name it in tags",
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings(**flags)


@pytest.mark.parametrize("setting", ["weights", "tags"])
def test_a_name_of_no_dataset_is_an_error_that_lists_them(setting: str) -> None:
    values = {"weights": {**WEIGHTS, "g1_bx": 1.0}, "tags": {"g1_bx": "GR1"}}
    with pytest.raises(UnknownName, match=r"'g1_bx' is not a dataset of this run\. Did you mean 'g1_box'"):
        settings(**{setting: values[setting]})
