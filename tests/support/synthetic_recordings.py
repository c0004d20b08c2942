"""Recordings as xr_teleoperate's two writers leave them: data.json and JPEG files in colors/."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.barcode import draw
from support.synthetic_spec import SyntheticDataset, expected_action, expected_state
from support.synthetic_video import encode_picture

ARM_WIDTH = 7


@dataclass(frozen=True)
class RecordingStyle:
    """How a recording is written.

    is_streamed: row by row, as newer writers do. hands: what the parts of the hands are called. more: further entries
    of the first row's parts, by vector and part. num_chars: where the file is cut off.
    """

    is_streamed: bool = False
    hands: tuple[str, str] = ("left_ee", "right_ee")
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    num_chars: int | None = None


AT_ONCE = RecordingStyle()


def write_recordings(root: Path, dataset: SyntheticDataset) -> None:
    """An episode a folder."""
    for episode in range(len(dataset.lengths)):
        write_recording(root / f"episode_{episode:04d}", dataset, episode)


def write_recording(folder: Path, dataset: SyntheticDataset, episode: int, style: RecordingStyle = AT_ONCE) -> None:
    """One episode: arms of seven joints each, and hands of what is left of the state's width."""
    rows = [_row(dataset, episode, frame, style) for frame in range(dataset.lengths[episode])]
    size = dataset.video.height, dataset.video.width
    (folder / "colors").mkdir(parents=True)
    for frame, row in enumerate(rows):
        for camera, name in enumerate(row["colors"].values()):
            (folder / name).write_bytes(encode_picture(draw(frame, episode, camera, *size), "jpeg"))
    text = recording_text(rows, fps=dataset.fps_number, goal=dataset.episode_tasks(episode)[0], style=style)
    (folder / "data.json").write_text(text[: style.num_chars])


def recording_text(
    rows: Sequence[object], *, fps: float = 30, goal: str = "Fold.", style: RecordingStyle = AT_ONCE
) -> str:
    """The JSON of an episode."""
    head = {
        "info": {
            "version": "1.0.0",
            "image": {"width": 640, "height": 480, "fps": fps},
            # The writers name the joints of one hand, whichever it was.
            "joint_names": {"left_arm": ["kLeftShoulderPitch"], "left_ee": [], "right_arm": [], "right_ee": []},
        },
        "text": {"goal": goal, "desc": "", "steps": ""},
    }
    if not style.is_streamed:
        return json.dumps({**head, "data": rows}, indent=4, ensure_ascii=False)
    entries = [f'"{key}": {json.dumps(value, indent=4, ensure_ascii=False)},\n' for key, value in head.items()]
    listed = ",\n".join(json.dumps(row, indent=4, ensure_ascii=False) for row in rows)
    return "{\n" + "".join(entries) + '"data": [\n' + listed + '\n],\n"rewards": {"success": true}\n}'


def _row(dataset: SyntheticDataset, episode: int, frame: int, style: RecordingStyle) -> dict[str, Any]:
    known, frames = (expected_state, expected_action), np.array([frame])
    states, actions = (values(episode, frames, dataset.state_width)[0].tolist() for values in known)
    return {
        "idx": frame,
        "colors": {camera: f"colors/{frame:06d}_{camera}.jpg" for camera in dataset.cameras},
        "depths": {},
        "states": {**_parts(states, style), **style.more.get("states", {})},
        "actions": {**_parts(actions, style), **style.more.get("actions", {})},
        "tactiles": None,
        "audios": None,
        "sim_state": None,
    }


def _parts(values: list[float], style: RecordingStyle) -> dict[str, Any]:
    arms, hands = values[: 2 * ARM_WIDTH], values[2 * ARM_WIDTH :]
    half = len(hands) // 2
    parts = {
        "left_arm": arms[:ARM_WIDTH],
        "right_arm": arms[ARM_WIDTH:],
        style.hands[0]: hands[:half],
        style.hands[1]: hands[half:],
    }
    empty: dict[str, list[float]] = {"qvel": [], "torque": []}
    return {**{part: {"qpos": qpos, **empty} for part, qpos in parts.items()}, "body": {"qpos": []}}
