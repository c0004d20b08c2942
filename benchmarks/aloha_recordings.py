"""Record gym-aloha's scripted hand-over as a LeRobot v2.1 dataset at 50 Hz, with the seed of each episode in its rows.

    python -m benchmarks.aloha_recordings out/recordings --episodes 50
    python -m benchmarks.aloha_recordings out/recordings --episodes 5 --blank

Rendering takes most of the time, 0.1 to 0.4 CPU seconds a frame without a GPU; with --blank the frames are grey, for
what reads rows alone. Needs the extra `sim`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from numpy.typing import NDArray

from benchmarks.aloha_demonstrator import Demonstrator
from millrace.embodiments import load_robot
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.rgb_video import write_rgb_video
from millrace.train.rollout.driving import EpisodeTrace, roll_out
from millrace.train.rollout.gym_aloha import CAMERA, ROBOT, GymAloha
from millrace.train.rollout.replay import SEED
from millrace.train.rollout.simulated_robot import Image, Observation, Start, Vector

ENVIRONMENT = "gym_aloha/AlohaTransferCube-v0"
TASK = "Pick up the cube with the right arm and hand it to the left arm."
SIZE = FrameSize(width=320, height=240)


@dataclass(frozen=True)
class Options:
    """Record demonstrations."""

    out: Annotated[Path, tyro.conf.Positional]
    """A new folder."""
    episodes: int = 20
    """How many; each has its number as its seed, and its cube elsewhere."""
    blank: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Grey frames in place of rendered ones."""


class Scripted:
    """The demonstrator as a policy that knows where the cube lies."""

    name = "scripted"
    num_episodes = None

    def __init__(self) -> None:
        self._demonstrator = Demonstrator()
        self.targets = np.empty((0, 14))

    def start(self, episode: int) -> Start:
        """Plan the hand-over of the cube of that seed."""
        from gym_aloha.utils import sample_box_pose

        self.targets = self._demonstrator.plan(sample_box_pose(episode)[:2])
        return Start(episode, len(self.targets))

    def act(self, observation: Observation, step: int) -> Vector:
        """The planned targets."""
        return self.targets[step]


def main() -> None:
    """Record, and say how many demonstrations succeeded."""
    options = tyro.cli(Options, description=__doc__)
    recorded = record(options.out, range(options.episodes), blank=options.blank)
    print(f"{options.out}: {recorded} of {options.episodes} demonstrations succeeded")


def record(out: Path, seeds: range, *, blank: bool) -> int:
    """Record an episode of each seed into a new dataset; returns how many succeeded. Failures are recorded, too."""
    environment, policy = GymAloha(ENVIRONMENT, with_images=not blank), Scripted()
    out.mkdir(parents=True)
    successes, lengths = 0, list[int]()
    traces = roll_out(environment, policy, seeds, max_steps=0, image_every=None if blank else 1, stops_at_success=False)
    for index, trace in enumerate(traces):
        _write_rows(out / _path("data/chunk-000", index, "parquet"), trace, policy.targets, index, sum(lengths))
        video = out / _path(f"videos/chunk-000/observation.images.{CAMERA}", index, "mp4")
        _write_video(video, trace.images, len(policy.targets), environment.control_fps)
        lengths.append(len(policy.targets))
        successes += trace.outcome.is_success
    _write_metadata(out, lengths, environment.control_fps)
    return successes


def _path(folder: str, index: int, suffix: str) -> Path:
    return Path(folder, f"episode_{index:06d}.{suffix}")


def _write_rows(path: Path, trace: EpisodeTrace, targets: NDArray[np.float64], index: int, first: int) -> None:
    """Row k: what was observed, and the target that was sent, at k / 50 seconds."""
    num_rows = len(targets)
    numbers = np.arange(num_rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "observation.state": pa.array(list(trace.states[:num_rows].astype(np.float32))),
        "action": pa.array(list(targets.astype(np.float32))),
        SEED: pa.array(np.full(num_rows, trace.outcome.seed)),
        "timestamp": pa.array((numbers / 50).astype(np.float32)),
        "frame_index": pa.array(numbers),
        "episode_index": pa.array(np.full(num_rows, index)),
        "index": pa.array(numbers + first),
        "task_index": pa.array(np.zeros(num_rows, dtype=np.int64)),
    }
    pq.write_table(pa.table(columns), path)


def _write_video(path: Path, images: Sequence[Image], num_frames: int, fps: Fraction) -> None:
    """The images, or so many grey ones where there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full((SIZE.height, SIZE.width, 3), 128, dtype=np.uint8)
    write_rgb_video(path, images or repeat(grey, num_frames), VideoSettings(fps, SIZE))


def _write_metadata(out: Path, lengths: list[int], fps: Fraction) -> None:
    joints = load_robot(ROBOT).layout("action").joints
    scalar = {"shape": [1], "names": None}
    features = {
        "observation.state": {"dtype": "float32", "shape": [len(joints)], "names": joints},
        "action": {"dtype": "float32", "shape": [len(joints)], "names": joints},
        f"observation.images.{CAMERA}": {
            "dtype": "video",
            "shape": [SIZE.height, SIZE.width, 3],
            "names": ["height", "width", "channels"],
        },
        "timestamp": {"dtype": "float32", **scalar},
    }
    features |= {
        name: {"dtype": "int64", **scalar} for name in (SEED, "frame_index", "episode_index", "index", "task_index")
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": ROBOT,
        "fps": int(fps),
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "total_videos": len(lengths),
        "total_chunks": 1,
        "chunks_size": 1000,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    meta = out / "meta"
    meta.mkdir()
    (meta / "info.json").write_text(json.dumps(info, indent=2))
    (meta / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": TASK}) + "\n")
    lines = ({"episode_index": index, "tasks": [TASK], "length": length} for index, length in enumerate(lengths))
    (meta / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
