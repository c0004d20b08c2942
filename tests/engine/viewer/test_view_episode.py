"""`view_episode` shows what a dataset holds: the right frames and values at the right times, read back by rerun."""

import resource
import shutil
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import LOCAL, convert_here, data_path, matrix, read_meta, read_table, recipe_for, video_path
from millrace.embodiments import MillraceError
from millrace.engine.convert import convert
from millrace.engine.dataset.record import Cut
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.layout import ACTION, MANIFEST, STATE
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.resample import frame_indices
from millrace.engine.sources import open_source
from millrace.engine.sources.depth_scale import DepthScale
from millrace.engine.viewer import ViewedEpisode, ViewOptions, recording_file, view_episode
from millrace.engine.viewer.compared_episode import fit_cuts
from millrace.engine.viewer.view_episode import NO_CUTS
from support.depth_videos import SCALE, add_depth, depth_codes
from support.hub_client import HubUser
from support.hub_repository import files_below
from support.hub_server import HubServer
from support.rerun_file import LoggedColumn, decode_jpeg, decode_png, read_recording, read_shown_stamps
from support.still_stretches import hold
from support.synthetic import (
    ALOHA_JOINTS,
    Stamp,
    SyntheticVideo,
    edit_json,
    expected_action,
    expected_state,
    read_video,
    truncate_file,
    turn_video,
    write_dataset,
)

pytest.importorskip("rerun")

LENGTHS = (20, 13, 16)
H264 = SyntheticVideo(codec="libx264", gop=250, bframes=3)
OPEN_GOP = SyntheticVideo(codec="libx264", gop=12, bframes=3, open_gop=True)
SHARED = {"version": "v3.0", "episodes_per_video_file": 2}
SOURCES: dict[str, dict[str, Any]] = {
    "v2.1": {"cameras": ("top", "wrist")},
    "v2.1, images": {"images_as": "image"},
    "v3.0, shared AV1": {**SHARED, "video_lead_frames": {"top": 5}},
    "v3.0, between key frames": {**SHARED, "video": H264},
    "v3.0, open GOP": {"version": "v3.0", "video": OPEN_GOP},
    "v1.6": {"version": "v1.6"},
    "frames": {"version": "frames"},
    "HDF5": {"version": "act"},
    "HEVC": {"video": SyntheticVideo(codec="libx265", gop=10, bframes=2)},
}
Recording = dict[tuple[str, str], LoggedColumn]


def show(path: Path | str, number: int, *, save: Path | None = None, **settings: Any) -> ViewedEpisode:
    return view_episode(path, number, save=save, options=ViewOptions(**settings))


def view(path: Path | str, number: int, file: Path, **settings: Any) -> Recording:
    show(path, number, save=file, **settings)
    return read_recording(file)


def joints(recording: Recording, vector: str, *, side: str = "dataset") -> dict[str, NDArray[np.float64]]:
    """Curves by joint, of all groups."""
    found: dict[str, NDArray[np.float64]] = {}
    for entity, name in recording:
        if name == "Scalars:scalars" and entity.startswith(f"/{side}/joints/") and entity.endswith(f"/{vector}"):
            (names,) = recording[entity, "SeriesLines:names"].values
            curves = np.array(recording[entity, name].values)
            found |= {joint.removesuffix(" action"): curves[:, place] for place, joint in enumerate(names)}
    return found


def seconds(column: LoggedColumn) -> NDArray[np.float64]:
    return column.times["seconds"] / 1e9


def stamps_of(recording: Recording, camera: str, *, side: str = "dataset") -> list[Stamp]:
    return read_shown_stamps(recording, f"/{side}/cameras/{camera}")


@pytest.mark.parametrize("options", SOURCES.values(), ids=SOURCES)
def test_frames_and_values_of_any_layout_are_shown_at_their_times(options: dict[str, Any], tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "source", lengths=LENGTHS, **options)
    found = view(tmp_path / "source", 1, tmp_path / "file.rrd", fps=Fraction(50) if "act" in options.values() else None)
    frames = np.arange(LENGTHS[1])
    for place, camera in enumerate(dataset.cameras):
        assert stamps_of(found, camera) == [Stamp(frame, 1, place) for frame in frames]
        shown = [key for key in found if key[0] == f"/dataset/cameras/{camera}" and found[key].times]
        np.testing.assert_allclose(seconds(found[shown[0]]), frames / 50, atol=1e-9)
    for vector, expected in (("state", expected_state), ("action", expected_action)):
        curves = np.stack(list(joints(found, vector).values()), axis=1)
        np.testing.assert_array_equal(curves, expected(1, frames))


def test_our_packed_datasets_show_the_frames_of_their_rows(aloha: Path, tmp_path: Path) -> None:
    layouts = Layouts.parse("v3.0", data_file_mb=1, video_file_mb=1)
    convert(recipe_for(aloha), tmp_path / "out", workers=LOCAL, layouts=layouts)
    found = view(tmp_path / "out", 1, tmp_path / "file.rrd", source=aloha)
    (episode,) = [one for one in open_source(tmp_path / "out").episodes if one.index == 1]
    assert stamps_of(found, "ego_view") == [
        Stamp(frame, 1) for frame in frame_indices(33, source_fps=Fraction(50), target_fps=Fraction(20))
    ]
    assert {stamp.episode for stamp in stamps_of(found, "top", side="source")} == {1}
    assert len(joints(found, "state")["left_shoulder_pitch"]) == episode.num_frames


def test_recordings_of_xr_teleoperate_show_each_cameras_frames(tmp_path: Path) -> None:
    settings = {"version": "xr_teleoperate", "state_width": 28, "cameras": ("color_0", "color_1"), "fps": 30}
    write_dataset(tmp_path / "recordings", lengths=(12, 9), **settings)  # type: ignore[arg-type]
    found = view(tmp_path / "recordings", 1, tmp_path / "file.rrd")
    for place, camera in enumerate(("color_0", "color_1")):
        assert stamps_of(found, camera) == [Stamp(frame, 1, place) for frame in range(9)]


def test_a_dataset_on_the_hub_shows_its_frames_and_only_its_files_are_downloaded(
    hub: HubServer, user: HubUser, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    hub.add("org/aloha", files_below(tmp_path / "source"))
    done = user.run("view", "hf://org/aloha", "--episode", "1", "--save", tmp_path / "file.rrd")
    assert done.exit_code == 0, done.err
    assert stamps_of(read_recording(tmp_path / "file.rrd"), "top") == [Stamp(frame, 1) for frame in range(LENGTHS[1])]
    assert [path.name for path in user.snapshots.rglob("*.mp4")] == ["episode_000001.mp4"]


def test_depth_is_shown_in_millimetres(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(6, 4))
    add_depth(tmp_path / "source", (6, 4))
    viewed = show(tmp_path / "source", 1, save=tmp_path / "file.rrd")
    assert (viewed.cameras, viewed.notes) == (("top", "top_depth"), ())
    found = read_recording(tmp_path / "file.rrd")
    entity = "/dataset/cameras/top_depth"
    levels = np.round(DepthScale(**SCALE).levels).astype(np.uint16)
    for frame, (blob,) in enumerate(found[entity, "EncodedDepthImage:blob"].values):
        np.testing.assert_array_equal(decode_png(blob), levels[depth_codes(1, frame)])
    np.testing.assert_allclose(seconds(found[entity, "EncodedDepthImage:blob"]), np.arange(4) / 50)
    assert (entity, "EncodedDepthImage:meter") not in found  # rerun takes whole numbers for millimetres


def test_depth_whose_codes_nothing_explains_is_a_note(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(6,))
    add_depth(tmp_path / "source", (6,), depth_min=5.0, depth_max=1.0)
    viewed = show(tmp_path / "source", 0, save=tmp_path / "file.rrd")
    assert viewed.cameras == ("top",)
    assert any("depth camera top_depth: depth and masks are shown where" in note for note in viewed.notes)


@pytest.mark.parametrize(("free", "told"), [(0, "No space left on device"), (10**9, "Input/output error")])
def test_a_disk_that_gets_full_leaves_no_file(
    aloha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, told: str
) -> None:
    """A limit of the size of files stands for the disk."""
    monkeypatch.setattr(recording_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(RecipeError, match=rf"file\.rrd .*{told}"):
            show(aloha, 0, save=tmp_path / "file.rrd", images=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_videos_are_kept_as_they_are_where_rerun_plays_them(tmp_path: Path) -> None:
    is_video = {}
    for name, video in {"AV1": SyntheticVideo(), "H.264": H264, "open GOP": OPEN_GOP}.items():
        write_dataset(tmp_path / name, lengths=LENGTHS, version="v3.0", video=video)
        found = view(tmp_path / name, 1, tmp_path / "file.rrd")
        is_video[name] = ("/dataset/cameras/top", "AssetVideo:blob") in found
    assert is_video == {"AV1": True, "H.264": True, "open GOP": False}


def test_an_output_shows_its_groups_by_joint_names(aloha_gr1: Path, tmp_path: Path) -> None:
    found, rows = view(aloha_gr1, 2, tmp_path / "file.rrd"), read_table(aloha_gr1, 2)
    for vector, column in (("state", STATE), ("action", ACTION)):
        names = read_meta(aloha_gr1, "info.json")["features"][column]["names"]
        curves = joints(found, vector)
        np.testing.assert_array_equal(np.stack([curves[name] for name in names], axis=1), matrix(rows, column))
    arm = found["/dataset/joints/left_arm/state", "Scalars:scalars"]
    np.testing.assert_allclose(seconds(arm), rows["timestamp"].to_pylist(), atol=1e-6)
    np.testing.assert_array_equal(arm.times["frame"], rows["frame_index"].to_pylist())
    (about,) = found["/dataset/about", "TextDocument:text"].values
    assert "| `left_arm` | `rad` | 7 | 7 | `target, learnt as relative` |" in about[0]


def test_the_source_lies_beside_the_output_on_one_clock(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    found = view(aloha_gr1, 1, tmp_path / "file.rrd", source=aloha)
    output, source = stamps_of(found, "ego_view"), stamps_of(found, "top", side="source")
    assert {stamp.episode for stamp in (*output, *source)} == {1}
    clock = found["/dataset/cameras/ego_view", "VideoFrameReference:timestamp"]
    times = seconds(found["/source/cameras/top", "VideoFrameReference:timestamp"])
    for stamp, moment in zip(output, seconds(clock), strict=True):
        nearest = source[int(np.argmin(abs(times - moment) - 1e-9 * (np.arange(len(times)) % 2 == 0)))]
        assert nearest.frame == stamp.frame
    assert len(joints(found, "state", side="source")) == len(ALOHA_JOINTS)
    assert ("/source/cameras/top", "VideoFrameReference:timestamp") in found
    assert "source_frame" in found["/source/cameras/top", "VideoFrameReference:timestamp"].times


def test_a_trimmed_episode_and_its_source_show_the_same_frame_at_the_same_time(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(60,), fps=20)
    hold(tmp_path / "source", [(0, 15), (25, 45)])
    settings = {"robot": "aloha", "fps": "source", "horizon": 1, "align_action": 2, "trim_idle": {"keep": "0.1s"}}
    convert_here(tmp_path / "source", tmp_path / "out", **settings, drop_pauses={"longer_than": "0.5s", "keep": "0.1s"})
    found = view(tmp_path / "out", 0, tmp_path / "file.rrd", source=tmp_path / "source")
    output, recorded = stamps_of(found, "top"), stamps_of(found, "top", side="source")
    shown, before = (found[f"/{side}/cameras/top", "VideoFrameReference:timestamp"] for side in ("dataset", "source"))
    assert 10 < len(output) < 40
    last_at = dict(zip(before.times["seconds"].tolist(), recorded, strict=True))  # a cut frame gives way to a kept one
    assert [last_at[moment] for moment in shown.times["seconds"].tolist()] == output


def test_cuts_of_a_conversion_in_between_are_not_taken_for_those_of_the_first_recording(tmp_path: Path) -> None:
    write_dataset(tmp_path / "first", lengths=(100,), fps=20)
    hold(tmp_path / "first", [(0, 40)])
    kept = {"robot": "aloha", "horizon": 1}
    convert_here(tmp_path / "first", tmp_path / "second", **kept, fps="10")
    convert_here(tmp_path / "second", tmp_path / "third", **kept, fps="source", trim_idle={"keep": "0s"})
    viewed = show(tmp_path / "third", 0, save=tmp_path / "file.rrd", source=tmp_path / "first")
    assert (viewed.source_episode, viewed.notes) == (0, (NO_CUTS,))
    viewed = show(tmp_path / "third", 0, save=tmp_path / "file.rrd", source=tmp_path / "second")
    assert viewed.notes == ()


@pytest.mark.parametrize("ends", [(0, 19), (0, 20), (5, 10**9)])
def test_cuts_that_no_recording_can_have_are_not_believed(ends: tuple[int, int]) -> None:
    cuts = [Cut(start=ends[0], stop=ends[1], why="start")]
    assert fit_cuts(cuts, num_frames=20, num_made=8, source_fps=Fraction(50), fps=Fraction(20)) is None


def test_a_source_is_found_by_what_it_holds_not_by_its_name(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    shutil.copytree(aloha, tmp_path / "renamed")
    viewed = show(aloha_gr1, 2, save=tmp_path / "file.rrd", source=tmp_path / "renamed")
    assert viewed.source_episode == 2


def test_episodes_left_out_do_not_shift_the_source(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", episodes="1", horizon=8)
    viewed = show(tmp_path / "out", 0, save=tmp_path / "file.rrd", source=aloha)
    assert viewed.source_episode == 1


def test_another_dataset_is_no_source(aloha_gr1: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "other", lengths=(15, 15))
    with pytest.raises(RecipeError, match="does not hold the recording of the episode: it was made of episode 1 of"):
        show(aloha_gr1, 1, save=tmp_path / "file.rrd", source=tmp_path / "other")
    viewed = show(aloha_gr1, 1, save=tmp_path / "file.rrd", source=tmp_path / "other", source_episode=0)
    assert viewed.source_episode == 0


def test_without_a_manifest_the_episode_of_the_source_is_asked_for(dataset: Path, aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing says which recording"):
        show(dataset, 0, save=tmp_path / "file.rrd", source=aloha)
    assert not list(tmp_path.glob("*.rrd*"))


def test_what_a_manifest_names_is_not_opened(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(aloha, tmp_path / "aloha")
    monkeypatch.chdir(tmp_path)
    viewed = show(aloha_gr1, 0, save=tmp_path / "file.rrd")
    assert viewed.hint == "made of episode 0 of 'aloha'"
    assert all(entity.startswith(("/dataset/", "/__")) for entity, _ in read_recording(tmp_path / "file.rrd"))


def test_tasks_are_shown_from_the_frame_on_from_which_they_hold(tmp_path: Path) -> None:
    tasks = (("Reach.", "Grasp."), "Lift.")
    write_dataset(tmp_path / "source", lengths=(20, 10), tasks=tasks, version="v3.0")
    found = view(tmp_path / "source", 0, tmp_path / "file.rrd")["/dataset/task", "TextDocument:text"]
    assert found.values == [["Reach."], ["Grasp."]]
    assert found.times["frame"].tolist() == [0, 10]


def test_a_broken_camera_is_a_note_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, cameras=("top", "wrist"))
    truncate_file(video_path(tmp_path / "source", 1, "wrist"), 0.5)
    viewed = show(tmp_path / "source", 1, save=tmp_path / "file.rrd")
    assert viewed.cameras == ("top",)
    assert "camera wrist: " in viewed.notes[0]
    assert "episode_000001.mp4 is truncated" in viewed.notes[0]
    assert len(joints(read_recording(tmp_path / "file.rrd"), "state")) == len(ALOHA_JOINTS)


def test_an_episode_of_which_nothing_can_be_read_is_an_error_without_a_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    data_path(tmp_path / "source", 1).unlink()
    video_path(tmp_path / "source", 1).unlink()
    with pytest.raises(DatasetError, match=r"episode 1: nothing can be shown: .*no rows at"):
        show(tmp_path / "source", 1, save=tmp_path / "file.rrd")
    assert not list(tmp_path.glob("*.rrd*"))
    assert not list(tmp_path.glob(".*.part"))


def test_a_turned_video_is_shown_upright(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, video=SyntheticVideo(codec="libx264"))
    turn_video(video_path(tmp_path / "source", 1), (-1, 0, 0, -1))
    found = view(tmp_path / "source", 1, tmp_path / "file.rrd")
    images = found["/dataset/cameras/top", "EncodedImage:blob"].values
    stored = read_video(video_path(tmp_path / "source", 1))
    shown = decode_jpeg(images[3][0])[::-1, ::-1].astype(int)
    assert abs(shown - stored[3].astype(int)).mean() < 8


def test_names_and_texts_of_a_dataset_are_shown_as_text(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, tasks="<b>x</b> [a](http://b) `|`")
    edit_json(tmp_path / "source/meta/info.json", lambda info: {**info, "robot_type": "a/../b\n# c"})
    found = view(tmp_path / "source", 0, tmp_path / "file.rrd")
    (about,) = found["/dataset/about", "TextDocument:text"].values
    assert "`` <b>x</b> [a](http://b) `\\|` ``" in about[0]
    assert "\n# c" not in about[0]


def test_images_hold_the_same_frames_as_videos(aloha: Path, tmp_path: Path) -> None:
    found = view(aloha, 1, tmp_path / "file.rrd", images=True)
    assert ("/dataset/cameras/top", "AssetVideo:blob") not in found
    assert stamps_of(found, "top") == [Stamp(frame, 1) for frame in range(33)]


def test_an_unknown_episode_is_refused_with_those_there_are(aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no episode 7; it has 3, 0 to 2"):
        show(aloha, 7, save=tmp_path / "file.rrd")


def test_without_rerun_the_error_says_what_to_install(
    aloha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(RecipeError, match=r"rerun is needed: pip install '\.\[view\]'"):
        show(aloha, 0, save=tmp_path / "file.rrd")


def test_without_a_desktop_a_file_is_advised(aloha: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MillraceError, match="needs a desktop") as caught:
        show(aloha, 0)
    assert "save" in str(caught.value.remedy)


def test_a_file_that_cannot_be_written_is_named(aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="missing"):
        show(aloha, 0, save=tmp_path / "missing/file.rrd")
    with pytest.raises(RecipeError, match="name it"):
        show(aloha, 0, save=tmp_path / "file.html")


def test_the_manifest_may_be_damaged(aloha_gr1: Path, tmp_path: Path) -> None:
    shutil.copytree(aloha_gr1, tmp_path / "out")
    truncate_file(tmp_path / "out" / MANIFEST, 0.3)
    assert show(tmp_path / "out", 0, save=tmp_path / "file.rrd").hint is None
