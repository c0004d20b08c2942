"""A filter's settings are read as people write them, and tasks fit as they expect."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import recipe_for
from millrace.engine.convert import plan_conversion
from millrace.engine.errors import MillraceError, RecipeError
from millrace.engine.planning.episode_filter import task_fits
from millrace.engine.planning.filter_settings import EpisodeFilter
from support.synthetic import write_dataset

TASKS = ["Pick the cube.", "Open the drawer [left].", "Pour water."]


def plan_for(source: Path, **chosen: Any) -> Any:
    return plan_conversion(recipe_for(source, robot="aloha", horizon=1, filter=chosen))


def kept(source: Path, **chosen: Any) -> list[int]:
    return [episode.episode.index for episode in plan_for(source, **chosen).episodes]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of 1 s, 1.5 s and 2 s, each of another task."""
    root = tmp_path_factory.mktemp("filter") / "source"
    write_dataset(root, lengths=(50, 75, 100), tasks=TASKS)
    return root


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"min_length": "1.5s"}, [1, 2]),  # as long as that is not shorter
        ({"min_length": 1.51}, [2]),
        ({"max_length": "1500ms"}, [0, 1]),
        ({"min_length": 1.2, "max_length": 1.8}, [1]),
        ({"tasks": "Pour water."}, [2]),
        ({"tasks": ["P*"]}, [0, 2]),
        ({"tasks": ["Open the drawer [left]."]}, [1]),  # a task is no pattern of its own
        ({"tasks": ["re:(cube|water)"]}, [0, 2]),
        ({"tasks": {"exclude": ["*water*"]}}, [0, 1]),
        ({"tasks": {"include": ["P*"], "exclude": ["Pour *"]}}, [0]),
        ({"tasks": "P*", "min_length": "2s"}, [2]),
    ],
)
def test_metadata_decides_lengths_and_tasks(source: Path, chosen: dict[str, Any], expected: list[int]) -> None:
    assert kept(source, **chosen) == expected


@given(st.decimals(0, 3600, places=9))
def test_durations_are_recorded_to_the_last_digit(seconds: Decimal) -> None:
    chosen = EpisodeFilter(min_length=f"{seconds:f}s")
    assert EpisodeFilter(**chosen.model_dump(mode="json")).min_length == Fraction(seconds)


def test_each_episode_that_is_left_out_has_its_reason(source: Path) -> None:
    plan = plan_for(source, min_length="1.2s", tasks={"exclude": ["Pour*"]})
    assert [(one.source_episode, one.code.value, str(one.reason)) for one in plan.filtered] == [
        (0, "filtered", "it is 1 s long (min_length 1.2s)"),
        (2, "filtered", "its task is 'Pour water.', which 'Pour*' excludes"),
    ]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"min_length": "3s"},
            r"leaves no episode of .*source: 3 are left out, such as 0: it is 1 s long \(min_length 3s\); widen",
        ),
        (
            {"tasks": "Pour watr."},
            r"'Pour watr\.' is not a task of .*source\. Did you mean 'Pour water\.'\?",
        ),
        (
            {"tasks": {"exclude": ["Fold*"]}},
            r"'Fold\*' fits no task of the sources\. Known: Pick the cube\., Open the drawer",
        ),
        ({"tasks": "re:("}, r"'re:\(' is no regular expression"),
        ({"min_length": "2s", "max_length": "1s"}, r"no episode is at least 2 s and at most 1 s; swap the two"),
        ({"max_idle": 1.5}, r"takes a share of the episode between 0 and 1, such as 0\.5 or 50%, not 1\.5"),
        ({"min_motion": {"left_arm": 0}}, r"left_arm.*takes an amount above 0 in the joints' unit, not 0"),
        ({"max_jerk": {"left_amr": 9}}, r"'left_amr' is not a joint group of 'aloha'\. Did you mean 'left_arm'\?"),
        ({"min_lenght": "2s"}, r"min_lenght"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: Path, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(MillraceError, match=message):
        plan_for(source, **chosen)


def test_shares_and_amounts_are_read() -> None:
    chosen = EpisodeFilter.model_validate({"max_idle": "50%", "min_motion": "0.1", "max_jerk": {"left_arm": "200"}})
    assert (chosen.max_idle, chosen.min_motion, chosen.max_jerk) == (Fraction(1, 2), 0.1, {"left_arm": 200.0})
    assert EpisodeFilter.model_validate(chosen.model_dump(mode="json")) == chosen


def test_a_source_may_have_a_filter_of_its_own_or_none(source: Path) -> None:
    recipe = recipe_for(source, robot="aloha", horizon=1, filter={"min_length": "2s"})
    own = recipe.sources[0].model_copy(update={"filter": "none"})
    assert len(plan_conversion(recipe.model_copy(update={"sources": (own,)})).episodes) == 3


@given(text=st.text(min_size=1, max_size=20))
def test_every_task_fits_itself(text: str) -> None:
    assert task_fits(text, text) or text.startswith("re:")
    assert task_fits("*", text)


def test_no_filter_is_no_setting() -> None:
    assert recipe_for("source").filter is None  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r'filter: takes keys such as min_length: 2s, or "none", not 3'):
        recipe_for("source", filter=3)  # type: ignore[arg-type]
