"""Episodes, frames and tasks are numbered, joints and cameras found by name, before any row is read."""

import pickle
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LENGTHS, recipe_for
from millrace.embodiments.errors import MillraceError, UnknownName
from millrace.engine.convert import plan_conversion
from millrace.engine.errors import CannotUpsample, DatasetError, RecipeError
from millrace.engine.planning.numbering import remove_unused_tasks
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import check_recipe
from millrace.engine.planning.resample import frame_indices
from support.synthetic import ALOHA_JOINTS, ExtraColumn, edit_jsonl, write_dataset


def plan_for(source: Path, **settings: Any) -> ConversionPlan:
    return plan_conversion(recipe_for(source, **settings))


def num_output_frames(lengths: Sequence[int], source_fps: int = 50) -> list[int]:
    source, target = Fraction(source_fps), Fraction(20)
    return [len(frame_indices(length, source_fps=source, target_fps=target)) for length in lengths]


def test_episodes_and_frames_are_numbered_through(aloha: Path) -> None:
    plan = plan_for(aloha)
    lengths = num_output_frames(LENGTHS)
    assert [episode.index for episode in plan.episodes] == [0, 1, 2]
    assert [episode.num_frames for episode in plan.episodes] == lengths
    assert [episode.first_index for episode in plan.episodes] == [0, lengths[0], lengths[0] + lengths[1]]
    assert plan.num_frames == sum(lengths)


def test_planning_reads_only_metadata(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS)
    for path in (*tmp_path.glob("data/**/*.parquet"), *tmp_path.glob("videos/**/*.mp4")):
        path.write_bytes(b"")
    assert len(plan_for(tmp_path).episodes) == 3


def test_plans_travel_to_workers(aloha: Path) -> None:
    plan = plan_for(aloha)
    assert pickle.loads(pickle.dumps(plan.episodes)) == plan.episodes
    assert pickle.loads(pickle.dumps(plan.job)).video == plan.job.video


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ("0:2", [0, 1]),
        ("1:", [1, 2]),
        (":", [0, 1, 2]),
        ("2", [2]),
        ("2,0", [2, 0]),
        ("1,2,0:1", [1, 2, 0]),
    ],
)
def test_some_episodes_are_chosen_and_numbered_anew(aloha: Path, selection: str, chosen: list[int]) -> None:
    plan = plan_for(aloha, episodes=selection, horizon=4)
    assert [episode.episode.index for episode in plan.episodes] == chosen
    assert [episode.index for episode in plan.episodes] == list(range(len(chosen)))


def test_a_hole_in_the_numbering_is_no_error_within_a_range(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS)
    edit_jsonl(tmp_path / "meta/episodes.jsonl", lambda rows: [rows[0], rows[2]])
    assert [episode.episode.index for episode in plan_for(tmp_path, episodes="0:3").episodes] == [0, 2]


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ("7", "episodes=7: .* has no episode 7"),
        ("2:1", "episodes='2:1' selects none of the 3"),
        ("9:", "has no episode 9; it has 3, the last is 2"),
    ],
)
def test_a_selection_of_nothing_is_an_error(aloha: Path, selection: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        plan_for(aloha, episodes=selection)


def test_tasks_are_numbered_by_first_appearance(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, tasks=["fold", ["grasp", "lift"], "stack"])
    plan = plan_for(tmp_path, episodes="2,1", horizon=4)
    assert plan.tasks == ("stack", "grasp", "lift", "fold")  # the last only in case that rows name it
    assert plan.job.bindings[0].tasks == {0: 3, 1: 1, 2: 2, 3: 0}
    plan = remove_unused_tasks(plan, ())
    assert plan.tasks == ("stack", "grasp", "lift")
    assert plan.job.bindings[0].tasks == {1: 1, 2: 2, 3: 0}


def test_a_task_of_the_recipe_overrides_the_sources(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, tasks=["fold", ["grasp", "lift"], "stack"])
    plan = plan_for(tmp_path, task="Tidy up.")
    assert plan.tasks == ("Tidy up.",)
    assert {episode.task_index for episode in plan.episodes} == {0}
    assert plan.job.bindings[0].tasks is None


def forget_tasks(root: Path) -> None:
    edit_jsonl(root / "meta/tasks.jsonl", lambda rows: [])
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [{**row, "tasks": []} for row in rows])


def test_a_source_without_tasks_needs_one(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS)
    forget_tasks(tmp_path)
    with pytest.raises(RecipeError, match=r"names no task for episode 0; say what the robot does there: task='Pick"):
        plan_for(tmp_path)
    assert plan_for(tmp_path, task="Tidy up.").tasks == ("Tidy up.",)


def test_an_empty_text_is_no_task(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=LENGTHS, tasks=["fold", " ", "fold"])
    with pytest.raises(RecipeError, match="names no task for episode 1"):
        plan_for(tmp_path)


def test_the_rate_of_the_source_may_be_kept(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(20,), fps=Fraction(30000, 1001))
    plan = plan_for(tmp_path, fps="source")
    assert plan.job.video.fps == Fraction(30000, 1001)
    assert plan.episodes[0].num_frames == 20


def test_upsampling_is_refused_before_any_work(aloha: Path) -> None:
    with pytest.raises(CannotUpsample, match="cannot make 60 Hz from 50 Hz"):
        plan_for(aloha, fps=60)


def test_an_episode_that_would_vanish_is_an_error(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(60, 2))
    with pytest.raises(DatasetError, match=r"episode 1 of .* has 2 frames, none left at 20 Hz; leave it out"):
        plan_for(tmp_path, resample="linspace")


def test_the_horizon_is_the_robots_unless_it_is_asked_for(aloha: Path) -> None:
    assert plan_for(aloha).horizon == 16
    assert plan_for(aloha, horizon=5).horizon == 5


def test_a_horizon_longer_than_every_episode_is_an_error(aloha: Path) -> None:
    longest = max(num_output_frames(LENGTHS))
    with pytest.raises(
        RecipeError, match=rf"has 40 steps, but the longest episode {longest} frames.*horizon={longest}"
    ):
        plan_for(aloha, horizon=40)


@pytest.mark.parametrize("shape", ["motors", "nested", "flat"])
def test_joints_named_in_the_robots_order_stay_where_they_are(tmp_path: Path, shape: str) -> None:
    write_dataset(tmp_path, lengths=(60,), names=shape)
    binding = plan_for(tmp_path).job.bindings[0]
    assert (binding.state.by, binding.action.by) == (("name",), ("name",))
    np.testing.assert_array_equal(binding.state.gather, np.arange(14))


def test_joints_named_in_another_order_are_reordered(tmp_path: Path) -> None:
    # Right arm first, as some ALOHA datasets have it.
    names = [*ALOHA_JOINTS[7:], *ALOHA_JOINTS[:7]]
    write_dataset(tmp_path, lengths=(60,), names={"motors": names})
    plan = plan_for(tmp_path)
    np.testing.assert_array_equal(plan.job.bindings[0].state.gather, [names.index(joint) for joint in ALOHA_JOINTS])
    np.testing.assert_array_equal(plan.job.bindings[0].action.gather, plan.job.bindings[0].state.gather)
    assert not [note for note in plan.notes if "position" in note]


@pytest.mark.parametrize("names", [None, [f"motor_{i}" for i in range(14)], {"motors": [f"{i}" for i in range(14)]}])
def test_joints_without_names_are_taken_by_position_and_it_is_said(tmp_path: Path, names: Any) -> None:
    write_dataset(tmp_path, lengths=(60,), names=names)
    plan = plan_for(tmp_path)
    np.testing.assert_array_equal(plan.job.bindings[0].state.gather, np.arange(14))
    notes = [note for note in plan.notes if "position" in note]
    assert len(notes) == 2
    assert "'observation.state' names no joints; they were taken by position, in the order of robot 'aloha'" in notes[0]


def test_joints_that_do_not_fit_are_an_error_with_both_lists(tmp_path: Path) -> None:
    names = ["knee", *ALOHA_JOINTS[1:]]
    write_dataset(tmp_path, lengths=(60,), names=names)
    with pytest.raises(DatasetError, match=r"column 'observation\.state' against robot 'aloha'") as caught:
        plan_for(tmp_path)
    assert "it lacks left_waist" in str(caught.value)
    assert f"Source: {', '.join(names)}" in str(caught.value)
    assert f"Robot: {', '.join(ALOHA_JOINTS)}" in str(caught.value)


def test_too_few_joints_without_names_are_an_error(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(60,), state_width=12)
    with pytest.raises(DatasetError, match="12 columns cannot be 14 joints"):
        plan_for(tmp_path)


def test_a_missing_column_lists_those_that_exist(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(60,), parts={"observation.arm": list(ALOHA_JOINTS), "action": list(ALOHA_JOINTS)})
    with pytest.raises(DatasetError, match=r"no column 'observation\.state' of joints.*Known: .*observation\.arm"):
        plan_for(tmp_path)


def test_a_camera_may_have_another_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(60,), cameras=("cam_low", "cam_high"))
    with pytest.raises(
        DatasetError, match=r"'top' is not a camera of .*Known: cam_low, cam_high.*cameras={'ego_view': 'NAME'}"
    ):
        plan_for(tmp_path)
    assert plan_for(tmp_path, cameras={"ego_view": "cam_high"}).job.bindings[0].cameras == {"ego_view": "cam_high"}


def test_a_camera_may_be_named_by_its_column(aloha: Path) -> None:
    plan = plan_for(aloha, cameras={"ego_view": "observation.images.top"})
    assert plan.job.bindings[0].cameras == {"ego_view": "top"}


def test_a_camera_that_the_robot_lacks_is_an_error(aloha: Path) -> None:
    with pytest.raises(UnknownName, match=r"'egoview' is not a camera of robot 'gr1'\. Did you mean 'ego_view'\?"):
        plan_for(aloha, cameras={"egoview": "top"})


def test_a_robot_that_is_kept_keeps_its_cameras(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(60,), cameras=("top", "wrist"))
    assert plan_for(tmp_path, robot="aloha").cameras == ("top", "wrist")
    assert plan_for(tmp_path, robot="aloha", cameras={"front": "top"}).cameras == ("wrist", "front")


@pytest.mark.parametrize("settings", [{"map": "aloha_to_gr"}, {"robot": "alohaa"}])
def test_an_unknown_map_or_robot_lists_those_that_exist(aloha: Path, settings: dict[str, str]) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'aloha.*Known: aloha"):
        plan_for(aloha, **settings)


def test_columns_that_nothing_asked_for_are_listed(tmp_path: Path) -> None:
    extra = {"next.reward": ExtraColumn(lambda episode, frames: frames.astype(np.float32))}
    write_dataset(tmp_path, lengths=(60,), cameras=("top", "wrist"), extra_columns=extra)
    assert plan_for(tmp_path).dropped == ("observation.images.wrist",)
    found = plan_for(tmp_path, without_columns=["next.reward"])
    assert sorted(found.dropped) == ["next.reward", "observation.images.wrist"]


def test_groups_that_the_map_leaves_unused_are_said(tmp_path: Path) -> None:
    (tmp_path / "left_only.yaml").write_text(
        "name: left_only\nsource: aloha\ntarget: aloha\ncameras: {top: top}\ngroups:\n"
        "  left_arm: {copy: left_arm}\n  left_gripper: {copy: left_gripper}\n  right_arm: rest\n  right_gripper: rest\n"
    )
    write_dataset(tmp_path / "source", lengths=(60,))
    plan = plan_for(tmp_path / "source", map=str(tmp_path / "left_only.yaml"))
    assert any("the map leaves right_arm, right_gripper unused" in note for note in plan.notes)


@pytest.fixture
def two_sources(tmp_path: Path) -> list[dict[str, Any]]:
    """At 50 and at 30 Hz; they share a task."""
    write_dataset(tmp_path / "a", lengths=(60, 50), tasks=["fold", "stack"])
    write_dataset(tmp_path / "b", lengths=(40,), fps=30, tasks=["stack"])
    return [{"path": tmp_path / name, "map": "aloha_to_gr1"} for name in ("a", "b")]


def test_several_sources_are_numbered_one_after_the_other(two_sources: list[dict[str, Any]]) -> None:
    plan = plan_conversion(check_recipe({"sources": two_sources}))
    assert [(episode.index, episode.binding, episode.episode.index) for episode in plan.episodes] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
    ]
    assert [episode.num_frames for episode in plan.episodes] == [
        *num_output_frames((60, 50)),
        *num_output_frames((40,), source_fps=30),
    ]
    assert plan.tasks == ("fold", "stack")
    assert [binding.tasks for binding in plan.job.bindings] == [{0: 0, 1: 1}, {0: 1}]
    assert plan.episodes[2].task_index == 1


def test_several_sources_have_no_common_rate_of_their_own(two_sources: list[dict[str, Any]]) -> None:
    with pytest.raises(RecipeError, match=r"fps='source' needs sources of one rate, got .*/a: 50, .*/b: 30"):
        plan_conversion(check_recipe({"sources": two_sources, "fps": "source"}))


def test_a_rate_above_that_of_one_source_is_upsampling(two_sources: list[dict[str, Any]]) -> None:
    with pytest.raises(CannotUpsample, match="cannot make 40 Hz from 30 Hz"):
        plan_conversion(check_recipe({"sources": two_sources, "fps": 40}))


def test_sources_that_lead_to_different_robots_are_an_error(two_sources: list[dict[str, Any]]) -> None:
    one, other = two_sources
    with pytest.raises(MillraceError, match=r"gr1.*aloha|aloha.*gr1"):
        plan_conversion(check_recipe({"sources": [one, {**other, "map": None}], "robot": "aloha"}))


def test_sources_with_different_cameras_are_an_error(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(60,), cameras=("top",))
    write_dataset(tmp_path / "b", lengths=(60,), cameras=("top", "wrist"))
    sources = [{"path": tmp_path / name} for name in ("a", "b")]
    with pytest.raises(MillraceError, match="wrist"):
        plan_conversion(check_recipe({"sources": sources, "robot": "aloha"}))


def test_episode_too_long_for_lerobots_timestamps_is_noted(tmp_path: Path) -> None:
    """float32 is coarser than LeRobot's tolerance from 2048 s on; GR00T reads no timestamps."""
    write_dataset(tmp_path, lengths=(30, 30, 30), fps=20)
    edit_jsonl(tmp_path / "meta/episodes.jsonl", lambda lines: lines[1].update(length=50_000))
    (note,) = (note for note in plan_for(tmp_path).notes if "LeRobot" in note)
    assert "1 episodes are longer than 2048 s (of the source: 1 (2500 s))" in note
    assert "tolerance_s=1e-3, or leave them out by episodes" in note
    assert not any("LeRobot" in note for note in plan_for(tmp_path, episodes="0,2").notes)
