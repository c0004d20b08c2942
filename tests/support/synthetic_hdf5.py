"""HDF5 recordings as ACT, robomimic, LIBERO and Isaac Lab lay them out, with barcodes in their pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from support.barcode import draw
from support.synthetic_rows import episode_arrays
from support.synthetic_spec import SyntheticDataset
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
