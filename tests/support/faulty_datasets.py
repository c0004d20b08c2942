"""A moving robot's dataset without a fault, and for each kind of finding a way to provoke just that."""

import io
import shutil
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console

from conftest import REPOSITORY, data_path, video_path
from millrace.commands.inspection_text import print_inspection
from millrace.engine.inspection import KINDS, Inspection, inspect_dataset
from support.barcode import draw
from support.synthetic import (
    ALOHA_JOINTS,
    edit_json,
    edit_jsonl,
    rewrite_parquet,
    truncate_file,
    turn_video,
    write_dataset,
)

FPS = 20
LENGTHS = (80, 70, 60)
LAG = 2  # frames
HEIGHT, WIDTH = 64, 96
DATASETS = REPOSITORY.parent / "shared/datasets"
ALOHA_TASK = "Pick up the cube with the right arm and transfer it to the left arm."


def write_pristine(root: Path) -> Path:
    """A dataset without a fault."""
    write_dataset(root, lengths=LENGTHS, fps=FPS, tasks=ALOHA_TASK)
    move(root)
    return root


def shown(root: Path) -> str:
    """What the terminal would show."""
    text = io.StringIO()
    print_inspection(inspect_dataset(root), Console(file=text, width=200))
    return text.getvalue()


def codes(inspection: Inspection) -> set[str]:
    return {finding.code for finding in inspection.findings}


def joints(episode: int, num_frames: int, *, start: int = 0) -> NDArray[np.float32]:
    """A robot in constant, smooth motion, each joint in its own way, (T, 14)."""
    seconds = (np.arange(num_frames) + start)[:, None] / FPS + 10 * episode
    speed = 1 + 0.25 * np.arange(len(ALOHA_JOINTS))
    waves = np.sin(speed * seconds) + 0.3 * np.sin(2.7 * speed * seconds + 1)
    return (0.5 + 0.38 * waves).astype(np.float32)  # in [0, 1], which any joint and gripper reaches


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
    path: Path,
    images: list[NDArray[np.uint8]],
    *,
    fps: int = FPS,
    times: list[int] | None = None,
    pixel_aspect: Fraction = Fraction(1),
) -> None:
    """One mp4 of the images, (H, W, 3) uint8 RGB; times in frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        for place, image in zip(times or range(len(images)), images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = place, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def pictures(episode: int = 1) -> list[NDArray[np.uint8]]:
    return [draw(frame, episode, 0, HEIGHT, WIDTH) for frame in range(LENGTHS[episode])]


GRIPPER = ALOHA_JOINTS.index("left_gripper")
MANY = 6


def closing(episode: int) -> NDArray[np.float32]:
    """A moving robot whose left gripper closes, (60 + LAG, 14)."""
    values = joints(episode, 60 + LAG)
    values[:, GRIPPER] = 1 / (1 + np.exp((np.arange(60 + LAG) - 25 - episode) / 3))
    return values


def write_many(root: Path, *, num_episodes: int = MANY, cameras: tuple[str, ...] = ()) -> Path:
    """In place of what is there: as many episodes as can be compared, all of one length."""
    shutil.rmtree(root, ignore_errors=True)
    write_dataset(root, lengths=(60,) * num_episodes, fps=FPS, cameras=cameras, tasks=ALOHA_TASK)
    for episode in range(num_episodes):
        values = closing(episode)
        rewrite_parquet(data_path(root, episode), partial(with_columns, state=values[:60], action=values[LAG:]))
    return root


def write_last(root: Path, *, num_frames: int = 60, **columns: Any) -> Path:
    """Many episodes, of which the last has another length or other options."""
    shutil.rmtree(root, ignore_errors=True)
    write_dataset(
        root, lengths=(60,) * (MANY - 1) + (num_frames,), fps=FPS, cameras=(), **{"tasks": ALOHA_TASK, **columns}
    )
    for episode in range(MANY):
        values = joints(episode, (num_frames if episode == MANY - 1 else 60) + LAG)
        rewrite_parquet(data_path(root, episode), partial(with_columns, state=values[:-LAG], action=values[LAG:]))
    return root


def trembling(values: NDArray[Any]) -> NDArray[Any]:
    return values + np.random.default_rng(0).normal(scale=0.02, size=values.shape)


def clipped(values: NDArray[Any]) -> NDArray[Any]:
    """The elbow of the right arm, as it would be beyond the robot's limit for a while."""
    values[:, ALOHA_JOINTS.index("right_elbow")] += 1
    return np.minimum(values, 1.6057)


def nearly_the_first(values: NDArray[Any]) -> NDArray[Any]:
    return closing(0)[:60] + 0.001 * np.sin(np.arange(60))[:, None]


def inverted(values: NDArray[Any]) -> NDArray[Any]:
    values[:, GRIPPER] = 1 - values[:, GRIPPER]
    return values


def with_spike(values: NDArray[Any]) -> NDArray[Any]:
    values[30, 3] += 3
    return values


def wrapped(values: NDArray[Any]) -> NDArray[Any]:
    values[:, 3] = np.mod(2 + 0.05 * np.arange(len(values)) + np.pi, 2 * np.pi) - np.pi
    return values


# Each breaks one thing. Videos and rows of episode 1, unless it takes all.


def forget_totals(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if not key.startswith("total_")}


def have_no_episode(root: Path) -> None:
    edit_jsonl(root / "meta/episodes.jsonl", lambda rows: [])
    edit_json(root / "meta/info.json", forget_totals)


def spoil_other_info(root: Path) -> None:
    """A v1 folder beside the v2 one."""
    (root / "meta_data").mkdir()
    (root / "meta_data/info.json").write_text("[")


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
    return np.random.default_rng(len(values)).uniform(size=values.shape)


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
    change(root, state=held, action=held)


def pause_video(root: Path) -> None:
    times = [frame + 10 * (frame >= 40) for frame in range(LENGTHS[1])]
    write_pictures(video_path(root, 1), pictures(), times=times)


EVERY = (0, 1, 2)
BREAKS: dict[str, Callable[[Path], object]] = {
    "not-opened": lambda root: (root / "meta/info.json").write_bytes(b""),
    "not-inspected": spoil_other_info,
    "bad-metadata": lambda root: edit_jsonl(root / "meta/episodes.jsonl", lambda rows: rows[1].update(length=0)),
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
    "no-rate": lambda root: change(root, timestamp=lambda seconds: 0 * seconds),
    "timestamp-gap": lambda root: change(root, timestamp=lambda seconds: seconds + 0.5 * (np.arange(70) >= 40)),
    "frame-index-jump": lambda root: change(root, frame_index=lambda frames: frames + 3 * (frames >= 40)),
    "constant-joint": lambda root: change(root, episodes=EVERY, state=without_gripper),
    "beyond-limits": lambda root: change(root, state=np.rad2deg),
    "outlier-episode": lambda root: change(write_many(root), state=np.degrees, action=np.degrees),
    "flipped-joint": lambda root: change(write_many(root), state=inverted),
    "same-episode": lambda root: change(
        write_many(root), state=lambda _: closing(0)[:60], action=lambda _: closing(0)[LAG:]
    ),
    "near-duplicate": lambda root: change(write_many(root), state=nearly_the_first, action=lambda _: closing(0)[LAG:]),
    "jerky-episode": lambda root: change(write_many(root), state=trembling),
    "odd-length": lambda root: write_last(root, num_frames=260),
    "clipped-joint": lambda root: change(root, state=clipped),
    "rare-task": lambda root: write_last(root, tasks=[*[ALOHA_TASK] * (MANY - 1), "Wave."]),
    "spike": lambda root: change(root, state=with_spike),
    "full-turn": lambda root: change(root, state=wrapped),
    "idle": lambda root: change(root, state=held_at_the_end, action=held_at_the_end),
    "idle-episode": lambda root: change(root, state=held, action=held),
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
    "turned-video": lambda root: turn_video(video_path(root, 1), (0, 1, -1, 0)),
    "pixel-aspect": lambda root: write_pictures(video_path(root, 1), pictures(), pixel_aspect=Fraction(4, 3)),
    "same-video": lambda root: shutil.copy(
        video_path(write_many(root, num_episodes=2, cameras=("top",)), 0), video_path(root, 1)
    ),
    "black-video": blacken,
    "frozen-video": freeze,
    "still-video": stand_still,
}
# The state that stands still is told as well.
COMES_WITH = {"still-video": {"idle-episode"}, "outlier-episode": {"beyond-limits"}}
# One of these is told of every dataset that commands what it observes.
LAGS = {code for code in KINDS if code.startswith("action-")}
