"""Small pictures on their way from a card to an encoder."""

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


def begin_host_copy(pictures: Tensor) -> Callable[[], NDArray[np.uint8]]:
    """Copy to the host while the card goes on to the next pictures; the call that is returned waits for it."""
    if pictures.device.type == "cpu":
        return lambda: _array(pictures)
    made = torch.cuda.current_stream(pictures.device)
    copying = _copy_stream(pictures.device.index)
    copying.wait_stream(made)
    with torch.cuda.stream(copying):
        copied = torch.empty(pictures.shape, dtype=pictures.dtype, pin_memory=True)
        copied.copy_(pictures, non_blocking=True)
        pictures.record_stream(copying)  # else its memory could be used again before it is read
        done = copying.record_event()

    def wait() -> NDArray[np.uint8]:
        done.synchronize()
        return _array(copied)

    return wait


def _array(pictures: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = pictures.numpy()
    return array


@lru_cache
def _copy_stream(device_index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device_index)


def frames_in_place(planes: Planes) -> Iterator[av.VideoFrame]:
    """NV12 frames over the pictures' memory, on the card for NVENC (PyAV 18.1).

    NVENC takes a picture as one piece: chroma follows luma, in rows of the same pitch.
    """
    num_pictures, rows, size = (packed := planes.packed(INTERLEAVED)).shape
    pitch = -(-size // PITCH_BYTES) * PITCH_BYTES
    surfaces = torch.empty((num_pictures, rows, pitch), dtype=torch.uint8, device=packed.device)
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
