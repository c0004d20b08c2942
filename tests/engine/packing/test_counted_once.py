"""Images are counted when a clip is made, and never again: not for v3.0, and not where the clip is copied later."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import IMAGE_SIZE, convert_here, files_of, read_meta, video_path
from millrace.engine.dataset.camera_levels import (
    EPISODES_AT_ONCE,
    CameraLevels,
    CameraLevelsWriter,
    Levels,
    pack_levels,
    unpack_levels,
)
from millrace.engine.layout import CAMERA_LEVELS
from millrace.engine.packing import pack_dataset
from millrace.engine.validate import validate
from support.synthetic import SyntheticVideo, write_dataset

KEY = "observation.images.top"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
LENGTHS = (22, 17)
# As we write clips, by another program: at 20 Hz they are copied, and their statistics are those of decoded frames.
FITTING = SyntheticVideo(codec="libx264", gop=10, height=IMAGE_SIZE, width=IMAGE_SIZE)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes whose clips are encoded; not to be changed."""
    folder = tmp_path_factory.mktemp("encoded")
    write_dataset(folder / "aloha", lengths=LENGTHS)
    convert_here(folder / "aloha", folder / "v21", robot="aloha", horizon=4)
    return folder / "v21"


@pytest.fixture(scope="module")
def packed(encoded: Path) -> Path:
    """The same in v3.0; not to be changed."""
    pack_dataset(encoded, encoded.parent / "v30")
    return encoded.parent / "v30"


def statistics(packed: Path) -> list[dict[str, Any]]:
    """Of the camera, as meta/episodes has them."""
    rows = pq.read_table(packed / EPISODES).to_pylist()
    return [{name: value for name, value in row.items() if name.startswith(f"stats/{KEY}/")} for row in rows]


def levels_of(root: Path) -> list[Levels]:
    counted = CameraLevels(root)
    return [counted.find(episode)[KEY] for episode in range(len(LENGTHS))]


def spoil_frames(root: Path) -> None:
    """Make clips of which no frame can be decoded, though their packets can be read."""
    for episode in range(len(LENGTHS)):
        path = video_path(root, episode)
        content = path.read_bytes()
        start = content.index(b"mdat") + 4
        path.write_bytes(content[:start] + bytes(len(content) - start))


def test_packing_decodes_nothing(encoded: Path, packed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(encoded, tmp_path / "spoilt"))
    spoil_frames(root)
    pack_dataset(root, tmp_path / "out")
    assert statistics(tmp_path / "out") == statistics(packed)
    assert read_meta(tmp_path / "out", "stats.json") == read_meta(packed, "stats.json")


def test_both_layouts_state_the_same_statistics(encoded: Path, packed: Path) -> None:
    lines = read_meta(encoded, "episodes_stats.jsonl")
    for line, row in zip(lines, statistics(packed), strict=True):
        for name, value in line["stats"][KEY].items():
            np.testing.assert_allclose(row[f"stats/{KEY}/{name}"], value, rtol=1e-12, atol=1e-12)


def test_what_was_counted_is_what_decoding_finds(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, fps=20, video=FITTING)
    root = tmp_path / "v21"
    assert convert_here(tmp_path / "source", root, robot="aloha", horizon=4).num_copied_clips == 2
    pack_dataset(root, tmp_path / "counted")
    (root / CAMERA_LEVELS).unlink()
    pack_dataset(root, tmp_path / "decoded")
    assert files_of(tmp_path / "decoded") == files_of(tmp_path / "counted")


def drop(root: Path) -> None:
    (root / CAMERA_LEVELS).unlink()


def cut(root: Path) -> None:
    (root / CAMERA_LEVELS).write_bytes((root / CAMERA_LEVELS).read_bytes()[:200])


def count_other_frames(root: Path) -> None:
    """Counts that cannot be those of clips of this size."""
    rewrite(root, lambda levels: levels * 2)


def count_less_than_nothing(root: Path) -> None:
    def change(levels: Levels) -> Levels:
        levels[:, 0] -= levels.sum()
        levels[:, 1] += levels.sum()
        return levels

    rewrite(root, change)


def swap_bright_and_dark(root: Path) -> None:
    """Counts that may be those of clips of this size, but are of no clip of the dataset."""
    rewrite(root, lambda levels: levels[:, ::-1])


def name_other_episodes(root: Path) -> None:
    table = pq.read_table(root / CAMERA_LEVELS)
    pq.write_table(table.take([1, 0]), root / CAMERA_LEVELS)


def hold_texts(root: Path) -> None:
    table = pq.read_table(root / CAMERA_LEVELS)
    pq.write_table(table.set_column(1, KEY, [["many", "few"]]), root / CAMERA_LEVELS)


def rewrite(root: Path, change: Callable[[Levels], Levels]) -> None:
    changed = [change(levels.copy()) for levels in levels_of(root)]
    with CameraLevelsWriter(root / CAMERA_LEVELS, [KEY]) as writer:
        for levels in changed:
            writer.add({KEY: levels})


@pytest.mark.parametrize(
    "change",
    [drop, cut, count_other_frames, count_less_than_nothing, swap_bright_and_dark, name_other_episodes, hold_texts],
)
def test_counts_that_cannot_be_used_are_made_again(
    encoded: Path, packed: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = Path(shutil.copytree(encoded, tmp_path / "altered"))
    change(root)
    pack_dataset(root, tmp_path / "out")
    assert validate(tmp_path / "out").is_valid
    for found, due in zip(statistics(tmp_path / "out"), statistics(packed), strict=True):
        assert found[f"stats/{KEY}/count"] == due[f"stats/{KEY}/count"]
        # Of decoded frames, where the others are those that were encoded.
        np.testing.assert_allclose(found[f"stats/{KEY}/mean"], due[f"stats/{KEY}/mean"], atol=0.01)
    assert len(levels_of(tmp_path / "out")) == len(LENGTHS)


@pytest.mark.parametrize("layout", ["v2.1", "v3.0"])
def test_copied_clips_keep_their_counts(encoded: Path, packed: Path, tmp_path: Path, layout: str) -> None:
    source = {"v2.1": encoded, "v3.0": packed}[layout]
    summary = convert_here(source, tmp_path / "out", robot="aloha", horizon=4)
    assert summary.num_copied_clips == 2
    assert not {"decode", "encode", "image statistics"} & set(summary.stage_seconds)
    assert (tmp_path / "out" / CAMERA_LEVELS).read_bytes() == (encoded / CAMERA_LEVELS).read_bytes()
    assert validate(tmp_path / "out", deep=True).is_valid


@pytest.mark.parametrize("layout", ["v2.1", "v3.0"])
def test_counts_that_the_manifest_does_not_prove_are_not_taken_over(
    encoded: Path, packed: Path, tmp_path: Path, layout: str
) -> None:
    root = Path(shutil.copytree({"v2.1": encoded, "v3.0": packed}[layout], tmp_path / "altered"))
    rewrite(root, lambda levels: levels[:, ::-1])
    assert convert_here(root, tmp_path / "out", robot="aloha", horizon=4).num_copied_clips == 2
    assert CameraLevels(tmp_path / "out").find(0) == {}


def test_a_clip_that_is_copied_is_opened_twice(encoded: Path, tmp_path: Path) -> None:
    """For its boxes, and to be copied; its digest is that of the copy, which is taken anyway."""
    opened: list[str] = []

    def note(event: str, args: tuple[Any, ...]) -> None:
        if is_watched and event == "open" and str(args[0]) == str(video_path(encoded, 1)):
            opened.append(str(args[0]))

    is_watched = True
    sys.addaudithook(note)  # for good: Python takes no hook back
    convert_here(encoded, tmp_path / "out", robot="aloha", horizon=4)
    is_watched = False
    assert len(opened) == 2


def test_a_dataset_without_cameras_has_no_counts(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(22,), cameras=())
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=4)
    assert not (tmp_path / "out" / CAMERA_LEVELS).exists()


def test_counts_are_found_in_any_block(tmp_path: Path) -> None:
    num_episodes = 2 * EPISODES_AT_ONCE + 3
    (tmp_path / "meta").mkdir()
    with CameraLevelsWriter(tmp_path / CAMERA_LEVELS, [KEY, "observation.images.wrist"]) as writer:
        for number in range(num_episodes):
            writer.add({KEY: np.full((3, 256), number)} if number % 5 else {})
    counted = CameraLevels(tmp_path)
    for number in (0, 1, EPISODES_AT_ONCE - 1, EPISODES_AT_ONCE, num_episodes - 1, 7):
        found = counted.find(number)
        assert list(found) == ([KEY] if number % 5 else [])
        assert all(np.all(levels == number) for levels in found.values())
    assert counted.find(num_episodes) == {}


def test_counts_survive_the_ledger() -> None:
    levels = np.random.default_rng(0).integers(0, 1 << 31, (3, 256))
    found = unpack_levels(pack_levels(levels))
    assert found is not None
    assert np.array_equal(found, levels)
    for text in ("", "x", "AAAA", pack_levels(levels)[:-8]):
        assert unpack_levels(text) is None
