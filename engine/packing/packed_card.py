"""The dataset card of a LeRobot v3.0 dataset."""

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.fps import format_fps
from millrace.engine.text import printable

CARD = """\
---
task_categories:
- robotics
tags:
- LeRobot
- {robot}
configs:
- config_name: default
  data_files: data/*/*.parquet
---

# {title}

A LeRobot v3.0 dataset, converted by Millrace.

| | |
|---|---|
| robot | {robot} |
| episodes, frames | {num_episodes}, {num_frames} at {fps} Hz |
| cameras | {cameras} |

## Tasks

{tasks}

## Load

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("{title}", root="FOLDER")
"""
NUM_TASKS = 20


def packed_card(metadata: Metadata) -> str:
    """README.md."""
    texts = [printable(text) for text in (metadata.tasks or {}).values()]
    more = [f"- and {len(texts) - NUM_TASKS} more"] if len(texts) > NUM_TASKS else []
    robot = printable(str(metadata.info.robot_type or "robot"))
    return CARD.format(
        robot=robot,
        title=robot,
        num_episodes=metadata.num_episodes,
        num_frames=metadata.num_frames,
        fps=format_fps(metadata.info.fps),
        cameras=", ".join(camera.rpartition(".")[2] for camera in metadata.cameras) or "none",
        tasks="\n".join([*(f"- {text}" for text in texts[:NUM_TASKS]), *more]),
    )
