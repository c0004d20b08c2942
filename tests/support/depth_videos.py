"""Add a depth camera to a synthetic dataset, stored as LeRobot 0.6 stores one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from support.synthetic import edit_json

HEIGHT, WIDTH = 48, 64
KEY = "observation.images.top_depth"
SCALE = {"depth_min": 0.02, "depth_max": 4.0, "shift": 3.5, "use_log": True}


def depth_codes(episode: int, frame: int) -> NDArray[np.uint16]:
    """Codes of a frame, (48, 64): noise of all 12 bits, which no lossy codec keeps."""
    return np.random.default_rng((episode, frame)).integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)


def add_depth(root: Path, lengths: Sequence[int], *, fps: int = 50, **facts: Any) -> None:
    """Add the camera to a v2.1 dataset; facts: of the video in info.json, beside what LeRobot writes."""
    said = {"pix_fmt": "gray12le", "codec": "hevc", "height": HEIGHT, "width": WIDTH, "fps": fps, **SCALE, **facts}
    info = {f"video.{name}": value for name, value in said.items()} | {"is_depth_map": True, "depth_unit": "mm"}
    names = ["height", "width", "channels"]
    feature = {"dtype": "video", "shape": [HEIGHT, WIDTH, 1], "names": names, "info": info}
    edit_json(root / "meta/info.json", lambda content: content["features"].update({KEY: feature}))
    for episode, length in enumerate(lengths):
        path = root / f"videos/chunk-000/{KEY}/episode_{episode:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_codes(path, [depth_codes(episode, frame) for frame in range(length)], fps)


def write_codes(path: Path, frames: Sequence[NDArray[np.uint16]], fps: int) -> None:
    """Encode as LeRobot does: HEVC without loss, a key frame every second frame."""
    with av.open(str(path), "w") as container:
        options = {"g": "2", "crf": "30", "x265-params": "lossless=1:log-level=error:pools=none"}
        stream = container.add_stream("hevc", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray12le"
        for codes in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, format="gray12le")))
        container.mux(stream.encode(None))
