"""ACT's HDF5 files: rows and frames as recorded, and one damaged file costs one episode."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import LOCAL, REPOSITORY, convert_here, matrix, read_table, recipe_for
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import DatasetError, EpisodesFailed, RowsError, UnknownLayout
from millrace.engine.inspection import inspect_dataset, make_contact_sheet
from millrace.engine.sources import RowReader, open_source
from millrace.engine.video.decode import decode_clip
from support.synthetic import SyntheticVideo, truncate_file, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (8, 6, 7)
TASK = "Hand over the cube."
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2, "task": TASK}
SMALL = SyntheticVideo(height=64, width=64)
DATASETS = REPOSITORY.parent / "shared/datasets"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("act") / "source"
    write_dataset(root, version="act", lengths=LENGTHS, video=SMALL)
    return root


@pytest.fixture
def source(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "source"))


def test_a_file_is_an_episode_by_the_number_in_its_name(source: Path) -> None:
    (source / "episode_1.hdf5").rename(source / "episode_12.hdf5")
    dataset = open_source(source)
    assert (dataset.layout, dataset.fps, dataset.robot_type) == ("HDF5, aloha_act", 50, "aloha")
    assert [(episode.index, episode.num_frames) for episode in dataset.episodes] == [(0, 8), (2, 7), (12, 6)]
    assert dataset.cameras == ("top",)
    assert not [finding for finding in inspect_dataset(source).findings if finding.severity == "error"]
    assert make_contact_sheet(source, source / "sheet.png").cameras == ("top",)


def edit(change: Callable[[h5py.File], object]) -> Callable[[Path], object]:
    def apply(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file)

    return apply


def add(key: str, values: Any) -> Callable[[Path], object]:
    return edit(lambda file: file.update({key: values}))


def replace(key: str, values: Any, **options: Any) -> Callable[[Path], object]:
    def change(file: h5py.File) -> None:
        del file[key]
        file.create_dataset(key, data=values, **options)

    return edit(change)


def leave_unwritten(file: h5py.File) -> None:
    """The recorder made room for six frames and wrote three."""
    pictures = file["observations/images/top"][:3]
    del file["observations/images/top"]
    made = file.create_dataset("observations/images/top", (6, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
    made[:3] = pictures


def link_elsewhere(file: h5py.File) -> None:
    del file["action"]
    file["action"] = h5py.ExternalLink("episode_0.hdf5", "action")


def link_in_a_circle(file: h5py.File) -> None:
    del file["action"]
    file["action"] = h5py.SoftLink("/other")
    file["other"] = h5py.SoftLink("/action")


def map_elsewhere(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((6, 14), "f8")
    layout[:] = h5py.VirtualSource("episode_0.hdf5", "action", (8, 14))[:6]
    del file["action"]
    file.create_virtual_dataset("action", layout)


def store_elsewhere(file: h5py.File) -> None:
    del file["action"]
    file.create_dataset("action", (6, 14), "f8", external=[("/etc/hostname", 0, 6 * 14 * 8)])


def write_bomb(file: h5py.File) -> None:
    """A frame of 12 kB whose stream inflates to 4 MB."""
    import zlib

    del file["observations/images/top"]
    made = file.create_dataset(
        "observations/images/top", (6, 64, 64, 3), "u1", chunks=(1, 64, 64, 3), compression="gzip"
    )
    for frame in range(6):
        made.id.write_direct_chunk((frame, 0, 0, 0), zlib.compress(bytes(4 << 20)))


def write_large_chunk(file: h5py.File) -> None:
    del file["observations/images/top"]
    shape = (6, 16384, 16384, 3)
    made = file.create_dataset("observations/images/top", shape, "u1", chunks=(1, *shape[1:]), compression="gzip")
    made.id.write_direct_chunk((0, 0, 0, 0), b"x")


PICTURES = np.zeros((6, 64, 64, 3), np.uint8)
DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a file without its end": (lambda path: truncate_file(path, 0.6), "truncated", ".hdf5 is truncated"),
    "a file that is none": (lambda path: path.write_bytes(b"x" * 99), "corrupt", ".hdf5 is truncated or corrupt"),
    "no actions": (
        edit(lambda file: file.pop("action")),
        "missing",
        "there is no 'action' in '/'. Known: observations",
    ),
    "actions of text": (replace("action", np.array([b"x"] * 6)), "not-numbers", "'action' holds |S1, not numbers"),
    "fewer images": (replace("observations/images/top", PICTURES[:5]), "frame-count", "5 images, but 6 actions in"),
    "an image too many": (
        replace("observations/images/top", np.zeros((7, 64, 64, 3), np.uint8)),
        "frame-count",
        "7 images, but 6 actions in",
    ),
    "a row too many": (replace("observations/qpos", np.zeros((7, 14))), "row-count", "7 rows of 'observations/qpos'"),
    "another width": (replace("observations/qpos", np.zeros((6, 13))), "width", "13 values a row"),
    "images never written": (edit(leave_unwritten), "truncated", "were never written: the recording ended before"),
    "images that are none": (
        replace("observations/images/top", np.zeros((6, 100), np.uint8), chunks=(1, 100)),
        "corrupt",
        "image 0 of '/observations/images/top' in",
    ),
    "a link to another file": (edit(link_elsewhere), "foreign", "'action' is a link to another file"),
    "links in a circle": (edit(link_in_a_circle), "corrupt", "the links of 'action' lead in a circle"),
    "values of another file": (edit(map_elsewhere), "foreign", "'action' is a virtual dataset, made of other files"),
    "values in another file": (edit(store_elsewhere), "foreign", "the values of 'action' lie in another file"),
    "a stream without end": (edit(write_bomb), "corrupt", "a gzip stream that does not end after 12288 bytes"),
    "a chunk of 800 MB": (edit(write_large_chunk), "too-large", "takes 805306368 bytes"),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The line of each damaged episode in quarantine.jsonl: all are converted at once, behind a sound one."""
    folder = tmp_path_factory.mktemp("damage")
    write_dataset(folder / "source", version="act", lengths=(6,) * (len(DAMAGE) + 1), video=SMALL)
    for number, (damage, _, _) in enumerate(DAMAGE.values(), start=1):
        damage(folder / f"source/episode_{number}.hdf5")
    with pytest.raises(EpisodesFailed):
        convert(recipe_for(folder / "source", **SETTINGS), folder / "out", workers=LOCAL)
    lines = map(json.loads, (folder / "out/quarantine.jsonl").read_text().splitlines())
    names = [None, *DAMAGE]
    return {str(names[line["episode"]]): line for line in lines}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_costs_one_episode(what: str, failures: dict[str, dict[str, Any]]) -> None:
    _, code, reason = DAMAGE[what]
    failed = failures[what]
    assert failed["code"] == code, failed
    assert reason in failed["reason"]
    assert f"episode_{failed['episode']}.hdf5" in failed["reason"]
    is_of_camera = any(word in what for word in ("image", "stream", "chunk"))
    assert failed["camera"] == ("top" if is_of_camera else None)


def test_sound_files_beside_damaged_ones_are_converted(failures: dict[str, dict[str, Any]]) -> None:
    assert set(failures) == set(DAMAGE)


def test_lengths_that_differ_by_one_may_be_trimmed(source: Path, tmp_path: Path) -> None:
    for number, key, length in ((1, "observations/qpos", 5), (2, "observations/images/top", 6)):
        with h5py.File(source / f"episode_{number}.hdf5") as file:
            values = file[key][:length]
        replace(key, values)(source / f"episode_{number}.hdf5")
    convert_here(source, tmp_path / "out", **SETTINGS, trim_mismatch=1)
    assert_converted(tmp_path / "out", (8, 5, 6))


@pytest.mark.parametrize("picture_format", ["png", "jpeg"])
def test_files_in_rows_are_decoded_with_their_colours(picture_format: str, tmp_path: Path) -> None:
    """JPEG rows are encoded from BGR; that of PNG rows is said by a layout of one's own."""
    options: dict[str, Any] = {"version": "act", "lengths": (3,), "video": SMALL}
    write_dataset(tmp_path / "raw", **options)
    write_dataset(tmp_path / "rows", **options, images_as="image", picture_format=picture_format)
    if picture_format == "png":
        own = (REPOSITORY / "engine/sources/hdf5/aloha_act.yaml").read_text()
        (tmp_path / "rows/hdf5.yaml").write_text(own.replace("jpeg_order: bgr", "jpeg_order: rgb"))
    frames = [
        next(decode_clip(open_source(tmp_path / name).episodes[0].clips["top"], np.array([2]))).to_ndarray(
            format="rgb24"
        )
        for name in ("raw", "rows")
    ]
    error = np.abs(frames[0].astype(int) - frames[1]).mean(axis=(0, 1))
    assert error.max() <= (0 if picture_format == "png" else 12), error


def test_a_folder_of_unknown_keys_says_what_it_holds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["robot/q"] = np.zeros((4, 7))
    with pytest.raises(UnknownLayout, match=r"fits no known layout .*aloha_act.*robot/q \[4, 7\] float64.*robots new"):
        open_source(tmp_path)
    with pytest.raises(DatasetError, match=r"'alohaact' is not a format .*Did you mean 'aloha_act'\?"):
        open_source(tmp_path, format="alohaact")


def test_a_broken_first_file_does_not_hide_the_layout(source: Path) -> None:
    edit(lambda file: file.pop("action"))(source / "episode_0.hdf5")
    dataset = open_source(source)
    assert [episode.index for episode in dataset.episodes] == [1, 2]
    assert [episode.index for episode in dataset.bad] == [0]


def test_a_column_that_some_episodes_lack_fails_only_those_that_need_it(source: Path, tmp_path: Path) -> None:
    for number, length in ((0, 8), (2, 5)):
        add("base_action", np.zeros((length, 2)))(source / f"episode_{number}.hdf5")
    convert_here(source, tmp_path / "out", **SETTINGS, without_columns=["base_action"])
    assert_converted(tmp_path / "out", LENGTHS)
    rows = [episode.rows for episode in open_source(source).episodes]
    columns = ["action", "base_action"]
    assert RowReader().read_ranges(rows[0], columns).num_rows == 8
    with pytest.raises(RowsError, match=r"episode_1.hdf5 has no column 'base_action'"):
        RowReader().read_ranges(rows[1], columns)
    with pytest.raises(RowsError, match=r"episode_2.hdf5: 'base_action' has 5 rows, but state and action have 7; "):
        RowReader().read_ranges(rows[2], columns)


def test_what_is_neither_camera_nor_column_is_told(source: Path) -> None:
    add("observations/images/cam_depth", np.zeros((8, 4, 6), np.uint16))(source / "episode_0.hdf5")
    dataset = open_source(source)
    assert dataset.cameras == ("top",)
    assert dataset.notes[-1] == (
        f"{source}: left out, as they are neither camera nor column: "
        "'observations/images/cam_depth' (uint16 of shape [8, 4, 6])"
    )


def test_texts_by_frame_are_no_pictures(source: Path) -> None:
    for number, length in enumerate(LENGTHS):
        add("observations/images/said", np.array([b"fold it"] * length))(source / f"episode_{number}.hdf5")
    assert open_source(source).cameras == ("top",)


def test_linked_folders_are_told(source: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "elsewhere", version="act", lengths=(3,), video=SMALL)
    (source / "more").symlink_to(tmp_path / "elsewhere")
    dataset = open_source(source)
    assert len(dataset.episodes) == len(LENGTHS)
    assert dataset.notes[-1] == f"{source}: no HDF5 files are looked for in linked folders: more"


def test_another_layout_makes_other_episodes(source: Path) -> None:
    before = [episode.digest for episode in plan_conversion(recipe_for(source, **SETTINGS)).episodes]
    own = (REPOSITORY / "engine/sources/hdf5/aloha_act.yaml").read_text()
    (source / "hdf5.yaml").write_text(own.replace("\n  action:\n", "\n  observations/qvel:\n"))
    after = [episode.digest for episode in plan_conversion(recipe_for(source, **SETTINGS)).episodes]
    assert not set(before) & set(after)


@pytest.mark.skipif(not DATASETS.is_dir(), reason="no real datasets")
@pytest.mark.parametrize("name", ["aloha_act_hdf5", "aloha_act_hdf5_jpeg"])
def test_real_recordings_equal_the_same_frames_of_lerobot(name: str, tmp_path: Path) -> None:
    """They are frames [120, 180) of the LeRobot dataset's first two episodes."""
    dataset, known = open_source(DATASETS / name), open_source(DATASETS / "aloha_v21")
    convert_here(DATASETS / name, tmp_path / "out", robot="aloha", task=TASK, fps="source", episodes="1")
    found, expected = read_table(tmp_path / "out", 0), read_table(DATASETS / "aloha_v21", 1)
    for column in ("observation.state", "action"):
        np.testing.assert_array_equal(matrix(found, column), matrix(expected, column)[120:180])
    ours, theirs = next(iter(dataset.episodes[1].clips.values())), known.episodes[1].clips["top"]
    indices = np.array([0, 31, 59])
    for one, other in zip(decode_clip(ours, indices), decode_clip(theirs, indices + 120), strict=True):
        error = np.abs(one.to_ndarray(format="rgb24").astype(int) - other.to_ndarray(format="rgb24"))
        assert error.mean() <= (0 if name == "aloha_act_hdf5" else 1), error.mean()
