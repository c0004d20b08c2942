"""Recordings of the same frames as rigs and simulators write them: xr_teleoperate, ACT and robomimic."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.runs import EXAMPLE
from millrace.engine.video.decode import open_video

if TYPE_CHECKING:
    import h5py

Frames = Sequence[NDArray[np.uint8]]

# A G1's arms and Dex3 hands; ALOHA; an arm's pose, quaternion and fingers, and its steps.
XR_WIDTHS = {"left_arm": 7, "right_arm": 7, "left_ee": 7, "right_ee": 7}
ACT_CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
ACT_WIDTH = 14
DEMO_STATE = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
DEMO_CAMERAS = ("agentview", "robot0_eye_in_hand", "sideview", "frontview")
JPEG_QUALITY = 50  # of ALOHA's recorder


def read_frames(num_frames: int) -> Frames:
    """The first frames of the example's first episode, RGB of 480x640."""
    path = sorted((EXAMPLE / "videos").rglob("*.mp4"))[0]
    frames: list[NDArray[np.uint8]] = []
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(frames) == num_frames:
                return frames
    raise SystemExit(f"benchmarks/recordings.py: {path} has {len(frames)} frames, not {num_frames}")


def write_xr(root: Path, frames: Frames, num_episodes: int) -> Path:
    """Folders of data.json and JPEG files, four cameras, below a folder for the task."""
    for episode in range(num_episodes):
        folder = root / f"task/episode_{episode:04d}"
        (folder / "colors").mkdir(parents=True)
        rows = [_xr_row(folder, index, frame) for index, frame in enumerate(frames)]
        info = {"version": "1.0.0", "image": {"width": 640, "height": 480, "fps": 30}}
        text = {"goal": "Benchmark.", "desc": "", "steps": ""}
        (folder / "data.json").write_text(json.dumps({"info": info, "text": text, "data": rows}, indent=4))
    return root


def _xr_row(folder: Path, index: int, frame: NDArray[np.uint8]) -> dict[str, object]:
    colors = {f"color_{camera}": f"colors/{index:06d}_color_{camera}.jpg" for camera in range(4)}
    for path in colors.values():
        cv2.imwrite(str(folder / path), frame[..., ::-1])
    parts = {part: {"qpos": [0.01 * index] * width, "qvel": [], "torque": []} for part, width in XR_WIDTHS.items()}
    return {"idx": index, "colors": colors, "depths": {}, "states": parts, "actions": parts, "tactiles": {}}


def write_act_arrays(root: Path, frames: Frames, num_episodes: int) -> Path:
    """A file for each episode, pictures as arrays of a chunk each, as ACT's simulator script writes them."""

    def write(file: "h5py.File", camera: str) -> None:
        pixels = np.stack(frames)
        file.create_dataset(f"observations/images/{camera}", data=pixels, chunks=(1, *pixels.shape[1:]))

    return _write_act(root, len(frames), num_episodes, write)


def write_act_files(root: Path, frames: Frames, num_episodes: int) -> Path:
    """A file for each episode, pictures as JPEG files in rows, as ALOHA's recorder writes them."""
    setting = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = [cv2.imencode(".jpg", frame, setting)[1].ravel() for frame in frames]
    rows = np.zeros((len(frames), max(map(len, encoded))), np.uint8)
    for row, content in zip(rows, encoded, strict=True):
        row[: len(content)] = content

    def write(file: "h5py.File", camera: str) -> None:
        file.create_dataset(f"observations/images/{camera}", data=rows, chunks=(1, rows.shape[1]))
        file.attrs["compress"] = True

    return _write_act(root, len(frames), num_episodes, write)


def _write_act(root: Path, num_frames: int, num_episodes: int, write: Callable[["h5py.File", str], None]) -> Path:
    import h5py

    root.mkdir(parents=True)
    vectors = np.linspace(0, 1, num_frames, dtype=np.float32)[:, np.newaxis].repeat(ACT_WIDTH, axis=1)
    for episode in range(num_episodes):
        with h5py.File(root / f"episode_{episode}.hdf5", "w") as file:
            for key in ("observations/qpos", "observations/qvel", "action"):
                file[key] = vectors
            for camera in ACT_CAMERAS:
                write(file, camera)
    return root


def write_robomimic(root: Path, frames: Frames, num_episodes: int) -> Path:
    """One file of all episodes, pictures with gzip, as robomimic's dataset_states_to_obs.py --compress writes them."""
    import h5py

    root.mkdir(parents=True)
    pixels = np.stack(frames)
    with h5py.File(root / "image.hdf5", "w") as file:
        data = file.create_group("data")
        controller = {"type": "OSC_POSE", "control_delta": True}
        kwargs = {"control_freq": 20, "controller_configs": controller}
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})
        for episode in range(num_episodes):
            demo = data.create_group(f"demo_{episode}")
            demo["actions"] = np.zeros((len(frames), 7))
            for key, width in DEMO_STATE.items():
                demo[f"obs/{key}"] = np.linspace(0, 1, len(frames))[:, np.newaxis].repeat(width, axis=1)
            for camera in DEMO_CAMERAS:
                demo.create_dataset(f"obs/{camera}_image", data=pixels, compression="gzip")
    return root


Writer = Callable[[Path, Frames, int], Path]
WRITERS: Mapping[str, Writer] = {
    "xr_teleoperate, JPEG files": write_xr,
    "ACT, arrays": write_act_arrays,
    "ACT, JPEG in rows": write_act_files,
    "robomimic, arrays with gzip": write_robomimic,
}
