"""Arguments that not every build of GR00T has: later builds of N1.7 choose the video decoder themselves."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gr00t.utils.video_utils import get_frames_by_indices
from numpy.typing import NDArray

DECODER = "torchcodec"  # that of GR00T's training, unless it is told otherwise


def keep_accepted(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the named arguments that a function takes by name; all of them where it takes any."""
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in arguments.items() if takes_any or name in parameters}


def decode_as_trained(
    path: Path, indices: NDArray[np.int64], *, backend: str = DECODER, settings: Mapping[str, Any] | None = None
) -> NDArray[np.uint8]:
    """Frames as GR00T's loader reads them, (N, H, W, 3) RGB.

    Args:
        path: A video.
        indices: Of frames, increasing.
        backend: A decoder by GR00T's name, where that leaves the choice.
        settings: Of the decoder.
    """
    choice = {"video_backend": backend, "video_backend_kwargs": dict(settings or {})}
    frames: NDArray[np.uint8] = get_frames_by_indices(
        str(path), indices, **keep_accepted(get_frames_by_indices, choice)
    )
    return frames
