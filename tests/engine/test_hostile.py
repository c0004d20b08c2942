"""Datasets from strangers: what leads out of them, claims too much, or speaks to terminals and interpreters."""

import ast
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

import millrace.engine.sources.checked_parquet
import millrace.engine.sources.row_stream
from conftest import REPOSITORY, convert_here, data_path, files_of
from millrace.cli import main
from millrace.embodiments import load_robot
from millrace.embodiments.errors import MillraceError
from millrace.engine.sources import open_source
from millrace.engine.sources.selection import select_episodes
from millrace.engine.validate import validate
from support.synthetic import (
    SyntheticVideo,
    edit_column,
    edit_json,
    edit_jsonl,
    encode_picture,
    rewrite_parquet,
    write_dataset,
)
from support.synthetic_video import write_video

LENGTHS = (12, 12)
SMALL = SyntheticVideo(codec="libx264", height=64, width=64, gop=4)
INFO, EPISODES = "meta/info.json", "meta/episodes.jsonl"
V3_ROWS, V3_EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/chunk-000/observation.images.top/episode_000001.mp4"
# A file of each kind that a layout reads.
FILES = [
    ("v2.1", INFO),
    ("v2.1", EPISODES),
    ("v2.1", "meta/tasks.jsonl"),
    ("v2.1", "data/chunk-000/episode_000001.parquet"),
    ("v2.1", VIDEO),
    ("v2.1", "videos"),
    ("v2.1", "data/chunk-000"),
    ("v3.0", V3_ROWS),
    ("v3.0", V3_EPISODES),
    ("v3.0", "meta/tasks.parquet"),
    ("v3.0", "videos/observation.images.top/chunk-000/file-000.mp4"),
    ("v1.6", "meta_data/info.json"),
    ("v1.6", "data/train-00000-of-00001.parquet"),
    ("v1.6", "videos/observation.images.top_episode_000000.mp4"),
]


def write_small(root: Path, version: str = "v2.1", **options: object) -> Path:
    write_dataset(root, **{"version": version, "lengths": LENGTHS, "video": SMALL, **options})
    return root


def convert_small(source: Path, out: Path) -> None:
    convert_here(source, out, robot="aloha", task="Pick.", horizon=4)


@pytest.mark.parametrize(("version", "name"), FILES)
def test_a_link_out_of_the_dataset_is_not_followed(version: str, name: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source", version)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(source / name, elsewhere)
    (source / name).symlink_to(elsewhere)
    (source / ".git").mkdir()  # it came from somebody else
    with pytest.raises(MillraceError, match="leads out of the dataset"):
        convert_small(source, tmp_path / "out")
    assert not (tmp_path / "out/meta").exists()


@pytest.mark.parametrize(("version", "name"), FILES)
def test_a_link_within_the_dataset_is_followed(version: str, name: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source", version)
    shutil.move(source / name, source / "elsewhere")
    (source / name).symlink_to(source / "elsewhere")
    convert_small(source, tmp_path / "out")
    assert (tmp_path / "out/meta").is_dir()


def test_a_dataset_may_itself_be_a_link(tmp_path: Path) -> None:
    write_small(tmp_path / "source")
    (tmp_path / "link").symlink_to(tmp_path / "source")
    convert_small(tmp_path / "link", tmp_path / "out")
    assert (tmp_path / "out/meta").is_dir()


def snapshot(folder: Path, source: Path) -> Path:
    """A dataset as the Hub's cache holds it: links from a commit's folder to blobs."""
    commit = folder / "datasets--org--name/snapshots/abc"
    for number, (name, content) in enumerate(files_of(source).items()):
        blob = folder / f"datasets--org--name/blobs/{number}"
        for path in (blob, commit / name):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (commit / name).symlink_to(os.path.relpath(blob, (commit / name).parent))
    return commit


def test_the_hubs_own_links_to_its_blobs_are_followed(tmp_path: Path) -> None:
    commit = snapshot(tmp_path, write_small(tmp_path / "source"))
    convert_small(commit, tmp_path / "out")
    assert (tmp_path / "out/meta").is_dir()


def test_a_link_to_the_blobs_of_another_repository_is_not_followed(tmp_path: Path) -> None:
    commit = snapshot(tmp_path / "hub", write_small(tmp_path / "source"))
    other = snapshot(tmp_path / "hub/other", tmp_path / "source")
    (commit / VIDEO).unlink()
    (commit / VIDEO).symlink_to(other / VIDEO)
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: .* leads out of the dataset"):
        convert_small(commit, tmp_path / "out")


def test_a_link_that_failed_is_not_read_to_tell_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_small(tmp_path / "source")
    (source / VIDEO).unlink()
    (source / VIDEO).symlink_to("/dev/zero")
    read: list[Path] = []
    monkeypatch.setattr("millrace.engine.execution.retry.find_unreadable", lambda paths: read.extend(paths))
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: .* leads out of the dataset"):
        convert_small(source, tmp_path / "out")
    assert source / VIDEO not in read
    assert len(read) == 1  # the episode's rows


PIPED = [(version, name) for version, name in FILES if "." in Path(name).name]


@pytest.mark.parametrize(("version", "name"), PIPED)
def test_a_pipe_is_never_waited_for(version: str, name: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source", version)
    (source / name).unlink()
    os.mkfifo(source / name)
    with pytest.raises(MillraceError):
        convert_small(source, tmp_path / "out")


@pytest.mark.parametrize("name", [INFO, "meta/stats.json", "modality_config.py", VIDEO, "data/chunk-000", "videos"])
def test_validate_follows_no_link_out_of_the_dataset(name: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source", fps=20)
    convert_small(source, tmp_path / "out")
    found = tmp_path / "out" / name
    shutil.move(found, tmp_path / "elsewhere")
    found.symlink_to(tmp_path / "elsewhere")
    report = validate(tmp_path / "out")
    assert any("leads out of the dataset" in str(problem) for problem in report.problems)


@pytest.mark.parametrize(
    "template",
    [
        "../{episode_index}.parquet",
        "/{episode_index}.parquet",
        "data/{episode_index.__class__}",
        "data/{episode_index!r}",
        "data/{episode_index:0999999999d}",
        "data/{0}",
        "data/{",
        "data/{episode_index[0]}",
        "data/{secret}",
    ],
)
def test_a_path_template_is_only_numbers_within_the_dataset(template: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    edit_json(source / INFO, lambda info: info | {"data_path": template})
    with pytest.raises(MillraceError, match=r"info\.json: path template"):
        open_source(source)


@pytest.mark.parametrize(("field", "value"), [("length", 10**12), ("length", -1), ("episode_index", 10**30)])
def test_counts_of_episodes_are_bounded_before_memory_is_taken(field: str, value: int, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    edit_jsonl(source / EPISODES, lambda rows: [row | {field: value} for row in rows[:1]])
    with pytest.raises(MillraceError):
        convert_small(source, tmp_path / "out")


def test_cameras_without_end_are_refused_before_clips_are_listed(tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    cameras = {f"observation.images.c{number}": {"dtype": "video", "shape": [3, 64, 64]} for number in range(1001)}
    edit_json(source / INFO, lambda info: info["features"].update(cameras))
    with pytest.raises(MillraceError, match=r"info\.json: features: .*1002 cameras, expected at most 128"):
        open_source(source)


@pytest.mark.parametrize("fps", [1e308, 1e-300, 0, -20, 10**400, "1/0"])
def test_a_rate_that_no_camera_has_is_refused(fps: object, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    edit_json(source / INFO, lambda info: info | {"fps": fps})
    with pytest.raises(MillraceError, match=r"info\.json: fps: "):
        open_source(source)


@pytest.mark.parametrize("name", [INFO, EPISODES])
def test_metadata_without_end_is_not_read(name: str, tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    os.truncate(source / name, 1 << 40)
    with pytest.raises(MillraceError, match="too large to be metadata"):
        open_source(source)


@pytest.mark.parametrize("version", ["v2.1", "v3.0", "v1.6"])
def test_rows_too_large_for_memory_are_not_read(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_small(tmp_path / "source", version)
    monkeypatch.setattr(millrace.engine.sources.checked_parquet, "MAX_READ_BYTES", 11)
    monkeypatch.setattr(millrace.engine.sources.checked_parquet, "MAX_LARGE_BYTES", 11)
    with pytest.raises(MillraceError, match=r"too large: .* take \d+ bytes in memory, at most 11 .*: split") as caught:
        convert_small(source, tmp_path / "out")
    assert "corrupt" not in str(caught.value)


def test_a_video_of_endless_pictures_is_not_decoded(tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    wide = SyntheticVideo(codec="libx264", height=4112, width=8208, preset="ultrafast")
    write_video(source / VIDEO, num_frames=1, fps=50, video=wide)
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: .* has frames of 8208x4112, expected at most"):
        convert_small(source, tmp_path / "out")


def test_a_picture_that_claims_to_be_endless_is_not_decoded(tmp_path: Path) -> None:
    source = write_small(tmp_path / "source", images_as="image")

    def widen(pictures: list[dict[str, bytes]]) -> list[dict[str, bytes]]:
        # IHDR: width and height of four bytes each, then five more and their checksum.
        header = b"IHDR" + (65535).to_bytes(4, "big") * 2 + pictures[0]["bytes"][24:29]
        content = pictures[0]["bytes"][:12] + header + zlib.crc32(header).to_bytes(4, "big") + pictures[0]["bytes"][33:]
        return [{**pictures[0], "bytes": content}, *pictures[1:]]

    edit_column(data_path(source, 1), "observation.images.top", widen)
    with pytest.raises(MillraceError, match=r"^episode 1, camera top: .* is corrupt"):
        convert_small(source, tmp_path / "out")


def test_no_text_of_a_dataset_commands_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;pwned\x07\r\x1b[2J"
    source = write_small(tmp_path / "source", tasks=f"Pick {evil}.", robot_type=evil, cameras=(f"to{evil}p",))
    sheet = str(tmp_path / "sheet.png")
    assert main(["inspect", str(source), "--sheet", sheet]) == 0
    main(["convert", str(source), str(tmp_path / "out"), "--local", "--map", "aloha_to_gr1"])
    main(["validate", str(source)])
    printed = "".join(capfd.readouterr())
    assert "pwned" in printed
    assert all(char.isprintable() or char == "\n" for char in printed)


def write_hostile_offset(source: Path) -> None:
    edit_column(source / V3_EPISODES, "videos/observation.images.top/from_timestamp", lambda values: [values[0], 1e308])


def write_nested_names(source: Path) -> None:
    edit_json(source / INFO, lambda info: info["features"]["action"].update(names="HERE"))
    nested = "[" * 800 + '"joint"' + "]" * 800
    (source / INFO).write_text((source / INFO).read_text().replace('"HERE"', nested))


def write_endless_shape(source: Path) -> None:
    edit_json(source / INFO, lambda info: info["features"]["action"].update(shape=[10**12], names=None))


def write_other_types(source: Path) -> None:
    edit_column(source / "data/chunk-000/file-001.parquet", "action", lambda rows: ["x" for _ in rows])


def write_tasks_twice(source: Path) -> None:
    rewrite_parquet(
        source / "meta/tasks.parquet", lambda table: table.append_column("__index_level_0__", table.column(1))
    )


def write_index_twice(source: Path) -> None:
    path = next(source.glob("data/*.parquet"))
    rewrite_parquet(path, lambda table: table.append_column("episode_index", table["episode_index"]))


def write_huge_doubles(source: Path) -> None:
    edit_column(data_path(source, 1), "action", lambda rows: [[1e300] * 14 for _ in rows])


def write_no_text(path: Path, text: bytes) -> None:
    """A text in a parquet file, and each name that it stands in, is no UTF-8 any more."""
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False, write_statistics=False)
    assert text in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(text, b"\xf1" + text[1:]))


def write_no_task(source: Path) -> None:
    write_no_text(source / V3_EPISODES, b"Pick")


def write_no_name(source: Path) -> None:
    write_no_text(source / "data/train-00000-of-00001.parquet", b"observation.state")


# What the fuzzer, or a look at the code, found to end in an internal error, a warning or an empty memory.
MENDED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an offset beyond libav's clock": ("v3.0", write_hostile_offset, "from_timestamp"),
    "a column of endless width": ("v2.1", write_endless_shape, "a feature has the shape"),
    "files of one episode with other types": ("v3.0", write_other_types, "columns hold other types of values"),
    "a column twice": ("v3.0", write_tasks_twice, "names no tasks"),
    "the episodes' numbers twice": ("hybrid", write_index_twice, "has no one column episode_index"),
    "a task that is no text": ("v3.0", write_no_task, "file-000.parquet is truncated or corrupt ('utf-8' codec"),
    "a column's name that is no text": ("v1.6", write_no_name, "parquet is truncated or corrupt ('utf-8' codec"),
    "numbers beyond float32": ("v2.1", write_huge_doubles, "column 'action' has 168 values that are NaN or infinite"),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_was_found_is_now_an_error_of_ours(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    version, damage, message = MENDED[name]
    source = write_small(tmp_path / "source", version, rows_per_data_file=8 if version == "v3.0" else None)
    damage(source)
    flags = ["--local", "--robot", "aloha", "--task", "Pick.", "--task-all", "--horizon", "4"]
    assert main(["convert", str(source), str(tmp_path / "out"), *flags]) == 1
    printed = capfd.readouterr().err
    assert message in printed
    assert "internal error" not in printed
    assert "Warning" not in printed
    main(["inspect", str(source)])
    assert "internal error" not in capfd.readouterr().err


def test_names_nested_without_end_are_no_names(tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    write_nested_names(source)
    assert open_source(source).features["action"].names is None


def test_numbers_of_episodes_with_endless_gaps_are_not_counted_through(tmp_path: Path) -> None:
    source = write_small(tmp_path / "source")
    edit_jsonl(source / EPISODES, lambda rows: [rows[0], rows[1] | {"episode_index": 10**18}])
    assert [episode.index for episode in select_episodes(open_source(source), "0:")] == [0, 10**18]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_robot_file_that_is_no_file_is_not_opened(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "robot.yaml")
    with pytest.raises(MillraceError, match=r"robot\.yaml: no file, but a folder, a device or a pipe"):
        load_robot(str(tmp_path / "robot.yaml"))


def test_a_robot_file_nested_without_end_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "robot.yaml").write_text("name: " + "[" * 100_000)
    with pytest.raises(MillraceError, match=r"robot\.yaml.*"):
        load_robot(str(tmp_path / "robot.yaml"))


# Pickle goes between our own processes only: to workers of Ray or of this machine, and to one that tries a GPU.
PICKLING = {
    REPOSITORY / name
    for name in (
        "engine/dataset/processes.py",
        "engine/execution/local.py",
        "engine/execution/ray_data.py",
        "engine/video/gpu/isolation.py",
    )
}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "np.load"}
READING = [path for folder in ("engine", "embodiments", "commands") for path in (REPOSITORY / folder).rglob("*.py")]


@pytest.mark.parametrize("path", sorted({*READING} - PICKLING), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & UNSAFE_MODULES
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in UNSAFE_CALLS
            assert not any(keyword.arg in ("shell", "allow_pickle") for keyword in node.keywords)


def test_the_version_of_the_decoder_knows_the_bound() -> None:
    """libav ignores options that it does not know, so that a misspelt bound would bound nothing."""
    codec = av.CodecContext.create("png", "r")
    codec.options = {"max_pixels": "100"}
    with pytest.raises(av.FFmpegError):
        codec.decode(av.Packet(encode_picture(np.zeros((64, 64, 3), np.uint8))))
