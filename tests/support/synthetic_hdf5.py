"""HDF5 recordings as ACT, robomimic, LIBERO and Isaac Lab lay them out, with barcodes in their pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from support.barcode import draw
from support.synthetic_rows import episode_arrays
from support.synthetic_spec import SyntheticDataset, expected_action, expected_state
from support.synthetic_video import encode_picture

if TYPE_CHECKING:
    import h5py

Pictures = NDArray[np.uint8]


def write_act(root: Path, dataset: SyntheticDataset) -> None:
    """A file for each episode: pictures as arrays with gzip, or with images_as="image" a file in each row."""
    import h5py  # not there in environments of GR00T, whose tests use the other writers

    root.mkdir(parents=True, exist_ok=True)
    for episode in range(len(dataset.lengths)):
        arrays = episode_arrays(dataset, episode)
        with h5py.File(root / f"episode_{episode}.hdf5", "w") as file:
            file.attrs["sim"] = False
            file["observations/qpos"] = arrays["observation.state"].astype(np.float64)
            file["observations/qvel"] = np.zeros_like(arrays["observation.state"])
            file["action"] = arrays["action"].astype(np.float64)
            for camera, name in enumerate(dataset.cameras):
                pictures = draw_episode(dataset, episode, camera)
                store = write_files if dataset.images_as == "image" else write_arrays
                store(file, f"observations/images/{name}", pictures, dataset)
            if dataset.images_as == "image":
                file.attrs["compress"] = True


def draw_episode(dataset: SyntheticDataset, episode: int, camera: int) -> Pictures:
    """All pictures of a camera, (T, H, W, 3)."""
    size = dataset.video.height, dataset.video.width
    return np.stack([draw(frame, episode, camera, *size) for frame in range(dataset.lengths[episode])])


def write_arrays(file: "h5py.File", key: str, pictures: Pictures, dataset: SyntheticDataset) -> None:
    """Arrays with a chunk for each frame, as ACT's scripts write them."""
    file.create_dataset(key, data=pictures, chunks=(1, *pictures.shape[1:]), compression="gzip", shuffle=True)


def write_files(file: "h5py.File", key: str, pictures: Pictures, dataset: SyntheticDataset) -> None:
    """A JPEG or PNG file in each row, filled up with zeros; JPEG from BGR, as OpenCV takes pictures."""
    is_jpeg = dataset.picture_format == "jpeg"
    encoded = [encode_picture(image[..., ::-1] if is_jpeg else image, dataset.picture_format) for image in pictures]
    width = max(map(len, encoded)) + 7
    rows = np.stack([np.frombuffer(content.ljust(width, b"\0"), np.uint8) for content in encoded])
    file.create_dataset(key, data=rows, chunks=(1, width))


# What each format keeps: keys of the state with their widths, of cameras, and attributes of /data.
DEMO_FORMATS: dict[str, dict[str, Any]] = {
    "robomimic": {
        "state": {"obs/robot0_eef_pos": 3, "obs/robot0_eef_quat": 4, "obs/robot0_gripper_qpos": 2},
        "cameras": {"agentview": "obs/agentview_image", "robot0_eye_in_hand": "obs/robot0_eye_in_hand_image"},
        "attributes": {"env_args": {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}}},
    },
    "libero": {
        "state": {"obs/ee_states": 6, "obs/gripper_states": 2},
        "cameras": {"image": "obs/agentview_rgb", "wrist_image": "obs/eye_in_hand_rgb"},
        "attributes": {
            "env_args": {"type": 1, "env_kwargs": {"control_freq": 20}},
            "problem_info": {"problem_name": "kitchen", "language_instruction": "open the drawer"},
            "macros_image_convention": "opengl",
        },
    },
    "isaaclab": {
        "state": {"obs/joint_pos": 9, "obs/eef_pos": 3, "obs/eef_quat": 4},
        "cameras": {"table_cam": "obs/table_cam", "wrist_cam": "obs/wrist_cam"},
        "attributes": {"env_args": {"env_name": "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-Mimic-v0", "type": 2}},
    },
}


def write_demos(
    path: Path,
    name: str,
    lengths: Mapping[int, int],
    *,
    side: int = 64,
    action_width: int = 7,
    env_args: Mapping[str, object] | None = None,
) -> None:
    """Many demonstrations in one file, in the order given, each with its number's values and barcodes.

    env_args: in place of the format's own.

    Pictures are upside down in LIBERO's, have a fourth channel in Isaac Lab's, and gzip's chunks hold several frames.
    """
    import h5py

    layout = DEMO_FORMATS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        attributes = layout["attributes"] | ({} if env_args is None else {"env_args": env_args})
        for key, value in attributes.items():
            data.attrs[key] = value if isinstance(value, str) else json.dumps(value)
        for number, length in lengths.items():
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = length
            start, frames = 0, np.arange(length)
            for key, width in layout["state"].items():
                demo[key] = expected_state(number, frames, start + width)[:, start:].astype(np.float64)
                start += width
            demo["actions"] = expected_action(number, frames, action_width).astype(np.float64)
            demo["dones"] = (frames == length - 1).astype(np.uint8)
            demo["states"] = np.zeros((length, 45))
            for camera, key in enumerate(layout["cameras"].values()):
                pictures = np.stack([draw(frame, number, camera, side, side) for frame in range(length)])
                pictures = pictures[:, ::-1] if name == "libero" else pictures
                if name == "isaaclab":
                    pictures = np.concatenate([pictures, np.full_like(pictures[..., :1], 255)], axis=-1)
                # What h5py chooses for robomimic's --compress cuts the colours, too.
                chunks = (min(4, length), side // 4, side // 4, 2) if name == "robomimic" else None
                demo.create_dataset(key, data=pictures, chunks=chunks, compression="gzip")
