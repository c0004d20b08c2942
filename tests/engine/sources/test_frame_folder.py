"""Frames beside rows: one damaged file costs one episode, and errors name files, lines and cameras."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, convert_here, files_of, read_meta, recipe_for
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import DatasetError, EpisodesFailed
from millrace.engine.inspection.inspect_dataset import inspect_dataset
from millrace.engine.sources import open_source
from support.hub_client import HubUser
from support.hub_repository import files_below
from support.hub_server import HubServer
from support.synthetic import encode_picture, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (8, 6, 7)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2}
GREY = encode_picture(np.full((64, 96, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("frames") / "source"
    write_dataset(root, version="frames", lengths=LENGTHS)
    return root


@pytest.fixture
def source(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "source"))


def image(root: Path, episode: int, frame: int) -> Path:
    return root / f"episode_{episode:06d}/frames/top/{frame:06d}.png"


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, number = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.M)
    assert number
    path.write_text(text)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^fps: 50", "fps: fast", r"frames.yaml:1: a frame rate is a number"),
        (r"^cameras: .*", 'cameras: ["../top"]', r"frames.yaml:4: cameras.0: "),
        (r"^image_path: .*", "image_path: frames/{camera}.png", r"frames.yaml:\d+: .*lacks \{frame\}"),
        (r"^image_path: .*", "image_path: ../{camera}/{frame}.png", r"frames.yaml:\d+: .*leads out"),
        (r"^tasks: .*", 'tasks: ["one", "two"]', r"frames.yaml:6: 2 tasks for 3 episodes"),
        (r"^robot_type: ", "robot: ", r"frames.yaml:2: .*robot"),
    ],
)
def test_an_error_in_the_settings_names_file_and_line(
    pattern: str, replacement: str, message: str, source: Path
) -> None:
    edit(source / "frames.yaml", pattern, replacement)
    with pytest.raises(DatasetError, match=message):
        open_source(source)


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a missing image": (lambda root: image(root, 1, 3).unlink(), "missing", "000003.png is missing"),
    "an image that is none": (lambda root: image(root, 1, 0).write_bytes(b"x"), "corrupt", "neither PNG nor JPEG"),
    "a truncated image": (lambda root: image(root, 1, 0).write_bytes(GREY[:200]), "corrupt", "000000.png is corrupt"),
    "an image too many": (lambda root: image(root, 1, 6).write_bytes(GREY), "frame-count", "there is an image"),
    "an LFS pointer": (
        lambda root: image(root, 1, 0).write_text("version https://git-lfs.github.com/spec/v1\n"),
        "missing",
        "Git LFS pointer",
    ),
    "a text among the joints": (
        lambda root: edit(root / "episode_000001/rows.csv", r"^0\.02,[^,]*,", "0.02,broken,"),
        "corrupt",
        "Row #3",
    ),
    "no rows": (lambda root: (root / "episode_000001/rows.csv").unlink(), "missing", "no rows at"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_costs_one_episode(what: str, source: Path, tmp_path: Path) -> None:
    damage, code, reason = DAMAGE[what]
    damage(source)
    with pytest.raises(EpisodesFailed):
        convert(recipe_for(source, **SETTINGS), tmp_path / "out", workers=LOCAL)
    failed = json.loads((tmp_path / "out/quarantine.jsonl").read_text())
    assert (failed["episode"], failed["code"]) == (1, code), failed
    assert reason in failed["reason"]
    assert failed["camera"] == ("top" if "image" in what or "LFS" in what else None)


def test_a_run_continues_with_the_fixed_image(source: Path, sound: Path, tmp_path: Path) -> None:
    image(source, 2, 1).unlink()
    with pytest.raises(EpisodesFailed):
        convert_here(source, tmp_path / "out", **SETTINGS)
    shutil.copyfile(image(sound, 2, 1), image(source, 2, 1))
    assert convert_here(source, tmp_path / "out", **SETTINGS).num_resumed == 2
    convert_here(source, tmp_path / "other", **SETTINGS)
    videos = [name for name in files_of(tmp_path / "out") if name.endswith((".mp4", ".parquet"))]
    assert all(files_of(tmp_path / "out")[name] == files_of(tmp_path / "other")[name] for name in videos)


def test_a_changed_image_is_another_episode(source: Path) -> None:
    before = [episode.digest for episode in plan_conversion(recipe_for(source, **SETTINGS)).episodes]
    image(source, 1, 3).write_bytes(GREY)
    after = [episode.digest for episode in plan_conversion(recipe_for(source, **SETTINGS)).episodes]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_one_folder_of_frames_is_one_episode(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "episode_000000", tmp_path / "source")
    shutil.copyfile(sound / "frames.yaml", tmp_path / "source/frames.yaml")
    edit(tmp_path / "source/frames.yaml", r"^tasks: .*", "tasks: Pick up the cube.")
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=2)
    assert_converted(tmp_path / "out", LENGTHS[:1])
    assert [line["task"] for line in read_meta(tmp_path / "out", "tasks.jsonl")] == ["Pick up the cube."]


def test_inspection_of_frames(source: Path) -> None:
    found = inspect_dataset(source)
    assert (found.num_episodes, found.cameras[0].codec, found.cameras[0].width) == (3, "image", 96)
    assert not [finding for finding in found.findings if finding.severity == "error"], found.findings
    image(source, 1, 3).unlink()
    assert "missing-file" in [finding.code for finding in inspect_dataset(source).findings]


def test_rows_that_are_no_numbers_or_too_many_columns_are_refused(source: Path) -> None:
    (source / "episode_000000/rows.csv").write_text("," * 5000 + "\n")
    with (source / "episode_000001/rows.csv").open("wb") as file:
        file.truncate(1 << 40)
    dataset = open_source(source)
    assert [(bad.index, bad.fault.code.value) for bad in dataset.bad] == [(0, "too-large"), (1, "too-large")]


def test_frames_on_the_hub_are_fetched(sound: Path, hub: HubServer, user: HubUser, tmp_path: Path) -> None:
    hub.add("org/frames", files_below(sound))
    flags = ("--robot", "aloha", "--horizon", "2", "--image-size", "64", "--crop", "center", "--local")
    done = user.run("convert", "org/frames", tmp_path / "out", *flags)
    assert done.exit_code == 0, done.err
    assert_converted(tmp_path / "out", LENGTHS)
