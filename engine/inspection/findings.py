"""What an inspection may find: stable codes, how bad each is, and the finding itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
MAX_MESSAGE = 600


@dataclass(frozen=True)
class Kind:
    """One kind of finding; an error stops a conversion or spoils what is learnt, a warning may."""

    severity: Severity
    meaning: str


KINDS: dict[str, Kind] = {
    # metadata and files
    "not-opened": Kind("error", "The folder cannot be opened as a dataset."),
    "not-inspected": Kind("error", "A part of the inspection could not be done."),
    "no-episode": Kind("error", "The dataset has no episode."),
    "bad-metadata": Kind(
        "error", "What meta/ says of an episode or camera is missing, malformed or contradicts itself."
    ),
    "missing-file": Kind("error", "A parquet file or video that an episode needs is not there."),
    "version-mismatch": Kind("info", "info.json claims another layout than the files have."),
    "total-mismatch": Kind("warning", "info.json counts other episodes or frames than there are."),
    "no-task": Kind("warning", "Episodes say nowhere what the robot does."),
    "empty-task": Kind("warning", "A task is an empty text."),
    # rows
    "unreadable-rows": Kind("error", "An episode's rows cannot be read or found."),
    "missing-column": Kind("warning", "info.json describes a column that the parquet files lack."),
    "row-count": Kind("error", "An episode has more or fewer rows than its metadata says."),
    "wrong-width": Kind("error", "A column's rows hold more or fewer values than info.json says."),
    "not-numbers": Kind("error", "A column that should hold numbers holds something else."),
    "nan": Kind("error", "Values are missing, NaN or infinite."),
    "unknown-task": Kind("error", "Rows carry a task index that names no task."),
    "wrong-rate": Kind("error", "Timestamps run at another rate than info.json's fps."),
    "no-rate": Kind("warning", "Timestamps do not increase: they tell no rate."),
    "timestamp-gap": Kind("warning", "Timestamps do not step by 1 / fps: frames were dropped or came late."),
    "frame-index-jump": Kind("warning", "frame_index does not count 0, 1, 2, ..."),
    # motion
    "constant-joint": Kind("warning", "Values never change in any episode inspected."),
    "beyond-limits": Kind("warning", "Joints go beyond the limits of the robot: another unit, or another robot."),
    "outlier-episode": Kind("warning", "An episode's joints go far beyond the others', as in other units."),
    "flipped-joint": Kind("warning", "A joint moves in the reverse sense in one episode."),
    "same-episode": Kind("warning", "Two episodes have the same joints in every row."),
    "spike": Kind("warning", "A joint jumps away for a single frame."),
    "full-turn": Kind("warning", "A joint jumps by a full turn from one frame to the next: its angle wraps."),
    "idle": Kind("info", "The robot stands still for a second or more."),
    "idle-episode": Kind("warning", "The robot stands still for a whole episode."),
    "action-lag": Kind("info", "How long the state takes to follow the action."),
    "action-after-state": Kind("warning", "The action comes after the state that it should bring about."),
    "action-is-state": Kind("warning", "The action is a copy of the state in the same frame: it predicts nothing."),
    "action-is-next-state": Kind("info", "The action is a copy of the state in the next frame."),
    "action-unrelated": Kind("warning", "The action predicts the state at no lag up to half a second."),
    # video
    "unreadable-video": Kind("error", "A video is no video, truncated or corrupt."),
    "frame-count": Kind("error", "A video has more or fewer frames than its episode has rows."),
    "video-fps": Kind("error", "A video plays at another rate than info.json's fps."),
    "video-gap": Kind("warning", "A video's frames do not lie where a constant rate would put them."),
    "video-size": Kind("warning", "A video's frames have another size than info.json says."),
    "turned-video": Kind("info", "A display matrix turns or mirrors the frames."),
    "pixel-aspect": Kind("info", "Pixels are not square; frames are scaled until they are."),
    "same-video": Kind("warning", "Two episodes have the same video of a camera."),
    "black-video": Kind("warning", "Frames are black."),
    "frozen-video": Kind("error", "The frames do not change while the robot moves."),
    "still-video": Kind("info", "The frames do not change for a whole episode, and the robot does not move."),
}


@dataclass(frozen=True)
class Finding:
    """Something that the owner of a dataset may want to know; code is a key of KINDS.

    episode, camera and path are None where it concerns no single one.
    """

    code: str
    severity: Severity
    message: str
    episode: int | None = None
    camera: str | None = None
    path: Path | None = None


def make_finding(
    code: str, message: str, *, episode: int | None = None, camera: str | None = None, path: Path | None = None
) -> Finding:
    """A finding of a known kind, its message cut to a bearable length."""
    text = message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + " ..."
    return Finding(code, KINDS[code].severity, text, episode, camera, path)
