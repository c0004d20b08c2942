"""Many demonstrations in one HDF5 file, of robomimic, LIBERO and Isaac Lab: gaps, splits and turned pictures."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import REPOSITORY, convert_here, matrix, read_meta, read_table, video_path
from millrace.embodiments import MillraceError
from millrace.engine.errors import DatasetError, RecipeError, UnknownLayout
from millrace.engine.inspection import inspect_dataset
from millrace.engine.sources import open_source
from millrace.engine.sources.selection import select_episodes
from support.synthetic import Stamp, expected_action, expected_state, read_stamps
from support.synthetic_hdf5 import DEMO_FORMATS, write_demos

LENGTHS = {10: 5, 2: 4, 0: 6}  # in the order of the file
SETTINGS: dict[str, Any] = {
    "robot": "same",
    "horizon": 2,
    "fps": "source",
    "task": "Stack the cubes.",
    "source_fps": 20,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each format in a folder of its own; not to be changed."""
    root = tmp_path_factory.mktemp("demos")
    for name in DEMO_FORMATS:
        write_demos(root / name / "demo.hdf5", name, LENGTHS)
    return {name: root / name for name in DEMO_FORMATS}


@pytest.mark.parametrize("name", DEMO_FORMATS)
def test_demos_are_converted_by_their_numbers_upright_and_in_colour(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    convert_here(folders[name], tmp_path / "out", **SETTINGS)
    width = sum(DEMO_FORMATS[name]["state"].values())
    for episode, number in enumerate(sorted(LENGTHS)):
        frames, table = np.arange(LENGTHS[number]), read_table(tmp_path / "out", episode)
        np.testing.assert_array_equal(matrix(table, "observation.state"), expected_state(number, frames, width))
        np.testing.assert_array_equal(matrix(table, "action"), expected_action(number, frames, 7))
        for camera, called in enumerate(DEMO_FORMATS[name]["cameras"]):
            expected = [Stamp(frame, number, camera) for frame in frames.tolist()]
            assert read_stamps(video_path(tmp_path / "out", episode, called)) == expected


def test_facts_of_each_format(folders: dict[str, Path]) -> None:
    libero, robomimic = open_source(folders["libero"]), open_source(folders["robomimic"])
    assert (libero.layout, libero.fps, libero.tasks) == ("HDF5, libero", 20, {0: "open the drawer"})
    assert [episode.index for episode in libero.episodes] == [0, 2, 10]
    assert (robomimic.layout, robomimic.fps, robomimic.tasks) == ("HDF5, robomimic", 20, {})
    assert inspect_dataset(folders["libero"]).robot.name == "franka_libero"
    assert [name for name in libero.features if "observation" not in name] == ["action", "dones"]


def test_inspect_misses_no_column_of_pictures(folders: dict[str, Path]) -> None:
    codes = {finding.code for finding in inspect_dataset(folders["libero"]).findings}
    assert codes.isdisjoint({"missing-column", "missing-file", "frame-count"}), codes


def test_a_rate_that_nothing_tells_is_asked_for(folders: dict[str, Path]) -> None:
    with pytest.raises(DatasetError, match=r"isaaclab/demo.hdf5 does not say its rate, .* how many Hz .*source_fps=HZ"):
        open_source(folders["isaaclab"])


def test_a_file_is_a_dataset_of_its_own(folders: dict[str, Path], tmp_path: Path) -> None:
    write_demos(tmp_path / "low_dim.hdf5", "robomimic", {0: 3})
    write_demos(tmp_path / "image.hdf5", "robomimic", {0: 4, 1: 4})
    assert [episode.num_frames for episode in open_source(tmp_path / "image.hdf5").episodes] == [4, 4]
    # All files of a folder are one dataset, in the order of their names.
    assert [(episode.index, episode.num_frames) for episode in open_source(tmp_path).episodes] == [
        (0, 4),
        (1, 4),
        (2, 3),
    ]
    done = convert_here(tmp_path / "low_dim.hdf5", tmp_path / "out", **SETTINGS)
    assert done.num_episodes == 1


def test_splits_are_selected_by_name(folders: dict[str, Path], tmp_path: Path) -> None:
    write_demos(tmp_path / "source/demo.hdf5", "robomimic", LENGTHS)
    with h5py.File(tmp_path / "source/demo.hdf5", "a") as file:
        file["mask/train"] = np.array([b"demo_10", b"demo_0"])
        file["mask/valid"] = ["demo_2"]  # text of any length
        file["mask/empty"] = np.array([b"demo_99"])
        file["mask/nobody"] = np.array([], "S1")  # as robomimic splits three demonstrations
    source = open_source(tmp_path / "source")
    assert source.splits == {"train": (0, 10), "valid": (2,)}
    assert [episode.index for episode in select_episodes(source, "@valid,10")] == [2, 10]
    with pytest.raises(RecipeError, match=r"episodes='@test': .* has no such split\. Known: @train, @valid"):
        select_episodes(source, "@test")
    convert_here(tmp_path / "source", tmp_path / "out", **SETTINGS, holdout="@valid")
    assert [line["length"] for line in read_meta(tmp_path / "out", "episodes.jsonl")] == [6, 5]
    assert [line["length"] for line in read_meta(tmp_path / "out_heldout", "episodes.jsonl")] == [4]


def test_copies_of_the_same_demonstrations_are_warned_of(tmp_path: Path) -> None:
    for name in ("image", "low_dim"):
        write_demos(tmp_path / f"{name}.hdf5", "robomimic", {0: 3, 1: 4})
    write_demos(tmp_path / "other.hdf5", "robomimic", {0: 3, 1: 5})
    about_actions, note = open_source(tmp_path).notes
    assert "nothing tells whether actions are targets or steps" in about_actions
    assert "image.hdf5 and" in note
    assert "low_dim.hdf5 hold episodes of the same names and lengths" in note


def test_files_of_different_rates_are_refused(tmp_path: Path) -> None:
    for number in range(2):
        write_demos(tmp_path / f"{number}.hdf5", "robomimic", {0: 3})
    with h5py.File(tmp_path / "1.hdf5", "a") as file:
        file["data"].attrs["env_args"] = '{"env_kwargs": {"control_freq": 10}}'
    with pytest.raises(DatasetError, match=r"files of different rates: .*0.hdf5 20 Hz, .*1.hdf5 10 Hz"):
        open_source(tmp_path)
    assert open_source(tmp_path, fps=Fraction(10)).fps == 10


def test_robosuites_own_file_needs_observations(tmp_path: Path) -> None:
    # As gather_demonstrations_as_hdf5 of robosuite 1.4.1 and 1.5.2 writes it: no obs/, no mask/, counted from 1.
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        file["data/demo_1/states"], file["data/demo_1/actions"] = np.zeros((4, 32)), np.zeros((4, 7))
    with pytest.raises(UnknownLayout, match=r"states without observations: .*dataset_states_to_obs\.py"):
        open_source(tmp_path)


def test_a_broken_first_demo_does_not_hide_the_layout(tmp_path: Path) -> None:
    write_demos(tmp_path / "demo.hdf5", "robomimic", {0: 3, 1: 4})
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        file["data/demo_0"].clear()
    dataset = open_source(tmp_path)
    assert [(episode.index, episode.num_frames) for episode in dataset.episodes] == [(1, 4)]
    assert [episode.index for episode in dataset.bad] == [0]


def test_names_and_tasks_that_are_no_unicode_cost_no_more_than_their_episode(tmp_path: Path) -> None:
    write_demos(tmp_path / "demo.hdf5", "libero", {0: 3, 1: 3})
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        file["data"].attrs["problem_info"] = json.dumps({"language_instruction": "fold \ud83d"})
        group = file["data/demo_1/obs"]
        group.create_dataset(b"caf\xe9_rgb", data=group["agentview_rgb"][:])
        group.create_dataset(b"caf\xe9", data=np.zeros((3, 2)))
        file.create_dataset(b"mask/caf\xe9", data=np.array([b"demo_0"]))
    layout = (REPOSITORY / "engine/sources/hdf5/libero.yaml").read_text()
    (tmp_path / "hdf5.yaml").write_text(layout.replace("cameras:\n", 'cameras:\n  "*_rgb": obs/*_rgb\n'))
    dataset = open_source(tmp_path)
    assert (dataset.tasks, dataset.splits) == ({}, {})
    assert [episode.index for episode in dataset.episodes] == [0]
    assert r"'/data/demo_1/obs' holds b'caf\xe9', a name that is no Unicode" in str(dataset.bad[0].fault.reason)


def test_an_attribute_of_another_kind_costs_the_file(tmp_path: Path) -> None:
    write_demos(tmp_path / "demo.hdf5", "libero", {0: 3})
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        file["data"].attrs["macros_image_convention"] = "vulkan"
        file["data"].attrs["env_args"] = "{"
    with pytest.raises(MillraceError, match=r"demo.hdf5: attribute 'env_args' is not JSON"):
        open_source(tmp_path)
