"""Recordings of both writers, whole, cut off and damaged, become the rows and frames that they hold."""

import json
import os
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, REPOSITORY, convert_here, matrix, read_meta, read_table, video_path
from millrace.embodiments import compile_map, load_map, load_robot
from millrace.engine.convert import convert, estimate
from millrace.engine.errors import DatasetError, EpisodesFailed, FaultCode, RecipeError
from millrace.engine.inspection import inspect_dataset
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.planning.resample import nearest_indices
from millrace.engine.sources import SourceDataset, open_source
from millrace.engine.sources.hdf5 import hdf5_folders
from millrace.engine.sources.xr_recording import read_recording
from support.barcode import draw
from support.synthetic import SyntheticDataset, SyntheticVideo, encode_picture, read_stamps, read_video, write_dataset
from support.synthetic_recordings import AT_ONCE, RecordingStyle, write_recording
from support.synthetic_spec import expected_action, expected_state

LENGTHS = (12, 9, 10, 8)
TASK = "Stack the blocks."
DEFAULT = "Pick up the red cup on the table."
SMALL = SyntheticVideo(height=64, width=96)
CAMERAS = ("color_0", "color_1")
DEX3 = SyntheticDataset(
    version="xr_teleoperate", lengths=LENGTHS, fps=30, cameras=CAMERAS, state_width=28, video=SMALL, tasks=TASK
)
STREAMED = RecordingStyle(is_streamed=True)
OLDEST = RecordingStyle(hands=("left_hand", "right_hand"))


def chars_of_rows(folder: Path, num_rows: int) -> int:
    """Characters of a streamed recording up to the middle of the row after so many."""
    text = (folder / "data.json").read_text()
    return text.index(f'"idx": {num_rows},') + 200


def write(root: Path, folder: str, episode: int = 0, style: RecordingStyle = AT_ONCE, **options: Any) -> Path:
    """One recording below a folder."""
    fields = {"lengths": (6, 6), "state_width": 14, "cameras": ("color_0",), "fps": 30, "video": SMALL, "tasks": TASK}
    write_recording(root / folder, SyntheticDataset(version="xr_teleoperate", **{**fields, **options}), episode, style)
    return root / folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes 1 to 4 in two folders, of three writers; the last was cut off after its fifth row."""
    root = tmp_path_factory.mktemp("recordings")
    write_recording(root / "success/episode_0001", DEX3, 0)
    write_recording(root / "fail/episode_0002", DEX3, 1, STREAMED)
    write_recording(root / "success/episode_0003", DEX3, 2, OLDEST)
    cut = root / "fail/episode_0004"
    write_recording(cut, DEX3, 3, STREAMED)
    (cut / "data.json").write_text((cut / "data.json").read_text()[: chars_of_rows(cut, 5)])
    return root


@pytest.fixture(scope="module")
def kept(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings with the whole rows of the last, through a map."""
    out = tmp_path_factory.mktemp("out") / "kept"
    convert_here(recordings, out, map="g1_dex3_to_inspire", cut_off="keep", horizon=4)
    return out


def test_every_writers_rows_and_frames_arrive(kept: Path) -> None:
    mapping = compile_map(load_map("g1_dex3_to_inspire"))
    for episode, length in enumerate((*LENGTHS[:3], 5)):
        frames = nearest_indices(length, source_fps=Fraction(30), target_fps=Fraction(20))
        state, action = (known(episode, frames, 28) for known in (expected_state, expected_action))
        table = read_table(kept, episode)
        for column, values in zip(("observation.state", "action"), mapping.apply(state, action), strict=True):
            np.testing.assert_array_equal(matrix(table, column), values)
        stamps = read_stamps(video_path(kept, episode, "cam_left_high"))
        assert [(stamp.frame, stamp.episode, stamp.camera) for stamp in stamps] == [(k, episode, 0) for k in frames]


def test_kept_rows_are_noted_and_the_task_is_the_goal(kept: Path) -> None:
    assert [line["tasks"] for line in read_meta(kept, "episodes.jsonl")] == [[TASK]] * 4
    assert "cut off after 5 whole rows" in (kept / "millrace.json").read_text()


def test_a_recording_that_was_cut_off_is_quarantined_with_its_whole_rows(recordings: Path, tmp_path: Path) -> None:
    settings = {"map": "g1_dex3_to_inspire", "horizon": 4}
    with pytest.raises(EpisodesFailed) as failed:
        convert_here(recordings, tmp_path / "out", **settings)
    (quarantined,) = failed.value.quarantined
    assert (quarantined.code, quarantined.episode) == (FaultCode.TRUNCATED, 4)
    assert "5 rows are whole" in quarantined.reason
    assert "cut_off=" in quarantined.remedy
    assert convert_here(recordings, tmp_path / "out", **settings, cut_off="keep").num_episodes == 4


def test_metadata_tells_lengths_without_reading_rows(recordings: Path) -> None:
    source = open_source(recordings)
    assert [(episode.index, episode.num_frames) for episode in source.episodes] == [(1, 12), (2, 9), (3, 10), (4, 5)]
    assert source.features["observation.state"].names == source.features["action"].names
    assert source.cameras == CAMERAS
    assert (source.fps, list(source.tasks.values())) == (30, [TASK])


def test_inspect_shows_robot_cameras_and_the_cut(recordings: Path) -> None:
    found = inspect_dataset(recordings)
    assert (found.robot.name, found.robot.confidence) == ("g1_dex3", "certain")
    assert [(camera.name, camera.width, camera.height) for camera in found.cameras] == [(c, 96, 64) for c in CAMERAS]
    errors = [(finding.code, finding.episode) for finding in found.findings if finding.severity == "error"]
    assert errors == [("bad-metadata", 4)]


HANDS = {14: "g1_arms", 16: "g1_dex1", 28: "g1_dex3"}


@pytest.mark.parametrize("width", HANDS)
def test_the_hand_is_told_by_its_width(width: int, tmp_path: Path) -> None:
    write(tmp_path, "episode_0", state_width=width)
    found = inspect_dataset(tmp_path)
    assert (found.robot.name, found.robot.confidence) == (HANDS[width], "certain")


def test_a_hand_of_six_joints_is_for_the_user_to_name(tmp_path: Path) -> None:
    write(tmp_path / "recordings", "episode_0", state_width=26)
    with pytest.raises(RecipeError, match="would fit as well"):
        estimate(Recipe.single(tmp_path / "recordings"), tmp_path / "out")
    for robot in ("g1_brainco", "g1_inspire26"):
        recipe = Recipe.single(tmp_path / "recordings", map=f"{robot}_to_inspire", horizon=2)
        summary = estimate(recipe, tmp_path / "out")
        assert summary.num_episodes == 1


def body_of(source: SourceDataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what follows arms and hands."""
    return tuple((source.features[key].names or ())[16:] for key in ("observation.state", "action"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("num_motors", "gap", "first"), [(29, 0.0, "left_hip_pitch"), (35, 0.0, "left_hip_pitch"), (29, 1.0, "body_0")]
)
def test_a_body_is_legs_and_waist_where_its_arms_agree(num_motors: int, gap: float, first: str, tmp_path: Path) -> None:
    arms = (expected_state(0, np.array([0]), 14)[0] + gap).tolist()
    body = [0.1 * place for place in range(15)] + arms + [0.0] * (num_motors - 29)
    more = {"states": {"body": {"qpos": body}}, "actions": {"body": {"qpos": [0.1, 0.2, 0.3]}}}
    # Arms stand still, as only the first row's body is written here.
    write(tmp_path, "episode_0", style=RecordingStyle(more=more), state_width=16, lengths=(1,))
    state, action = body_of(open_source(tmp_path))
    assert (state[0], len(state)) == (first, 15 if gap == 0 else num_motors)
    assert action == ("base_velocity_x", "base_velocity_y", "base_velocity_yaw")


def test_a_body_in_some_episodes_only_is_left_out_with_a_note(tmp_path: Path) -> None:
    more = {"actions": {"body": {"qpos": [0.1, 0.2, 0.3]}}}
    write(tmp_path, "episode_0", style=RecordingStyle(more=more), state_width=16)
    write(tmp_path, "episode_1", 1, state_width=16)
    source = open_source(tmp_path)
    assert body_of(source) == ((), ())
    assert any("body's joints are left out" in note for note in source.notes)


def test_an_open_gripper_arrives_as_an_open_hand(tmp_path: Path) -> None:
    write(tmp_path / "recordings", "episode_0", state_width=16)
    convert_here(tmp_path / "recordings", tmp_path / "out", map="g1_dex1_to_inspire", fps="source", horizon=2)
    finger = load_robot("g1_inspire").layout("action").joints.index("left_index_proximal")
    recorded = expected_action(0, np.arange(6), 16)[:, 14]
    # The recorder writes 0 for closed, 5.4 for open; an Inspire finger is open at 0, closed at 1.7.
    arrived = matrix(read_table(tmp_path / "out", 0), "action")[:, finger]
    np.testing.assert_allclose(arrived, 1.7 * (1 - recorded / 5.4), atol=1e-4)


def test_the_recorders_own_task_is_replaced_by_task_alone(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    write(recordings, "episode_0", tasks=DEFAULT)
    write(recordings, "episode_1", 1)
    settings: dict[str, Any] = {"robot": "g1_arms", "horizon": 2}
    told = estimate(Recipe.single(recordings, **settings), tmp_path / "out").notes
    replaced = estimate(Recipe.single(recordings, **settings, task="Wave."), tmp_path / "out").notes
    assert [any("recorder writes by itself" in note for note in notes) for notes in (told, replaced)] == [True, False]
    convert(Recipe.single(recordings, **settings, task="Wave."), tmp_path / "out", workers=LOCAL)
    assert [line["task"] for line in read_meta(tmp_path / "out", "tasks.jsonl")] == ["Wave.", TASK]


def test_numbers_come_from_folders_or_from_their_natural_order(tmp_path: Path) -> None:
    for folder in ("episode_10", "episode_2"):
        write(tmp_path, folder)
    assert [episode.index for episode in open_source(tmp_path).episodes] == [2, 10]
    write(tmp_path, "more/episode_2", 1)
    found = {episode.index: episode.rows[0].path.parent for episode in open_source(tmp_path).episodes}
    assert found == {0: tmp_path / "episode_2", 1: tmp_path / "episode_10", 2: tmp_path / "more/episode_2"}
    assert [one.index for one in open_source(tmp_path / "episode_10").episodes] == [0]


def edit(folder: Path, change: Any) -> None:
    content = json.loads((folder / "data.json").read_text())
    change(content)
    (folder / "data.json").write_text(json.dumps(content))


def drop_row(content: Any) -> None:
    del content["data"][2]


def narrow_row(content: Any) -> None:
    content["data"][3]["states"]["left_arm"]["qpos"].pop()


def break_number(content: Any) -> None:
    content["data"][3]["actions"]["left_arm"]["qpos"][2] = None


def lead_out(content: Any) -> None:
    content["data"][3]["colors"]["color_0"] = "../other/colors/000003_color_0.jpg"


def lose_image(content: Any) -> None:
    del content["data"][3]["colors"]["color_0"]


def count_from_seven(content: Any) -> None:
    for row in content["data"]:
        row["idx"] += 7


DAMAGES = [
    (drop_row, FaultCode.ROW_ORDER, "idx goes from 1 to 3 in row 2 of .*: 1 row is missing"),
    (narrow_row, FaultCode.WIDTH, "row 3 of .*: states.left_arm has 6 values, expected 7"),
    (break_number, FaultCode.NOT_NUMBERS, "row 3 of .*: actions hold what is no number"),
    (lead_out, FaultCode.FOREIGN, "row 3 of .* names an image outside of the episode's folder"),
    (lose_image, FaultCode.MISSING, "row 3 of .* names no image of 'color_0'"),
]


@pytest.mark.parametrize(("change", "code", "reason"), DAMAGES, ids=[change.__name__ for change, *_ in DAMAGES])
def test_a_contradiction_fails_its_episode(change: Any, code: FaultCode, reason: str, tmp_path: Path) -> None:
    edit(write(tmp_path / "recordings", "episode_0"), change)
    with pytest.raises(EpisodesFailed, match=reason) as failed:
        convert_here(tmp_path / "recordings", tmp_path / "out", robot="g1_arms", horizon=2)
    assert [one.code for one in failed.value.quarantined] == [code]


def test_rows_may_be_counted_from_any_number(tmp_path: Path) -> None:
    folder = write(tmp_path / "recordings", "episode_0")
    edit(folder, count_from_seven)
    assert convert_here(tmp_path / "recordings", tmp_path / "out", robot="g1_arms", horizon=2).num_episodes == 1


def test_an_image_that_is_a_link_out_of_the_episode_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "recordings", "episode_0")
    (tmp_path / "recordings/.git").mkdir()  # a folder that was cloned: its links are anyone's
    (tmp_path / "secret.jpg").write_bytes((folder / "colors/000000_color_0.jpg").read_bytes())
    (folder / "colors/000000_color_0.jpg").unlink()
    os.symlink(tmp_path / "secret.jpg", folder / "colors/000000_color_0.jpg")
    with pytest.raises(EpisodesFailed, match="leads out of the dataset"):
        convert_here(tmp_path / "recordings", tmp_path / "out", robot="g1_arms", horizon=2)


def test_a_camera_that_one_episode_lacks_fails_that_episode_only(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    write(root, "episode_0", cameras=CAMERAS)
    write(root, "episode_1", 1)
    settings = {"robot": "g1_arms", "horizon": 2}
    with pytest.raises(EpisodesFailed, match="no video of this camera") as failed:
        convert_here(root, tmp_path / "out", **settings)
    assert [(one.episode, one.camera) for one in failed.value.quarantined] == [(1, "color_1")]
    assert convert_here(root, tmp_path / "both", **settings, without_cameras=("color_1",)).num_episodes == 2


def test_a_wide_image_holds_two_cameras(tmp_path: Path) -> None:
    folder = write(tmp_path / "recordings", "episode_0", video=SyntheticVideo(height=64, width=64))
    for frame in range(6):
        views = [draw(frame, 0, camera, 64, 64) for camera in (3, 4)]
        path = folder / f"colors/{frame:06d}_color_0.jpg"
        path.write_bytes(
            encode_picture(np.concatenate([views[0], np.zeros((64, 2, 3), np.uint8), views[1]], 1), "jpeg")
        )
    assert open_source(tmp_path / "recordings").cameras == ("color_0", "color_0.left", "color_0.right")
    cameras = {"head_left": "color_0.left", "head_right": "color_0.right"}
    settings: dict[str, Any] = {"robot": "g1_arms", "fps": "source", "horizon": 2, "cameras": cameras}
    convert_here(tmp_path / "recordings", tmp_path / "out", **settings, without_cameras=("color_0",))
    for number, camera in enumerate(cameras, start=3):
        stamps = read_stamps(video_path(tmp_path / "out", 0, camera))
        assert [(stamp.frame, stamp.camera) for stamp in stamps] == [(frame, number) for frame in range(6)]


def test_recordings_and_a_lerobot_dataset_become_one(tmp_path: Path) -> None:
    write(tmp_path / "recordings", "episode_0")
    joints = list(load_robot("g1_arms").layout("state").joints)
    stored: dict[str, Any] = {"names": {"motors": joints}, "cameras": ("color_0",), "fps": 30, "video": SMALL}
    write_dataset(tmp_path / "stored", lengths=(6,), tasks="Wave.", **stored)
    sources = [{"path": tmp_path / name} for name in ("stored", "recordings")]
    recipe = check_recipe({"sources": sources, "robot": "g1_arms", "fps": "source", "image_size": 64, "horizon": 2})
    assert convert(recipe, tmp_path / "out", workers=LOCAL).num_episodes == 2
    first, second = (read_table(tmp_path / "out", episode) for episode in range(2))
    np.testing.assert_array_equal(matrix(first, "action"), matrix(second, "action"))
    assert [line["tasks"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [["Wave."], [TASK]]


def test_recordings_of_another_kind_or_without_an_end_are_named(tmp_path: Path) -> None:
    for episode in range(2):
        write(tmp_path, f"episode_{episode}", episode)
    write(tmp_path, "episode_2", state_width=28)
    write(tmp_path, "episode_3", fps=60)
    (write(tmp_path, "episode_4") / "data.json").unlink()
    (write(tmp_path, "episode_5") / "data.json").write_text("")
    reasons = {bad.index: (bad.fault.code, str(bad.fault.reason)) for bad in open_source(tmp_path).bad}
    expected = {
        2: (FaultCode.WIDTH, "has left_arm 7, right_arm 7, left_ee 7, right_ee 7, most others have left_arm 7"),
        3: (FaultCode.RATE, "at 60 Hz, most others at 30 Hz"),
        4: (FaultCode.MISSING, "the recorder ended before it saved the episode"),
        5: (FaultCode.TRUNCATED, "has no whole row: the recording was cut off"),
    }
    assert {index: code for index, (code, _) in reasons.items()} == {
        index: code for index, (code, _) in expected.items()
    }
    assert all(text in reasons[index][1] for index, (_, text) in expected.items())


def test_a_recording_without_a_rate_says_where_to_write_it(tmp_path: Path) -> None:
    edit(write(tmp_path, "episode_0"), lambda content: content["info"]["image"].pop("fps"))
    with pytest.raises(DatasetError, match=r"info\.image\.fps, the rate of the rows, is None"):
        open_source(tmp_path)
    assert open_source(tmp_path, fps=Fraction(25)).fps == 25


def test_what_else_stands_before_the_rows_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "episode_0001") / "data.json"
    others = "".join(f'"other {number}": "{"x" * (1 << 17)}", ' for number in range(40))
    path.write_text(path.read_text().replace("{", "{" + others, 1))
    tracemalloc.start()
    recording = read_recording(path, tmp_path, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (recording.num_rows, recording.goal) == (6, TASK)
    assert peak < path.stat().st_size / 2


def test_hdf5_files_beside_recordings_are_told(tmp_path: Path) -> None:
    """A policy's file hides no recordings; where the layout of HDF5 files is named, these are read."""
    write(tmp_path, "episode_0001")
    assert not [note for note in open_source(tmp_path).notes if "HDF5" in note]
    write_dataset(tmp_path / "act", version="act", lengths=(3,), video=SMALL)
    dataset = open_source(tmp_path)
    assert dataset.layout == "xr_teleoperate"
    assert dataset.notes[-1] == (
        f"{tmp_path}: HDF5 files beside the recordings of xr_teleoperate are left out: convert them by their paths"
    )
    assert open_source(tmp_path, format="aloha_act").layout == "HDF5, aloha_act"


def test_hdf5_files_are_looked_for_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "act/of/today", version="act", lengths=(3,), video=SMALL)
    (tmp_path / "act/notes.txt").touch()
    assert hdf5_folders.fits(tmp_path)
    monkeypatch.setattr(hdf5_folders, "MAX_NAMES", 2)
    assert not hdf5_folders.fits(tmp_path)


def test_depth_is_left_out_with_a_note(tmp_path: Path) -> None:
    depths = {"depth_0": "depths/000000_depth_0.jpg"}
    edit(write(tmp_path, "episode_0"), lambda content: content["data"][0].update(depths=depths))
    source = open_source(tmp_path)
    assert source.cameras == ("color_0",)
    assert any("depth_0 hold depth as JPEG" in note for note in source.notes)


REAL, SAME = (REPOSITORY.parent / "shared/datasets" / name for name in ("g1_dex3_json", "g1_dex3_v30"))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real recordings at {REAL}")
def test_real_recordings_equal_the_dataset_that_was_made_of_them(tmp_path: Path) -> None:
    outs = {"recorded": REAL, "stored": SAME}
    for name, source in outs.items():
        settings = {"map": "g1_dex3_to_inspire", "fps": "source", "episodes": "0:2", "task": TASK}
        convert_here(source, tmp_path / name, **settings)
    for episode in range(2):
        tables = [read_table(tmp_path / name, episode) for name in outs]
        for column in ("observation.state", "action"):
            found, expected = (matrix(table, column) for table in tables)
            np.testing.assert_array_equal(found, expected[:40])
        clips = [read_video(video_path(tmp_path / name, episode, "cam_left_high")) for name in outs]
        frames, stored = (np.stack(clip[:40]).astype(np.float64) for clip in clips)
        assert len(clips[0]) == 40
        loss, step = (np.square(found - stored).mean(axis=(1, 2, 3)) for found in (frames, np.roll(frames, 1, axis=0)))
        assert loss.max() < 40 < np.median(step)  # 32 dB; a frame too late loses more
