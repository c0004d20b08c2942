"""Observations of a robot that a client sends: checked before a model sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from millrace.embodiments import Remedy, Robot
from millrace.train.errors import RequestError

EXECUTED = "num_executed"
LANGUAGE = "annotation.human.task_description"
MAX_TEXT = 10_000  # characters of an instruction
MAX_STEPS = 256  # images or states of one observation


@dataclass(frozen=True)
class RobotObservation:
    """What a robot observes.

    images: by camera, (B, T, H, W, 3) uint8 RGB. state: (B, T, D) float32, in the order and units of the robot's state.
    texts: an instruction for each of B.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    texts: tuple[str, ...]


def make_observation(
    *, images: Mapping[str, ArrayLike], state: Mapping[str, ArrayLike], instruction: str
) -> dict[str, dict[str, Any]]:
    """What a robot observes at one moment, as a request holds it; a batch of one, of one step.

    Args:
        images: By camera, (H, W, 3) uint8 RGB.
        state: By joint group, (D,).
        instruction: What the robot shall do.

    Raises:
        RequestError: an image is none of bytes; floats in [0, 1] would become black.
    """
    frames = {name: np.asarray(image) for name, image in images.items()}
    for name, frame in frames.items():
        if frame.dtype != np.uint8 or frame.ndim != 3:
            raise RequestError(f"camera {name!r}: expected uint8 of (H, W, 3), got {_describe(frame)}")
    return {
        "video": {name: frame[None, None] for name, frame in frames.items()},
        "state": {name: np.asarray(values, np.float32)[None, None] for name, values in state.items()},
        "language": {LANGUAGE: [[instruction]]},
    }


def read_observation(observation: object, robot: Robot, cameras: tuple[str, ...]) -> RobotObservation:
    """Check what a client sent.

    Raises:
        RequestError: something is missing, of another kind or shape, or no number.
    """
    content = _mapping(observation, "observation")
    images = _read_images(_mapping(content.get("video"), "video"), cameras)
    state = _read_state(_mapping(content.get("state"), "state"), robot)
    texts = _read_texts(_mapping(content.get("language"), "language"))
    batches = {**{f"camera {name!r}": len(values) for name, values in images.items()}}
    batches |= {"state": len(state), "language": len(texts)}
    if len(set(batches.values())) > 1:
        raise RequestError(f"the batch differs: {', '.join(f'{name} {size}' for name, size in batches.items())}")
    return RobotObservation(images, state, texts)


def read_executed(options: object) -> int | None:
    """The number of executed actions in the options of a request; None where they do not tell.

    Raises:
        RequestError: it is no number of actions.
    """
    found = options.get(EXECUTED) if isinstance(options, Mapping) else None
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 0):
        raise RequestError(f"{EXECUTED} must be a number of actions, got {str(found)[:60]}")
    return found


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{name} must be a mapping of names, got {type(value).__name__}")
    return value


def _read_images(video: Mapping[str, Any], cameras: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    found = {}
    for name in cameras:
        images = _get(video, name, "camera")
        is_video = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 5
        if not is_video or images.shape[-1] != 3 or 0 in images.shape:
            raise RequestError(f"camera {name!r}: expected uint8 of (B, T, H, W, 3), got {_describe(images)}")
        if images.shape[0] * images.shape[1] > MAX_STEPS:
            raise RequestError(f"camera {name!r}: {images.shape[0] * images.shape[1]} images, at most {MAX_STEPS}")
        found[name] = images
    return found


def _read_state(state: Mapping[str, Any], robot: Robot) -> NDArray[np.float32]:
    """The state vector, its groups in the robot's order."""
    parts, shape = [], None
    for group in robot.groups_of("state"):
        joints = robot.groups[group].order("state")
        values = _get(state, group, "joint group")
        is_numeric = isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim == 3
        if not is_numeric or values.shape[-1] != len(joints) or (shape is not None and values.shape[:2] != shape):
            steps = "(B, T" if shape is None else f"({shape[0]}, {shape[1]}"
            raise RequestError(f"state of {group!r}: expected {steps}, {len(joints)}), got {_describe(values)}")
        shape = values.shape[:2]
        broken = ~np.isfinite(values).all(axis=(0, 1))
        if broken.any():
            names = [joint for joint, bad in zip(joints, broken, strict=True) if bad]
            raise RequestError(f"state of {group!r}: {', '.join(names)} is no finite number")
        parts.append(values.astype(np.float32))
    if shape is None or 0 in shape or shape[0] * shape[1] > MAX_STEPS:
        raise RequestError(f"the state has {shape} steps, expected 1 to {MAX_STEPS}")
    return np.concatenate(parts, axis=-1)


def _read_texts(language: Mapping[str, Any]) -> tuple[str, ...]:
    if len(language) != 1:
        raise RequestError(f"language must have one key, got {len(language)}")
    (lines,) = language.values()
    if not isinstance(lines, list | tuple) or not lines:
        raise RequestError('language must be a list of instructions, such as [["pick up the cube"]]')
    return tuple(_read_text(line) for line in lines)


def _read_text(line: object) -> str:
    text = line[0] if isinstance(line, list | tuple) and len(line) == 1 else line
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise RequestError(f"an instruction must be a text of at most {MAX_TEXT} characters")
    return text


def _get(values: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in values:
        known = ", ".join(str(key)[:60] for key in list(values)[:20])
        raise RequestError(f"there is no {kind} {name!r}; got {known or 'none'}. ", Remedy("Ask get_modality_config"))
    return values[name]


def _describe(value: object) -> str:
    return f"{value.dtype} of {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
