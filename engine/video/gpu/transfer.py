"""Hand resized frames from a card to an encoder."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from millrace.engine.video.gpu.planes import INTERLEAVED, Planes

# Of each row in memory, as NVIDIA aligns its own surfaces.
PITCH_BYTES = 256


def begin_host_copy(images: Tensor) -> Callable[[], NDArray[np.uint8]]:
    """Start a copy to the host; calling the result waits for it and returns the images."""
    if images.device.type == "cpu":
        return lambda: _to_array(images)
    made = torch.cuda.current_stream(images.device)
    copying = _copy_stream(images.device.index)
    copying.wait_stream(made)
    with torch.cuda.stream(copying):
        copied = torch.empty(images.shape, dtype=images.dtype, pin_memory=True)
        copied.copy_(images, non_blocking=True)
        images.record_stream(copying)  # else its memory could be used again before it is read
        done = copying.record_event()

    def wait() -> NDArray[np.uint8]:
        done.synchronize()
        return _to_array(copied)

    return wait


def _to_array(images: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = images.numpy()
    return array


@lru_cache
def _copy_stream(device_index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device_index)


def wrap_frames(planes: Planes) -> Iterator[av.VideoFrame]:
    """Wrap the planes' memory as NV12 frames, on the card for NVENC (PyAV 18.1).

    NVENC takes a frame as one piece: chroma follows luma, in rows of the same pitch.
    """
    num_frames, rows, size = (packed := planes.pack(INTERLEAVED)).shape
    pitch = -(-size // PITCH_BYTES) * PITCH_BYTES
    surfaces = torch.empty((num_frames, rows, pitch), dtype=torch.uint8, device=packed.device)
    surfaces[..., :size] = packed
    options: dict[str, Any] = {}
    if surfaces.device.type == "cuda":
        options["cuda_context"] = _cuda_context(surfaces.device.index)
        torch.cuda.current_stream(surfaces.device).synchronize()  # NVENC does not wait for torch
    for surface in surfaces[..., :size]:
        yield av.VideoFrame.from_dlpack((surface[:size], surface[size:]), format=INTERLEAVED, **options)


@lru_cache
def _cuda_context(device_index: int) -> Any:
    """torch's, which has just been at work in this thread; libav keeps what it needs for it."""
    from av.video.frame import CudaContext  # not in PyAV 15 and 16

    return CudaContext(device_id=device_index, primary_ctx=False, current_ctx=True)
