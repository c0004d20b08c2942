"""`millrace inspect` tells what a dataset holds, what robot it is of, and what to type next."""

import io
import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from rich.console import Console

from conftest import data_path, video_path
from millrace.commands.progress import show_stages
from millrace.engine.inspection import (
    Inspection,
    inspect_dataset,
)
from millrace.engine.sources import open_source
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.video.thumbnails import info_image_size
from support.faulty_datasets import (
    ALOHA_TASK,
    BREAKS,
    DATASETS,
    EVERY,
    FPS,
    HEIGHT,
    LAGS,
    LENGTHS,
    WIDTH,
    change,
    codes,
    pictures,
    shown,
    with_nan,
    write_pictures,
)
from support.synthetic import (
    ALOHA_JOINTS,
    edit_json,
    edit_jsonl,
    rewrite_parquet,
    truncate_file,
    write_dataset,
)

LAYOUTS = [
    ("v1.6", {}),
    ("hybrid", {}),
    ("hybrid", {"num_shards": 3}),
    ("v2.0", {}),
    ("v2.1", {"names": "nested"}),
    ("v2.1", {"images_as": "image", "image_shape": "chw"}),
    ("v3.0", {"episodes_per_data_file": 2, "video_lead_frames": {"top": 5}}),
    ("v3.0", {"images_as": "image"}),
]


@pytest.mark.parametrize(("version", "options"), LAYOUTS)
def test_every_layout_is_inspected(tmp_path: Path, version: str, options: dict[str, Any]) -> None:
    write_dataset(tmp_path, version=version, lengths=LENGTHS, fps=FPS, **options)
    inspection = inspect_dataset(tmp_path)
    assert (inspection.num_episodes, inspection.num_frames, inspection.fps) == (3, 210, FPS)
    assert (inspection.shortest_frames, inspection.longest_frames) == (60, 80)
    assert inspection.duration_seconds == pytest.approx(210 / FPS)
    (camera,) = inspection.cameras
    assert (camera.name, camera.width, camera.height) == ("top", WIDTH, HEIGHT)
    assert camera.codec == ("image" if "images_as" in options else "av1")
    assert inspection.robot.name == "aloha"
    assert inspection.num_rows_bytes > 0
    assert (inspection.num_video_bytes > 0) == ("images_as" not in options)
    knows_tasks = version not in ("v1.6", "hybrid")
    assert [(task.task, task.num_episodes) for task in inspection.tasks] == [(ALOHA_TASK, 3)] * knows_tasks
    untold = set() if knows_tasks else {"no-task"}
    untold |= {"missing-column"} if version == "hybrid" else set()
    assert codes(inspection) - LAGS == untold


def test_cameras_are_described(pristine: Path) -> None:
    (camera,) = inspect_dataset(pristine).cameras
    assert (camera.codec, camera.pix_fmt, camera.fps, camera.gop) == ("av1", "yuv420p", FPS, 2)
    num_bytes = video_path(pristine, 0).stat().st_size
    assert camera.bytes_per_frame == pytest.approx(num_bytes / LENGTHS[0])


@pytest.mark.parametrize(
    ("name", "robot_fits", "lag_frames"),
    [
        ("aloha_v1_hybrid", True, 1),
        ("aloha_v20", True, 1),
        ("aloha_v21", True, 1),
        ("aloha_v30", True, 1),
        ("g1_gripper_v21", None, 1),
        ("g1_dex3_v30", None, 1),
    ],
)
def test_real_dataset_has_no_fault(name: str, robot_fits: bool | None, lag_frames: int) -> None:
    if not (DATASETS / name).is_dir():
        pytest.skip(f"NOT TESTED on real data: {DATASETS / name} is not here")
    inspection = inspect_dataset(DATASETS / name)
    if robot_fits:
        assert inspection.robot.name == "aloha"
    assert {camera.codec for camera in inspection.cameras} == {"av1"}
    assert inspection.motion.lag_frames == lag_frames
    hybrid = {"no-task", "missing-column"} if name == "aloha_v1_hybrid" else set()
    # The hands of this simulated sample do not move as Unitree's do.
    hands = {"beyond-limits"} if name == "g1_dex3_v30" else set()
    assert codes(inspection) == {"action-lag", *hybrid, *hands}


def test_large_dataset_is_sampled_evenly_and_says_so(root: Path) -> None:
    change(root, episodes=(1,), state=with_nan)
    inspection = inspect_dataset(root, max_episodes=2)
    assert (inspection.num_inspected, inspection.num_episodes) == (2, 3)
    assert "nan" not in codes(inspection)
    assert inspect_dataset(root, episodes="1").findings[0].code == "nan"


def test_pictures_are_looked_at_within_a_budget(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 24 pictures of an episode, and at worst a key frame for each.
    monkeypatch.setattr(sys.modules[inspect_dataset.__module__], "PIXEL_BUDGET", 2.5 * 48 * WIDTH * HEIGHT)
    inspection = inspect_dataset(pristine)
    assert (inspection.num_inspected, inspection.num_watched) == (3, 2)


@pytest.mark.parametrize("rows_a_group", [7, 100, 1000])
def test_shared_rows_are_those_that_conversion_reads(tmp_path: Path, rows_a_group: int) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=LENGTHS, cameras=(), episodes_per_data_file=2)
    for path in tmp_path.glob("data/*/*.parquet"):
        pq.write_table(pq.read_table(path), path, row_group_size=rows_a_group)
    reader = RowReader()
    for episode in (*(episodes := open_source(tmp_path).episodes), *episodes):
        _, table = reader.read(episode, ["action"])
        assert table["action"] == RowReader().read_ranges(episode.rows, ["action"])["action"]


def test_shared_rows_that_lie_elsewhere_are_found(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=LENGTHS, fps=FPS, cameras=())
    # Another order in the file than in meta/episodes.
    path = tmp_path / "data/chunk-000/file-000.parquet"
    rewrite_parquet(path, lambda table: pa.concat_tables([table.slice(80), table.slice(0, 80)]))
    assert not codes(inspect_dataset(tmp_path)) - LAGS


def test_rows_of_an_episode_that_are_nowhere_are_told(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=LENGTHS, fps=FPS, cameras=())
    rewrite_parquet(tmp_path / "data/chunk-000/file-000.parquet", lambda table: table.slice(0, 150))
    findings = [finding for finding in inspect_dataset(tmp_path).findings if finding.code == "unreadable-rows"]
    assert [finding.episode for finding in findings] == [2]


def test_progress_reaches_its_end(pristine: Path) -> None:
    told: list[tuple[str, int, int]] = []
    inspect_dataset(pristine, on_progress=lambda *progress: told.append(progress))
    assert told == [(stage, number, 3) for stage in ("rows", "videos") for number in (1, 2, 3)]


def test_progress_is_silent_without_a_terminal(pristine: Path) -> None:
    text = io.StringIO()
    with show_stages(Console(file=text)) as on_progress:
        inspect_dataset(pristine, on_progress=on_progress)
    assert text.getvalue() == ""


# The robot, and what to type next.


def test_robot_is_told_by_its_names_in_any_order(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(30,), cameras=(), names=list(reversed(ALOHA_JOINTS)), robot_type=None)
    robot = inspect_dataset(tmp_path).robot
    assert robot.name == "aloha"
    assert robot.reason == "all 14 joints of 'aloha' by name in observation.state and action"
    assert "aloha_to_gr1" in robot.maps


def test_robot_without_names_is_told_by_its_width(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(30,), cameras=(), names=None)
    robot = inspect_dataset(tmp_path).robot
    assert robot.name == "aloha"
    assert robot.reason.startswith("width 14 fits 'aloha', names are anonymous")


def test_robot_that_nothing_fits_is_unknown(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(30,), cameras=(), state_width=5, robot_type="koch")
    robot = inspect_dataset(tmp_path).robot
    assert robot.name is None
    assert robot.reason.startswith("no shipped robot fits")
    assert robot.commands == (
        f"millrace robots new --from {tmp_path} --out robot.yaml",
        f"millrace convert {tmp_path} OUT --robot robot.yaml",
    )


def test_next_command_names_what_the_conversion_cannot_guess(tmp_path: Path) -> None:
    source = tmp_path / "my data"
    write_dataset(source, version="hybrid", lengths=(30,), fps=10, cameras=("cam_high",))
    (command,) = inspect_dataset(source).robot.commands
    assert command.startswith(f"millrace convert '{source}' OUT --map aloha_to_gr1_rescaled")
    assert "--camera ego_view=cam_high --fps source --task " in command
    write_dataset(tmp_path / "blind", lengths=(30,), cameras=())
    (command,) = inspect_dataset(tmp_path / "blind").robot.commands
    assert command.endswith("OUT --map aloha_to_gr1_rescaled --camera -ego_view")


# What people and programs read.


def test_json_round_trip(root: Path) -> None:
    for code in ("nan", "idle", "frozen-video"):
        BREAKS[code](root)
    inspection = inspect_dataset(root)
    assert TypeAdapter(Inspection).validate_json(inspection.to_json()) == inspection
    assert json.loads(inspection.to_json())["findings"][0].keys() >= {"code", "severity", "episode", "message"}


def test_same_files_give_the_same_inspection(pristine: Path) -> None:
    assert inspect_dataset(pristine) == inspect_dataset(pristine)


def test_text_tells_the_facts_and_the_findings(root: Path) -> None:
    BREAKS["unreadable-video"](root)
    text = shown(root)
    for fact in ("LeRobot v2.1", "aloha: all 14 joints", "av1", "yuv420p", "96x64", ALOHA_TASK, "3 episodes"):
        assert fact in text
    assert "error    unreadable-video  episode 1, camera top: " in text
    assert "1 error, 1 note; looked into 3 of 3 episodes, and at frames of 3" in text
    assert f"next: millrace convert {root} OUT --map aloha_to_gr1_rescaled" in text


@pytest.mark.parametrize("fps", [90_000, 30_000, "1/5000", "1/1000000000"])
def test_rates_that_no_dataset_should_have_are_told(root: Path, fps: int | str) -> None:
    if isinstance(fps, int):
        write_pictures(video_path(root, 0), pictures(0), fps=fps)
    else:
        edit_json(root / "meta/info.json", lambda info: {**info, "fps": fps})
    assert f"{float(Fraction(fps)):.4g}" in shown(root)


@pytest.mark.parametrize(
    ("shape", "names", "expected"),
    [
        ((480, 640, 3), None, (480, 640)),
        ((3, 480, 640), None, (480, 640)),
        ((4, 480, 640), None, (480, 640)),
        ((3, 480, 640), ("channels", "height", "width"), (480, 640)),
        ((6, 480, 640), ("channels", "height", "width"), (480, 640)),
        ((3, 4, 6), ("height", "width", "channel"), (3, 4)),
        ((480, 640, 3), ("height", "width", "rgb"), (480, 640)),
        ((480, 640), None, None),
    ],
)
def test_names_tell_whether_channels_come_first(
    shape: tuple[int, ...], names: tuple[str, ...] | None, expected: tuple[int, int] | None
) -> None:
    assert info_image_size(shape, names) == expected


def test_many_findings_of_a_kind_are_counted(root: Path) -> None:
    for episode in EVERY:
        truncate_file(data_path(root, episode), 0.5)
    shutil.copytree(root / "data", root / "more")
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [*rows, {**rows[0], "episode_index": 3}])
    shutil.copy(data_path(root, 0), data_path(root, 3))
    shutil.copy(video_path(root, 0), video_path(root, 3))
    assert "unreadable-rows  and 1 more of this kind" in shown(root)
