"""Sources of any layout, rate, size, camera, codec and task become one dataset; every frame is where it should be."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from conftest import (
    IMAGE_SIZE,
    LOCAL,
    REPOSITORY,
    files_of,
    matrix,
    read_meta,
    read_table,
    video_path,
)
from millrace.embodiments.errors import MillraceError, UnknownName
from millrace.engine.convert import Workers, convert, plan_conversion
from millrace.engine.errors import CannotUpsample, EpisodesFailed, RecipeError
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.planning.recipe_file import read_recipe
from millrace.engine.planning.resample import frame_indices
from millrace.engine.validate import validate
from support.barcode import Stamp
from support.many_sources import num_episodes, write_many
from support.synthetic import (
    ALOHA_JOINTS,
    SyntheticVideo,
    edit_jsonl,
    expected_action,
    expected_state,
    read_stamps,
    read_video,
    write_dataset,
)

Result = TypeVar("Result")

H264 = SyntheticVideo(codec="libx264", gop=250, bframes=3, height=80, width=64)
FITTING = SyntheticVideo(codec="libx264", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE)
SWAPPED = [*ALOHA_JOINTS[7:], *ALOHA_JOINTS[:7]]


def recipe(*sources: dict[str, Any], **settings: Any) -> Recipe:
    fixed = {"image_size": IMAGE_SIZE, "crop": "center", "robot": "aloha", "horizon": 4}
    return check_recipe({"sources": sources, **fixed, **settings})


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders v3, v21, v1, images: other layouts, rates, sizes, codecs, joint orders and tasks."""
    root = tmp_path_factory.mktemp("mixed")
    write_dataset(root / "v3", version="v3.0", lengths=(41, 33), tasks=["fold", "stack"], cameras=("top", "wrist"))
    write_dataset(root / "v21", lengths=(50,), fps=30, video=H264, tasks="stack", names={"motors": SWAPPED})
    write_dataset(root / "v1", version="v1.6", lengths=(30, 21), fps=Fraction(25), cameras=("cam",))
    write_dataset(root / "images", lengths=(24,), fps=20, images_as="image", tasks="fold")
    write_dataset(root / "fitting", lengths=(28,), fps=20, video=FITTING, tasks="stack")
    return root


def whole(mixed: Path) -> Recipe:
    """All of them, in an order that is not that of their names."""
    return recipe(
        {"path": mixed / "v3", "episodes": "1,0"},
        {"path": mixed / "images", "task": {"fold": "Fold it."}},
        {"path": mixed / "v1", "task": "Wave.", "cameras": {"top": "cam"}},
        {"path": mixed / "v21"},
        {"path": mixed / "fitting"},
        cameras=["top"],
    )


@pytest.fixture(scope="module")
def out(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combined") / "out"
    convert(whole(mixed), folder, workers=LOCAL)
    return folder


# Of each output episode: its source, that one's episode, its frames and rate, and its task.
EXPECTED = [
    ("v3", 1, 33, 50, "stack"),
    ("v3", 0, 41, 50, "fold"),
    ("images", 0, 24, 20, "Fold it."),
    ("v1", 0, 30, 25, "Wave."),
    ("v1", 1, 21, 25, "Wave."),
    ("v21", 0, 50, 30, "stack"),
    ("fitting", 0, 28, 20, "stack"),
]


def test_every_frame_of_every_source_is_where_it_should_be(out: Path) -> None:
    for index, (source, episode, length, fps, _) in enumerate(EXPECTED):
        chosen = frame_indices(length, source_fps=Fraction(fps), target_fps=Fraction(20))
        assert read_stamps(video_path(out, index)) == [Stamp(frame, episode) for frame in chosen.tolist()], source
        rows = read_table(out, index)
        order = [SWAPPED.index(joint) for joint in ALOHA_JOINTS] if source == "v21" else range(14)
        state, action = expected_state(episode, chosen)[:, order], expected_action(episode, chosen)[:, order]
        np.testing.assert_array_equal(matrix(rows, "observation.state"), state)
        np.testing.assert_array_equal(matrix(rows, "action"), action)
        assert rows["timestamp"].to_pylist() == pytest.approx((np.arange(len(chosen)) / 20).tolist(), abs=1e-6)


def test_tasks_are_merged_without_doubles(out: Path) -> None:
    tasks = [line["task"] for line in read_meta(out, "tasks.jsonl")]
    assert tasks == ["stack", "fold", "Fold it.", "Wave."]
    for index, (*_, task) in enumerate(EXPECTED):
        assert set(read_table(out, index)["task_index"].to_pylist()) == {tasks.index(task)}
        assert read_meta(out, "episodes.jsonl")[index]["tasks"] == [task]


def test_the_lineage_of_every_episode_is_kept(out: Path, mixed: Path) -> None:
    episodes = json.loads((out / "millrace.json").read_text())["episodes"]
    assert [line["copied"] for line in episodes] == [[]] * 6 + [["top"]]
    found = [(line["source"], line["revision"], line["source_episode"]) for line in episodes]
    assert found == [(source, None, episode) for source, episode, *_ in EXPECTED]


def test_the_whole_is_a_sound_dataset(out: Path) -> None:
    report = validate(out, deep=True)
    assert report.is_valid, report.problems
    assert read_meta(out, "info.json")["total_episodes"] == len(EXPECTED)


def test_the_same_bytes_from_workers_and_after_a_stop(mixed: Path, out: Path, tmp_path: Path) -> None:
    convert(whole(mixed), tmp_path / "workers", workers=Workers(num=2))
    assert files_of(tmp_path / "workers") == files_of(out)
    results: list[object] = []

    def stop(result: object) -> None:
        results.append(result)
        if len(results) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(whole(mixed), tmp_path / "stopped", workers=LOCAL, on_result=stop)
    summary = convert(whole(mixed), tmp_path / "stopped", workers=LOCAL)
    assert summary.num_resumed == 3
    assert files_of(tmp_path / "stopped") == files_of(out)


def test_a_source_that_lies_about_its_rate_is_corrected(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40,), fps=20)
    convert(recipe({"path": tmp_path / "source", "fps": 40}), tmp_path / "out", workers=LOCAL)
    assert read_stamps(video_path(tmp_path / "out", 0)) == [Stamp(frame) for frame in range(0, 40, 2)]
    assert read_meta(tmp_path / "out", "info.json")["fps"] == 20


def test_a_corrected_rate_may_be_too_low(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40,), fps=30)
    with pytest.raises(CannotUpsample, match="20 Hz from 10 Hz"):
        plan_conversion(recipe({"path": tmp_path / "source", "fps": 10}))


def test_an_untasked_episode_takes_its_own_sources_only_task(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", lengths=(40,), tasks="fold")
    write_dataset(tmp_path / "b", lengths=(40,), tasks="stack", info_overrides={})
    edit_jsonl(tmp_path / "b/meta/episodes.jsonl", lambda rows: [{**row, "tasks": []} for row in rows])
    plan = plan_conversion(recipe({"path": tmp_path / "a"}, {"path": tmp_path / "b"}))
    assert [plan.tasks[episode.task_index] for episode in plan.episodes] == ["fold", "stack"]


def test_a_missing_camera_is_an_error_that_says_what_may_be_done(mixed: Path) -> None:
    with pytest.raises(RecipeError, match=r"v21 gives no camera 'wrist'.*black_cameras: \[wrist\].*under `cameras:`"):
        plan_conversion(recipe({"path": mixed / "v3"}, {"path": mixed / "v21"}))


def test_a_camera_that_is_to_be_black_is_black(mixed: Path, tmp_path: Path) -> None:
    sources = ({"path": mixed / "v21", "black_cameras": ["wrist"]}, {"path": mixed / "v3", "episodes": 0})
    convert(recipe(*sources), tmp_path / "out", workers=LOCAL)
    black = read_video(video_path(tmp_path / "out", 0, "wrist"))
    assert len(black) == len(read_table(tmp_path / "out", 0))
    assert np.max(black) <= 1
    assert read_stamps(video_path(tmp_path / "out", 1, "wrist"))[1] == Stamp(2, 0, 1)
    stats = read_meta(tmp_path / "out", "episodes_stats.jsonl")[0]["stats"]["observation.images.wrist"]
    assert np.max(stats["max"]) <= 1 / 255
    assert validate(tmp_path / "out", deep=True).is_valid


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"black_cameras": ["wrst"]}, r"'wrst' is not a camera of the output\. Did you mean 'wrist'\?"),
        ({"black_cameras": ["wrist"], "cameras": {"wrist": "top"}}, "'wrist' is to be black, and to come from 'top'"),
    ],
)
def test_a_black_camera_must_be_one_that_is_missing(mixed: Path, source: dict[str, Any], told: str) -> None:
    with pytest.raises(MillraceError, match=told):
        plan_conversion(recipe({"path": mixed / "v3"}, {"path": mixed / "v21", **source}))


def test_a_camera_that_no_source_gives_is_an_error(mixed: Path) -> None:
    with pytest.raises(RecipeError, match="no source gives the camera 'wrst'"):
        plan_conversion(recipe({"path": mixed / "v3", "black_cameras": ["wrst"]}, cameras=["top", "wrst"]))


def test_an_unknown_task_cannot_be_rewritten(mixed: Path) -> None:
    with pytest.raises(UnknownName, match=r"'fold' is not a task of .*v21.*Known: stack"):
        plan_conversion(recipe({"path": mixed / "v21", "task": {"fold": "Fold it."}}))


def test_groups_that_only_one_source_moves_are_not_trained(tmp_path: Path) -> None:
    (tmp_path / "left_only.yaml").write_text(
        "name: left_only\nsource: aloha\ntarget: aloha\ncameras: {top: top}\ngroups:\n"
        "  left_arm: {copy: left_arm}\n  left_gripper: {copy: left_gripper}\n  right_arm: rest\n  right_gripper: rest\n"
    )
    for name in ("a", "b"):
        write_dataset(tmp_path / name, lengths=(40,))
    sources = ({"path": tmp_path / "a"}, {"path": tmp_path / "b", "map": str(tmp_path / "left_only.yaml")})
    plan = plan_conversion(recipe(*sources))
    assert plan.map.trained == ("left_arm", "left_gripper")
    (warning,) = [note for note in plan.notes if note.startswith("warning: ")]
    assert warning.startswith(
        f"warning: {tmp_path / 'b'} does not move right_arm, right_gripper, which other sources do"
    )


def test_rules_of_the_recipe_replace_those_of_the_map(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(40,))
    rules = {"left_hand": "rest", "right_hand": {"broadcast": "left_gripper"}}
    source = {"path": tmp_path / "source", "map": "aloha_to_gr1", "rules": rules}
    convert(recipe(source, robot="gr1"), tmp_path / "out", workers=LOCAL)
    action, chosen = matrix(read_table(tmp_path / "out", 0), "action"), np.arange(40)[::5]
    places = read_meta(tmp_path / "out", "modality.json")["action"]
    left, right = (slice(places[name]["start"], places[name]["end"]) for name in ("left_hand", "right_hand"))
    assert not action[:, left].any()
    gripper = expected_action(0, chosen)[:, 6:7]
    np.testing.assert_array_equal(action[::2][:, right], np.repeat(gripper, 6, axis=1))


def test_a_faulty_episode_names_its_source(mixed: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "bad", lengths=(40, 30))
    video_path(tmp_path / "bad", 1).unlink()
    with pytest.raises(EpisodesFailed) as caught:
        convert(recipe({"path": mixed / "v21"}, {"path": tmp_path / "bad"}), tmp_path / "out", workers=LOCAL)
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'bad'}, episode 1, camera top: no video at ")


NUM_SOURCES = 24
DRIVER = """
import gc, json, sys, tracemalloc
from millrace.engine.convert import Workers, convert
from millrace.engine.planning.recipe_file import read_recipe
held = []
def on_plan(plan, num_done):
    tracemalloc.start()
def on_result(result):
    gc.collect()
    held.append(tracemalloc.get_traced_memory()[0])
convert(read_recipe(sys.argv[1]), sys.argv[2], workers=Workers(local=True), on_plan=on_plan, on_result=on_result)
print(json.dumps(held))
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_many(tmp_path_factory.mktemp("many"), NUM_SOURCES)


def test_planning_grows_with_the_sources_alone(many: Path) -> None:
    """Calls of functions are counted: twice the sources take at most twice as many."""
    recipe = read_recipe(many)
    whole, half = (
        recipe.model_copy(update={"sources": recipe.sources[:num]}) for num in (NUM_SOURCES // 2, NUM_SOURCES // 4)
    )  # of all layouts and rates
    plan_conversion(half)  # calls that are made once a process are not counted
    _, num_calls = count_calls(lambda: plan_conversion(half))
    plan, num_calls_of_twice = count_calls(lambda: plan_conversion(whole))
    assert num_calls_of_twice <= 2 * num_calls
    assert len({episode.binding for episode in plan.episodes}) == NUM_SOURCES // 2
    assert len(plan.tasks) == 7


def count_calls(work: Callable[[], Result]) -> tuple[Result, int]:
    """The result, and the calls of functions in this thread, those of C included."""
    events: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: events.update([event]))
    try:
        return work(), events["call"] + events["c_call"]
    finally:
        sys.setprofile(None)


def test_the_driver_keeps_nothing_of_what_is_converted(many: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(many), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    held = json.loads(done.stdout)
    assert len(held) == sum(map(num_episodes, range(NUM_SOURCES)))
    # Of each episode where it lies in the ledger, and in files that episodes share; its record would be 15 kB.
    assert held[-1] - held[len(held) // 3] < 100_000
    assert validate(tmp_path / "out").is_valid
