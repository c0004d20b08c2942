"""What workers are given, and how it comes back: many episodes at once, and one by one."""

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import LOCAL, files_of, recipe_for, video_path
from engine.convert import Workers, convert, plan_conversion
from engine.output.record import EpisodeResult
from engine.planning.plan import EpisodePlan
from engine.stream import MAX_PART_EPISODES, in_parts
from synthetic import write_dataset
from waylaid import doing, kill, taken, wait_for

SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4}
# The longest come first: one worker's first part is episode 1, then 0.
LENGTHS = (21, 22, *(20,) * 10)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream") / "source"
    write_dataset(root, lengths=LENGTHS)
    return root


@pytest.fixture(scope="module")
def plans(source: Path) -> list[EpisodePlan]:
    planned = plan_conversion(recipe_for(source, **SETTINGS)).episodes
    ordered = sorted(planned, key=lambda plan: -plan.episode.num_frames)
    assert [plan.index for plan in in_parts(ordered, 1)[0]] == [1, 0]
    return ordered


@given(lengths=st.lists(st.integers(1, 5000), max_size=400), num_workers=st.integers(1, 40))
def test_parts_grow_smaller_and_lose_nothing(plans: list[EpisodePlan], lengths: list[int], num_workers: int) -> None:
    wanted = [
        replace(plans[0], index=index, episode=replace(plans[0].episode, num_frames=length))
        for index, length in enumerate(lengths)
    ]
    parts = in_parts(wanted, num_workers)
    assert [plan for part in parts for plan in part] == wanted
    left = sum(lengths)
    for part in parts:
        num_frames = sum(plan.episode.num_frames for plan in part)
        assert 1 <= len(part) <= MAX_PART_EPISODES
        assert len(part) == 1 or num_frames <= left / (4 * num_workers)
        left -= num_frames


def test_one_huge_episode_is_a_part_of_its_own(plans: list[EpisodePlan]) -> None:
    lengths = [100_000] * 3 + [100] * 97
    wanted = [replace(plans[0], episode=replace(plans[0].episode, num_frames=length)) for length in lengths]
    assert [len(part) for part in in_parts(wanted, 2)[:3]] == [1, 1, 1]


def test_each_result_comes_before_the_rest_of_its_part_is_done(
    source: Path, plans: list[EpisodePlan], tmp_path: Path
) -> None:
    first, second = plans[0].index, plans[1].index
    out, told, was_done = tmp_path / "out", tmp_path / "told", []

    def on_result(result: EpisodeResult) -> None:
        if result.index == first:
            was_done.append(video_path(out, second).exists())
            told.write_text("\n")

    with doing(source, out, [partial(wait_for, told, 1)], camera="top") as done:
        convert(recipe_for(source, **SETTINGS), out, workers=Workers(num=1), on_result=on_result)
    assert len(taken(done)) == 1
    assert was_done == [False]


def test_a_worker_that_dies_in_a_part_gives_each_result_once(source: Path, tmp_path: Path) -> None:
    convert(recipe_for(source, **SETTINGS), tmp_path / "undisturbed", workers=LOCAL)
    out, indices = tmp_path / "out", []
    deeds = [partial(kill, signal.SIGKILL), partial(kill, signal.SIGSEGV)]
    with doing(source, out, deeds, camera="top") as done:
        convert(
            recipe_for(source, **SETTINGS),
            out,
            workers=Workers(num=1),
            on_result=lambda result: indices.append(result.index),
        )
    assert len(taken(done)) == len(deeds)
    assert sorted(indices) == list(range(len(LENGTHS)))
    assert files_of(out) == files_of(tmp_path / "undisturbed")
