"""`millrace inspect` tells what a dataset holds and what is wrong with it, whatever is wrong with it."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.console import Console

from barcode import Stamp, draw, read
from conftest import REPOSITORY, data_path, video_path
from embodiments.errors import MillraceError
from engine.errors import DatasetError, RecipeError
from engine.inspection import (
    KINDS,
    Inspection,
    contact_sheet,
    inspect_dataset,
    print_inspection,
)
from engine.progress import stage_progress
from engine.row_reader import RowReader
from engine.sources import open_source
from engine.video.look import picture_size
from synthetic import (
    ALOHA_JOINTS,
    ExtraColumn,
    corrupt_bytes,
    edit_json,
    edit_jsonl,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
)

FPS = 20
LENGTHS = (80, 70, 60)
LAG = 2  # frames
HEIGHT, WIDTH = 64, 96
DATASETS = REPOSITORY.parent / "shared/datasets"
ALOHA_TASK = "Pick up the cube with the right arm and transfer it to the left arm."


def joints(episode: int, num_frames: int, *, start: int = 0) -> NDArray[np.float32]:
    """A robot in constant, smooth motion, each joint in its own way, (T, 14)."""
    seconds = (np.arange(num_frames) + start)[:, None] / FPS + 10 * episode
    speed = 1 + 0.25 * np.arange(len(ALOHA_JOINTS))
    return (np.sin(speed * seconds) + 0.3 * np.sin(2.7 * speed * seconds + 1)).astype(np.float32)


def with_columns(table: pa.Table, **columns: NDArray[Any]) -> pa.Table:
    """The table with other values in some columns; `state` is observation.state."""
    for name, values in columns.items():
        key = "observation.state" if name == "state" else name
        place = table.column_names.index(key)
        kind = table.schema.field(key).type
        array = pa.array(list(values) if values.ndim == 2 else values).cast(kind)
        table = table.set_column(place, table.schema.field(key), array)
    return table


def change(root: Path, *, episodes: tuple[int, ...] = (1,), **columns: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Changes columns of some episodes in place."""
    for episode in episodes:

        def edit(table: pa.Table) -> pa.Table:
            values = {
                name: edit(np.array(table["observation.state" if name == "state" else name].to_pylist()))
                for name, edit in columns.items()
            }
            return with_columns(table, **values)

        rewrite_parquet(data_path(root, episode), edit)


def move(root: Path, *, lag: int = LAG) -> None:
    """Gives a v2 dataset a robot that moves, its state `lag` frames after the action."""
    for episode, num_frames in enumerate(LENGTHS):
        state, action = joints(episode, num_frames), joints(episode, num_frames, start=lag)
        rewrite_parquet(data_path(root, episode), partial(with_columns, state=state, action=action))


def write_pictures(
    path: Path, images: list[NDArray[np.uint8]], *, fps: int = FPS, times: list[int] | None = None
) -> None:
    """One mp4 of the images, (H, W, 3) uint8 RGB; times in frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for place, image in zip(times or range(len(images)), images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = place, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def pictures(episode: int = 1) -> list[NDArray[np.uint8]]:
    return [draw(frame, episode, 0, HEIGHT, WIDTH) for frame in range(LENGTHS[episode])]


def shown(root: Path) -> str:
    """What the terminal would show."""
    text = io.StringIO()
    print_inspection(inspect_dataset(root), Console(file=text, width=200))
    return text.getvalue()


def codes(inspection: Inspection) -> set[str]:
    return {finding.code for finding in inspection.findings}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inspection") / "pristine"
    write_dataset(root, lengths=LENGTHS, fps=FPS, tasks=ALOHA_TASK)
    move(root)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A dataset without a fault, to be broken."""
    return Path(shutil.copytree(pristine, tmp_path / "dataset"))


# Each breaks one thing. Videos and rows of episode 1, unless it takes all.


def forget_totals(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if not key.startswith("total_")}


def have_no_episode(root: Path) -> None:
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [])
    edit_json(root / "meta/info.json", forget_totals)


def name_no_task(root: Path) -> None:
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [{**row, "tasks": []} for row in rows])
    (root / "meta/tasks.jsonl").unlink()


def say_nothing(root: Path) -> None:
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [{**row, "tasks": [" "]} for row in rows])
    edit_jsonl(root / "meta/tasks.jsonl", lambda rows: [{**row, "task": " "} for row in rows])


def drop_column_of_all(root: Path) -> None:
    for episode in range(len(LENGTHS)):
        rewrite_parquet(data_path(root, episode), lambda table: table.drop_columns(["index"]))


def set_type(root: Path, values: Any) -> None:
    def edit(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index("action"), "action", pa.array(values(len(table))))

    rewrite_parquet(data_path(root, 1), edit)


def with_nan(values: NDArray[Any]) -> NDArray[Any]:
    values[5, 3] = np.nan
    return values


def held_at_the_end(values: NDArray[Any]) -> NDArray[Any]:
    values[-30:] = values[-31]
    return values


def held(values: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(values[:1], len(values), axis=0)


def without_gripper(values: NDArray[Any]) -> NDArray[Any]:
    values[:, ALOHA_JOINTS.index("left_gripper")] = 0.25
    return values


def copy_state(root: Path, shift: int) -> None:
    for episode, num_frames in enumerate(LENGTHS):
        values = joints(episode, num_frames + 1)
        state, action = values[:num_frames], values[shift : num_frames + shift]
        rewrite_parquet(data_path(root, episode), partial(with_columns, state=state, action=action))


def noise(values: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(len(values)).normal(size=values.shape)


def set_size(info: dict[str, Any]) -> None:
    info["features"]["observation.images.top"]["shape"] = [HEIGHT * 2, WIDTH * 2, 3]


def blacken(root: Path) -> None:
    images = pictures()
    images[30:50] = [np.zeros_like(image) for image in images[30:50]]
    write_pictures(video_path(root, 1), images)


def freeze(root: Path) -> None:
    images = pictures()
    images[30:] = [images[30]] * len(images[30:])
    write_pictures(video_path(root, 1), images)


def stand_still(root: Path) -> None:
    write_pictures(video_path(root, 1), pictures()[:1] * LENGTHS[1])
    change(root, state=held)


def pause_video(root: Path) -> None:
    times = [frame + 10 * (frame >= 40) for frame in range(LENGTHS[1])]
    write_pictures(video_path(root, 1), pictures(), times=times)


EVERY = (0, 1, 2)
BREAKS: dict[str, Callable[[Path], object]] = {
    "no-episode": have_no_episode,
    "missing-file": lambda root: data_path(root, 1).unlink(),
    "version-mismatch": lambda root: edit_json(
        root / "meta/info.json", lambda info: {**info, "codebase_version": "v3.0"}
    ),
    "total-mismatch": lambda root: edit_json(root / "meta/info.json", lambda info: {**info, "total_frames": 9}),
    "no-task": name_no_task,
    "empty-task": say_nothing,
    "unreadable-rows": lambda root: truncate_file(data_path(root, 1), 0.5),
    "missing-column": drop_column_of_all,
    "row-count": lambda root: rewrite_parquet(data_path(root, 1), lambda table: table.slice(0, LENGTHS[1] - 1)),
    "wrong-width": lambda root: set_type(root, lambda length: [[0.0] * 13] * length),
    "not-numbers": lambda root: set_type(root, lambda length: ["left"] * length),
    "nan": lambda root: change(root, state=with_nan),
    "unknown-task": lambda root: change(root, task_index=lambda indices: indices + 7),
    "wrong-rate": lambda root: change(root, timestamp=lambda seconds: seconds * 2),
    "timestamp-gap": lambda root: change(root, timestamp=lambda seconds: seconds + 0.5 * (np.arange(70) >= 40)),
    "frame-index-jump": lambda root: change(root, frame_index=lambda frames: frames + 3 * (frames >= 40)),
    "constant-joint": lambda root: change(root, episodes=EVERY, state=without_gripper),
    "idle": lambda root: change(root, state=held_at_the_end),
    "idle-episode": lambda root: change(root, state=held),
    "action-lag": lambda root: None,
    "action-after-state": lambda root: move(root, lag=-3),
    "action-is-state": lambda root: copy_state(root, 0),
    "action-is-next-state": lambda root: copy_state(root, 1),
    "action-unrelated": lambda root: change(root, episodes=EVERY, action=noise),
    "unreadable-video": lambda root: truncate_file(video_path(root, 1), 0.5),
    "frame-count": lambda root: write_pictures(video_path(root, 1), pictures()[:-3]),
    "video-fps": lambda root: write_pictures(video_path(root, 1), pictures(), fps=2 * FPS),
    "video-gap": pause_video,
    "video-size": lambda root: edit_json(root / "meta/info.json", set_size),
    "black-video": blacken,
    "frozen-video": freeze,
    "still-video": stand_still,
}
# The state that stands still is told as well.
COMES_WITH = {"still-video": {"idle-episode"}}
# One of these is told of every dataset that commands what it observes.
LAGS = {code for code in KINDS if code.startswith("action-")}


def test_every_kind_of_finding_is_provoked() -> None:
    assert set(BREAKS) == set(KINDS)


@pytest.mark.parametrize("code", BREAKS)
def test_finding_is_told_and_nothing_else(code: str, root: Path) -> None:
    BREAKS[code](root)
    told = codes(inspect_dataset(root))
    assert told - (LAGS - {code}) == {code} | COMES_WITH.get(code, set())


@pytest.mark.parametrize("code", ["nan", "timestamp-gap", "frozen-video", "black-video", "unreadable-video", "idle"])
def test_finding_names_its_episode(code: str, root: Path) -> None:
    BREAKS[code](root)
    (finding,) = (finding for finding in inspect_dataset(root).findings if finding.code == code)
    assert finding.episode == 1
    assert finding.severity == KINDS[code].severity
    assert (finding.camera == "top") == code.endswith("video")


def message(root: Path, code: str) -> str:
    return next(finding.message for finding in inspect_dataset(root).findings if finding.code == code)


def test_findings_say_where_and_how_much(root: Path) -> None:
    change(root, state=with_nan, timestamp=lambda seconds: seconds + 0.5 * (np.arange(70) >= 40))
    change(root, episodes=(0,), state=held_at_the_end)
    freeze(root)
    assert "missing in left_forearm_roll: 1 values, the first in row 5" in message(root, "nan")
    assert "other than 0.05 s: 1 of 69" in message(root, "timestamp-gap")
    assert "+0.55 s, to row 40" in message(root, "timestamp-gap")
    idle = message(root, "idle")
    assert "for 1.6 of 4.0 s (39%): 0.0 s at the start, 1.6 s at the end" in idle


def test_frozen_video_names_what_moved(root: Path) -> None:
    freeze(root)
    assert any(f"while {joint} moves" in message(root, "frozen-video") for joint in ALOHA_JOINTS)


@pytest.mark.parametrize("lag", [0, 1, 4])
def test_lag_is_measured_in_frames_and_seconds(root: Path, lag: int) -> None:
    move(root, lag=lag)
    # Exact copies are another finding: these are not quite.
    change(root, episodes=EVERY, action=lambda action: action + noise(action) * 1e-4)
    motion = inspect_dataset(root).motion
    assert motion.lag_frames == lag
    assert motion.lag_seconds == pytest.approx(lag / FPS)
    assert motion.lag_correlation is not None
    assert motion.lag_correlation > 0.9


def test_joint_in_one_direction_does_not_hide_the_lag(root: Path) -> None:
    drift = np.linspace(0, 50, max(LENGTHS))[:, None]
    change(root, episodes=EVERY, state=lambda x: x + drift[: len(x)], action=lambda x: x + drift[: len(x)])
    assert inspect_dataset(root).motion.lag_frames == LAG


def test_noise_of_a_parked_joint_is_no_motion(root: Path) -> None:
    def parked(values: NDArray[Any]) -> NDArray[Any]:
        values = held(values)
        values[:, 0] += 1e-4 * np.random.default_rng(0).normal(size=len(values))
        return values

    change(root, state=parked)
    assert "idle-episode" in codes(inspect_dataset(root))


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
    assert codes(inspection) == {"action-lag", *hybrid}


def test_large_dataset_is_sampled_evenly_and_says_so(root: Path) -> None:
    change(root, episodes=(1,), state=with_nan)
    inspection = inspect_dataset(root, max_episodes=2)
    assert (inspection.num_inspected, inspection.num_episodes) == (2, 3)
    assert "nan" not in codes(inspection)
    assert inspect_dataset(root, episodes="1").findings[0].code == "nan"


def test_pictures_are_looked_at_within_a_budget(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 24 pictures of an episode, and at worst a key frame for each.
    monkeypatch.setattr("engine.inspection.videos.PIXEL_BUDGET", 2.5 * 48 * WIDTH * HEIGHT)
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
    with stage_progress(Console(file=text)) as on_progress:
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
    assert (robot.name, robot.command) == (None, None)
    assert robot.reason.startswith("none of the shipped robots fits: aloha: ")


def test_next_command_names_what_the_conversion_cannot_guess(tmp_path: Path) -> None:
    source = tmp_path / "my data"
    write_dataset(source, version="hybrid", lengths=(30,), fps=10, cameras=("cam_high",))
    command = inspect_dataset(source).robot.command
    assert command is not None
    assert command.startswith(f"millrace convert '{source}' OUT --map aloha_to_gr1")
    assert "--camera ego_view=cam_high --fps source --task " in command


# Bad data never ends in a traceback.


def test_dataset_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        inspect_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("selection", ["7", "4:9", "a:b", "-1"])
def test_selection_of_no_episode_is_an_error(pristine: Path, selection: str) -> None:
    with pytest.raises(RecipeError, match="--episodes"):
        inspect_dataset(pristine, episodes=selection)


@pytest.mark.parametrize("path", [lambda root: data_path(root, 1), lambda root: video_path(root, 1)])
@pytest.mark.parametrize(
    "spoil",
    [
        replace_with_lfs_pointer,
        lambda path: path.write_bytes(b""),
        lambda path: truncate_file(path, 0.97),
        lambda path: corrupt_bytes(path, 0.0, 400),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_spoilt_file_becomes_a_finding(
    root: Path, path: Callable[[Path], Path], spoil: Callable[[Path], object]
) -> None:
    spoil(path(root))
    findings = [finding for finding in inspect_dataset(root).findings if finding.severity == "error"]
    assert findings
    assert {finding.episode for finding in findings} == {1}


def test_unchecked_columns_do_no_harm(tmp_path: Path) -> None:
    columns = {
        "language": ExtraColumn(lambda episode, frames: ["say"] * len(frames), dtype="string"),
        "tokens": ExtraColumn(lambda episode, frames: np.stack([frames, frames], 1), dtype="int64", shape=(2,)),
    }
    write_dataset(tmp_path, lengths=LENGTHS, cameras=(), extra_columns=columns, list_type="variable")
    assert not codes(inspect_dataset(tmp_path)) - LAGS


def test_text_of_the_dataset_cannot_command_the_terminal(tmp_path: Path) -> None:
    task = "[red]stop[/] \x1b[31m\x07\nnext: rm -rf /\u202e"
    write_dataset(tmp_path, lengths=(30,), cameras=(), tasks=task, names=["\x1b]0;x", *ALOHA_JOINTS[1:]])
    text = shown(tmp_path)
    assert not any(char in text for char in "\x1b\x07\u202e")
    assert "[red]stop[/] \\x1b[31m\\x07\\nnext: rm -rf /" in text


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
    assert "1 error, 1 note; looked into 3 of 3 episodes, and at pictures of 3" in text
    assert f"next: millrace convert {root} OUT --map aloha_to_gr1" in text


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
    assert picture_size(shape, names) == expected


def test_many_findings_of_a_kind_are_counted(root: Path) -> None:
    for episode in EVERY:
        truncate_file(data_path(root, episode), 0.5)
    shutil.copytree(root / "data", root / "more")
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [*rows, {**rows[0], "episode_index": 3}])
    shutil.copy(data_path(root, 0), data_path(root, 3))
    shutil.copy(video_path(root, 0), video_path(root, 3))
    assert "unreadable-rows  and 1 more of this kind" in shown(root)


def decode_png(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        image: NDArray[np.uint8] = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)
    return image


def cells(sheet: NDArray[np.uint8], *, num_pictures: int) -> Iterator[list[NDArray[np.uint8]]]:
    """The pictures of each row of a sheet, parted by its background."""
    is_row = (sheet != sheet[0, 0]).any(axis=(1, 2))
    starts = np.flatnonzero(np.diff(is_row.astype(int)) == 1) + 1
    for start in starts:
        row = sheet[start : start + 120]
        is_column = (row != sheet[0, 0]).any(axis=(0, 2))
        edges = np.flatnonzero(np.diff(is_column.astype(int))) + 1
        assert len(edges) == 2 * num_pictures
        yield [row[:, left:right] for left, right in edges.reshape(-1, 2)]


def test_contact_sheet_shows_every_camera_of_some_episodes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(9, 21, 30), cameras=("top", "wrist"))
    sheet = contact_sheet(tmp_path / "source", tmp_path / "sheet.png", max_episodes=2, num_pictures=5)
    assert (sheet.episodes, sheet.cameras) == ((0, 2), ("top", "wrist"))
    rows = list(cells(decode_png(tmp_path / "sheet.png"), num_pictures=5))
    stamps = [[read(picture) for picture in row] for row in rows]
    assert stamps == [
        [Stamp(frame, episode, camera) for frame in np.linspace(0, length - 1, 5).round().astype(int)]
        for episode, length in ((0, 9), (2, 30))
        for camera in (0, 1)
    ]


def test_contact_sheet_shows_the_right_episode_of_rows_that_lie_elsewhere(tmp_path: Path) -> None:
    write_dataset(tmp_path, version="v3.0", lengths=(9, 21), images_as="image")
    # Another order in the file than in meta/episodes.
    path = tmp_path / "data/chunk-000/file-000.parquet"
    rewrite_parquet(path, lambda table: pa.concat_tables([table.slice(9), table.slice(0, 9)]))
    contact_sheet(tmp_path, tmp_path / "sheet.png", num_pictures=3)
    rows = list(cells(decode_png(tmp_path / "sheet.png"), num_pictures=3))
    assert [[read(picture) for picture in row] for row in rows] == [
        [Stamp(frame, 0, 0) for frame in (0, 4, 8)],
        [Stamp(frame, 1, 0) for frame in (0, 10, 20)],
    ]


def test_contact_sheet_is_made_of_what_can_be_read(root: Path) -> None:
    truncate_file(video_path(root, 1), 0.5)
    contact_sheet(root, root / "sheet.png", num_pictures=4)
    good, bad, _ = cells(decode_png(root / "sheet.png"), num_pictures=4)
    assert np.ptp(bad[0], axis=(0, 1)).max() == 0
    assert np.ptp(good[0], axis=(0, 1)).max() > 100


def test_contact_sheet_without_cameras_or_folder_is_an_error(pristine: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "blind", lengths=(9,), cameras=())
    with pytest.raises(MillraceError, match="no camera"):
        contact_sheet(tmp_path / "blind", tmp_path / "sheet.png")
    with pytest.raises(MillraceError, match="cannot be written"):
        contact_sheet(pristine, tmp_path / "nowhere/sheet.png")
