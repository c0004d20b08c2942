"""The dataset card of a LeRobot v3.0 dataset."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.fps import format_fps
from millrace.engine.layout import camera_key
from millrace.engine.output.warning_sums import WarningSum
from millrace.engine.planning.depth_camera import DepthCamera
from millrace.engine.text import code_cell, code_span, printable

CARD = """\
---
task_categories:
- robotics
tags:
- LeRobot
- {tag}
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
| sources | {sources} |

{notes}{warnings}## Tasks

{tasks}

## Load

With LeRobot 0.4 or later, from the Hub, where ORG/NAME is this repository, or from a folder with `root="FOLDER"`:

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("ORG/NAME")

## Check

That files, rows, videos and statistics fit each other, by Millrace:

    millrace validate FOLDER
"""
NUM_TASKS = 20


def packed_card(metadata: Metadata, head: Mapping[str, Any], depth: Sequence[DepthCamera] = ()) -> str:
    """The text of README.md.

    Args:
        metadata: Of the dataset in v2.1 that it is made of.
        head: Of that one's manifest, which names sources without the folders of this machine.
        depth: Depth cameras that v3.0 has besides.
    """
    robot, fps = printable(str(metadata.info.robot_type or "robot")), format_fps(metadata.info.fps)
    texts = list((metadata.tasks or {}).values())
    more = [f"- and {len(texts) - NUM_TASKS} more"] if len(texts) > NUM_TASKS else []
    sources = dict.fromkeys(str(source["path"]) for source in head["recipe"]["sources"])
    warnings = (str(WarningSum.model_validate(warned)) for warned in head["warnings"])
    return CARD.format(
        tag=json.dumps(robot),
        robot=code_cell(robot),
        title=f"{robot} at {fps} Hz",
        num_episodes=metadata.num_episodes,
        num_frames=metadata.num_frames,
        fps=fps,
        cameras=", ".join(_describe_cameras(metadata, depth)) or "none",
        sources=", ".join(map(code_cell, sources)),
        notes=_section("Notes", head["notes"]),
        warnings=_section("Warnings", warnings),
        tasks="\n".join([*(f"- {code_span(text)}" for text in texts[:NUM_TASKS]), *more]),
    )


def _describe_cameras(metadata: Metadata, depth: Iterable[DepthCamera]) -> Iterator[str]:
    for camera in metadata.cameras:
        height, width = metadata.info.features[camera].shape[:2]
        yield f"{code_cell(camera)} {width}x{height}"
    for one in depth:
        yield f"{code_cell(camera_key(one.name))} {one.width}x{one.height} depth"


def _section(title: str, texts: Iterable[str]) -> str:
    lines = "".join(f"- {code_span(text)}\n" for text in texts)
    return f"## {title}\n\n{lines}\n" if lines else ""
