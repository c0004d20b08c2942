"""Links of the user's own datasets are followed; those that somebody else made lead to nobody's files."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import convert_here, video_path
from millrace.cli import main
from millrace.embodiments.errors import MillraceError
from millrace.engine.errors import FaultCode
from millrace.engine.inspection import inspect_dataset
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import open_source
from millrace.engine.sources.containment import Barrier, why_refused
from support.synthetic import SyntheticVideo, edit_json, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
LENGTHS = (12, 9)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4, "task": "Pick."}
VIDEO = "videos/chunk-000/observation.images.top/episode_000001.mp4"
SECRET = "correct horse battery staple"
# How a folder says that somebody else may have made its links.
MARKS = (".git", ".cache/huggingface")


def write(root: Path, version: str = "v2.1") -> Path:
    write_dataset(root, lengths=LENGTHS, version=version, video=SMALL)
    return root


def move_out(source: Path, name: str) -> Path:
    """Put a file or folder on another disk, as it were, and a link in its place."""
    disk = source.parent / "disk" / Path(name).name
    disk.parent.mkdir(exist_ok=True)
    shutil.move(source / name, disk)
    (source / name).symlink_to(disk)
    return disk


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v2.1", "videos"),
        ("v2.1", "data"),
        ("v2.1", "data/chunk-000"),
        ("v2.1", VIDEO),
        ("v2.1", "meta"),
        ("v2.1", "meta/tasks.jsonl"),
        ("v3.0", "data/chunk-000/file-000.parquet"),
        ("v3.0", "meta/episodes"),
        ("v1.6", "data"),
    ],
)
def test_links_of_ones_own_dataset_to_ones_own_disk_are_followed(version: str, name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "source", version)
    move_out(source, name)
    assert convert_here(source, tmp_path / "out", **SETTINGS).num_episodes == len(LENGTHS)
    assert not [finding for finding in inspect_dataset(source).findings if finding.severity == "error"]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("name", ["meta/tasks.jsonl", VIDEO, "data"])
def test_links_of_a_downloaded_folder_are_followed_only_if_asked(mark: str, name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    (source / mark).mkdir(parents=True)
    move_out(source, name)
    with pytest.raises(MillraceError, match=r"leads out of the dataset, to .*; if you trust .*: follow_links=True"):
        convert_here(source, tmp_path / "out", **SETTINGS)
    followed = Recipe.single(source, robot="aloha", follow_links=True)
    assert followed.sources[0].follow_links
    assert convert_here(source, tmp_path / "out", **SETTINGS, follow_links=True).num_episodes == len(LENGTHS)
    assert not [one for one in inspect_dataset(source, follow_links=True).findings if one.severity == "error"]


def test_links_to_files_of_another_owner_are_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    disk = move_out(source, VIDEO)
    try:
        os.chown(disk, os.getuid() + 1, -1)
    except PermissionError:
        pytest.skip("NOT TESTED: only root may give a file to somebody else")
    assert "if you trust its links: follow_links=True" in str(why_refused(source / VIDEO, source))
    os.chown(disk, os.getuid(), -1)
    assert why_refused(source / VIDEO, source) is None
    os.chown(source / VIDEO, os.getuid() + 1, -1, follow_symlinks=False)
    assert why_refused(source / VIDEO, source) is not None


def test_the_kind_of_a_refusal_decides_whose_fault_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out.mp4").symlink_to("/etc/hostname")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe")
    (root / "file").touch()
    for name, barrier in (("out.mp4", Barrier.OUTSIDE), ("circle", Barrier.NO_FILE), ("pipe", Barrier.NO_FILE)):
        refusal = why_refused(root / name, root)
        assert refusal is not None
        assert (refusal.barrier, refusal.code) == (barrier, FaultCode.FOREIGN)
    assert why_refused(root / "file", root) is None

    def hide(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os.path, "realpath", hide)
    refusal = why_refused(root / "file", root)
    assert refusal is not None
    assert (refusal.barrier, refusal.code) == (Barrier.HIDDEN, FaultCode.UNREADABLE)


def test_no_file_of_another_kind_is_read_through_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that came in an archive has its links from its maker, and its owner is the user."""
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    (home / "id_rsa").write_text(SECRET)
    for name, template in (("meta/tasks.jsonl", None), ("data", "data/{episode_index:06d}"), (VIDEO, None)):
        source = write(tmp_path / f"source_{Path(name).stem}")
        if (source / name).is_dir():
            shutil.rmtree(source / name)
        (source / name).unlink(missing_ok=True)
        (source / name).symlink_to(home if template else home / "id_rsa")
        if template:
            edit_json(source / "meta/info.json", lambda info, path=template: {**info, "data_path": path})
            (home / "000000").symlink_to(home / "id_rsa")
        out = tmp_path / f"out_{Path(name).stem}"
        command = ["convert", str(source), str(out), "--local", "--robot", "aloha", "--horizon", "4"]
        assert main(command) != 0
        main(["inspect", str(source)])
        assert not (out / "meta").exists()
    assert SECRET not in "".join(capsys.readouterr())


def test_links_of_the_hubs_cache_lead_to_its_blobs_alone(tmp_path: Path) -> None:
    cached = tmp_path / "hub/datasets--org--name/snapshots/abc"
    write(cached)
    move_out(cached, VIDEO)
    told = "leads out of the dataset, to .*; links of a dataset from the Hub are not followed"
    for settings in ({}, {"follow_links": True}):
        with pytest.raises(MillraceError, match=told):
            convert_here(cached, tmp_path / "out", **SETTINGS, **settings)


def test_ones_own_folder_may_link_to_blobs_of_the_hubs_cache(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    blob = tmp_path / "hub/datasets--org--name/blobs/0a1b2c"
    blob.parent.mkdir(parents=True)
    shutil.move(source / VIDEO, blob)
    (source / VIDEO).symlink_to(blob)
    assert convert_here(source, tmp_path / "out", **SETTINGS).num_episodes == len(LENGTHS)


@pytest.mark.parametrize("follow_links", [False, True])
def test_a_pipe_at_the_end_of_a_link_is_never_opened(follow_links: bool, tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (source / "meta/tasks.jsonl").unlink()
    (source / "meta/tasks.jsonl").symlink_to(tmp_path / "pipe.jsonl")
    with pytest.raises(MillraceError, match="is no file but a device or a pipe"):
        open_source(source, follow_links=follow_links)


def name_pictures(source: Path, folder: str) -> list[Path]:
    """Take the pictures out of the rows; each row names its own."""
    key, written = "observation.images.top", []
    for parquet in sorted(source.glob("data/*/*.parquet")):
        table = pq.read_table(parquet)
        pictures = table.column(key).to_pylist()
        names = [f"{parquet.stem}_{number}.png" for number in range(len(pictures))]
        for name, picture in zip(names, pictures, strict=True):
            path = source / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture["bytes"])
            written.append(path)
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        named = pa.array([{"bytes": None, "path": name} for name in names], kind)
        pq.write_table(table.set_column(table.column_names.index(key), key, named), parquet)
    return written


@pytest.mark.parametrize("folder", ["", "images", "data/chunk-000"])
def test_pictures_that_rows_name_are_read_from_the_datasets_folder(folder: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS, images_as="image")
    convert_here(source, tmp_path / "expected", **SETTINGS)
    written = name_pictures(source, folder)
    convert_here(source, tmp_path / "out", **SETTINGS)
    assert video_path(tmp_path / "out", 1).read_bytes() == video_path(tmp_path / "expected", 1).read_bytes()
    written[-1].unlink()
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: .* holds no image, and 'episode_000001_8.png'"):
        convert_here(source, tmp_path / "other", **SETTINGS, fps=50)


def test_a_picture_elsewhere_is_not_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS, images_as="image")
    written = name_pictures(source, "images")
    (source / ".git").mkdir()
    written[0].rename(tmp_path / "elsewhere.png")
    written[0].symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(MillraceError, match=r"^episode 0, camera top: .* leads out of the dataset"):
        convert_here(source, tmp_path / "out", **SETTINGS)


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    video_path(source, 1).unlink()
    video_path(source, 1).symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: no video at "):
        convert_here(source, tmp_path / "out", **SETTINGS)
