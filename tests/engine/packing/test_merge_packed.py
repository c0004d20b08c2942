"""Clips of LeRobot v3.0 that Millrace made are copied by packets; what the manifest proves is not decoded again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import convert_here, read_meta, video_path
from millrace.engine.convert import Summary
from millrace.engine.packing import pack_dataset
from support.synthetic import read_video, write_dataset

KEY = "observation.images.top"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{KEY}/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short episodes in v2.1; not to be changed."""
    folder = tmp_path_factory.mktemp("merging")
    write_dataset(folder / "aloha", lengths=(22, 17))
    convert_here(folder / "aloha", folder / "v21", robot="aloha", horizon=4)
    return folder / "v21"


@pytest.fixture(scope="module")
def packed(converted: Path) -> Path:
    """The same in v3.0; not to be changed."""
    pack_dataset(converted, converted.parent / "v30")
    return converted.parent / "v30"


def convert_again(source: Path, out: Path) -> Summary:
    return convert_here(source, out, robot="aloha", horizon=4)


def episode_statistics(packed: Path) -> list[dict[str, Any]]:
    """Of the camera, as meta/episodes has them."""
    rows = pq.read_table(packed / EPISODES).to_pylist()
    return [{name: row[f"stats/{KEY}/{name}"] for name in ("min", "max", "mean", "std", "count")} for row in rows]


def test_nothing_that_the_manifest_proves_is_decoded(converted: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = convert_again(packed, out)
    assert summary.num_copied_clips == 2
    assert not {"decode", "encode"} & set(summary.stage_seconds)
    assert [line["stats"][KEY] for line in read_meta(out, "episodes_stats.jsonl")] == episode_statistics(packed)
    for episode in range(2):
        found, due = read_video(video_path(out, episode)), read_video(video_path(converted, episode))
        assert [image.tobytes() for image in found] == [image.tobytes() for image in due]


def alter_video(root: Path) -> None:
    """Another content of the same size, which plays as before."""
    content = (root / VIDEO).read_bytes()
    assert content.count(b"VideoHandler") == 1
    (root / VIDEO).write_bytes(content.replace(b"VideoHandler", b"VideoHandles"))


def alter_statistics(root: Path) -> None:
    table = pq.read_table(root / EPISODES)
    place = table.schema.get_field_index(f"stats/{KEY}/mean")
    wrong = pa.array([[[[0.123]]] * 3] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), wrong), root / EPISODES)


def alter_manifest(root: Path) -> None:
    path = root / "millrace.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))


@pytest.mark.parametrize(
    "change", [alter_video, alter_statistics, alter_manifest, lambda root: (root / "millrace.json").unlink()]
)
def test_what_was_changed_since_is_decoded(packed: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    shutil.copytree(packed, tmp_path / "altered")
    change(tmp_path / "altered")
    summary = convert_again(tmp_path / "altered", tmp_path / "out")
    assert summary.num_copied_clips == 2
    assert "decode" in summary.stage_seconds
    for line, due in zip(read_meta(tmp_path / "out", "episodes_stats.jsonl"), episode_statistics(packed), strict=True):
        assert line["stats"][KEY]["count"] == due["count"]
        for found, expected in zip(line["stats"][KEY]["mean"], due["mean"], strict=True):
            # Of decoded frames, where the others are those that were encoded.
            assert found[0][0] == pytest.approx(expected[0][0], abs=0.01)
