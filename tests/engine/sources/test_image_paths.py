"""Pictures that rows name by a path belong to the episode: changed ones are noticed, those of the Hub are fetched."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import LOCAL, convert_here, data_path, files_of, recipe_for
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import EpisodesFailed, OutputExists
from millrace.engine.sources.image_paths import image_candidates
from millrace.engine.sources.row_images import ImageColumn, images_digest
from support.hub_client import HubUser, content_of
from support.hub_repository import files_below
from support.hub_server import HubServer
from support.synthetic import edit_column, encode_picture, write_dataset

LENGTHS = (6, 8, 7)
CAMERAS = ("top", "wrist")
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2}
GREY = encode_picture(np.full((64, 96, 3), 128, np.uint8))


def picture_path(root: Path, episode: int, frame: int, camera: str = "top") -> Path:
    return root / f"images/observation.images.{camera}/episode_{episode:06d}/frame_{frame:06d}.png"


def move_out(root: Path, episode: int, camera: str) -> None:
    """The pictures of rows become files that the rows name."""

    def move(pictures: list[Any]) -> list[Any]:
        paths = [picture_path(root, episode, frame, camera) for frame in range(len(pictures))]
        paths[0].parent.mkdir(parents=True)
        for path, picture in zip(paths, pictures, strict=True):
            path.write_bytes(picture["bytes"])
        return [{"bytes": None, "path": str(path.relative_to(root))} for path in paths]

    edit_column(data_path(root, episode), f"observation.images.{camera}", move)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embedded") / "source"
    write_dataset(root, lengths=LENGTHS, cameras=CAMERAS, images_as="image")
    return root


@pytest.fixture(scope="module")
def by_path(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a file a picture; not to be changed."""
    root = Path(shutil.copytree(embedded, tmp_path_factory.mktemp("by_path") / "source"))
    for episode in range(len(LENGTHS)):
        for camera in CAMERAS:
            move_out(root, episode, camera)
    return root


def digests(source: Path, **settings: Any) -> list[str]:
    return [episode.digest for episode in plan_conversion(recipe_for(source, **SETTINGS, **settings)).episodes]


def test_a_changed_picture_is_another_episode(by_path: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(by_path, tmp_path / "source"))
    before = digests(source)
    picture_path(source, 1, 3).write_bytes(GREY)
    changed = digests(source)
    assert [one == other for one, other in zip(before, changed, strict=True)] == [True, False, True]
    picture_path(source, 1, 3).unlink()
    assert digests(source)[1] not in (before[1], changed[1])
    unused = {"without_cameras": ["wrist"]}
    before = digests(source, **unused)
    picture_path(source, 0, 0, "wrist").write_bytes(GREY)
    assert digests(source, **unused) == before


def test_a_run_that_goes_on_takes_a_changed_picture(by_path: Path, embedded: Path, tmp_path: Path) -> None:
    source, out = Path(shutil.copytree(by_path, tmp_path / "source")), tmp_path / "out"
    picture_path(source, 2, 0).unlink()
    with pytest.raises(EpisodesFailed, match="episode 2, camera top"):
        convert_here(source, out, **SETTINGS)
    shutil.copyfile(picture_path(by_path, 2, 0), picture_path(source, 2, 0))
    picture_path(source, 0, 0).write_bytes(GREY)
    assert convert_here(source, out, **SETTINGS).num_resumed == 1
    convert_here(source, tmp_path / "fresh", **SETTINGS)
    assert files_of(out) == files_of(tmp_path / "fresh")
    picture_path(source, 0, 0).write_bytes(picture_path(by_path, 0, 0).read_bytes())
    with pytest.raises(OutputExists, match="1 of its 3 episodes were changed since, such as 0"):
        convert_here(source, out, **SETTINGS)
    convert(recipe_for(source, **SETTINGS), out, workers=LOCAL, overwrite=True)
    convert_here(embedded, tmp_path / "embedded", **SETTINGS)
    assert content_of(out) == content_of(tmp_path / "embedded")


def test_pictures_in_rows_name_no_files(embedded: Path, tmp_path: Path) -> None:
    episode = plan_conversion(recipe_for(embedded, **SETTINGS)).episodes[0].episode
    assert all(isinstance(clip, ImageColumn) for clip in episode.clips.values())
    assert images_digest(episode, embedded) is None
    assert list(image_candidates("../a.png", Path("d/data/chunk-000/e.parquet"))) == []
    assert list(image_candidates("a" * 256, Path("d/data/chunk-000/e.parquet"))) == []


def test_only_the_wanted_pictures_are_fetched_from_the_hub(
    hub: HubServer, user: HubUser, by_path: Path, tmp_path: Path
) -> None:
    hub.add("org/aloha", files_below(by_path))
    flags = ("--robot", "aloha", "--horizon", "2", "--image-size", "64", "--crop", "center", "--local")
    done = user.run("convert", "org/aloha", tmp_path / "out", *flags, "--episodes", "0:2", "--camera", "-wrist")
    assert done.exit_code == 0, done.err
    convert_here(by_path, tmp_path / "reference", **SETTINGS, episodes="0:2", without_cameras=["wrist"])
    assert content_of(tmp_path / "out") == content_of(tmp_path / "reference")
    pictures = {path.relative_to(user.snapshots).as_posix().partition("/")[2] for path in user.snapshots.rglob("*.png")}
    wanted = [picture_path(by_path, episode, frame) for episode in (0, 1) for frame in range(LENGTHS[episode])]
    assert pictures == {path.relative_to(by_path).as_posix() for path in wanted}
