"""The dataset card of a LeRobot v3.0 dataset."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.fps import format_fps
from millrace.engine.layout import camera_key
from millrace.engine.output.card_facts import (
    UNKNOWN,
    CardFacts,
    describe_licences,
    describe_resampling,
    describe_size,
    find_tag_release,
    front_matter,
    source_link,
)
from millrace.engine.output.card_sections import held_out_section, left_out_section, preview_section, recipe_section
from millrace.engine.output.warning_sums import WarningSum
from millrace.engine.planning.depth_camera import DepthCamera
from millrace.engine.text import code_cell, code_span, printable

CARD = """\
{front}
# {title}

A LeRobot v3.0 dataset, converted by Millrace.

{preview}| | |
|---|---|
| robot | {robot} |
| episodes, frames | {num_episodes}, {num_frames} at {fps} Hz |
| size | {size} |
| licence | {licence} |
| cameras | {cameras} |
| images | {images} |
| resampling | {resampling} |
| sources | {sources} |

{left_out}{held_out}{notes}{warnings}## Tasks

{tasks}

## Load

With LeRobot 0.4 or later, from the Hub, where ORG/NAME is this repository, or from a folder:

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("ORG/NAME")  # or of a folder: LeRobotDataset("ORG/NAME", root="FOLDER")

## GR00T

GR00T reads LeRobot v2.1, which Millrace makes of the same sources with `--layout v2.1` or `v2.1,v3.0`.{own_tag}

## Check

That files, rows, videos and statistics fit each other, by Millrace:

    millrace validate FOLDER

{recipe}"""
OWN_TAG = (
    " GR00T {release} knows this robot under its own tag, with a modality config of its own: `--embodiment-tag {tag}`."
)
NUM_TASKS = 20


def packed_card(metadata: Metadata, facts: CardFacts, depth: Sequence[DepthCamera] = ()) -> str:
    """The text of README.md.

    Args:
        metadata: Of the dataset in v2.1 that it is made of.
        facts: With the head of that one's manifest, and the files of v3.0.
        depth: Depth cameras that v3.0 has besides.
    """
    head = facts.head
    robot, fps = printable(str(metadata.info.robot_type or "robot")), format_fps(metadata.info.fps)
    texts = list((metadata.tasks or {}).values())
    more = [f"- and {len(texts) - NUM_TASKS} more"] if len(texts) > NUM_TASKS else []
    sources = dict.fromkeys(str(source["path"]) for source in head["recipe"]["sources"])
    control = head.get("control") or {}  # earlier versions did not write it
    rates = [Fraction(source["fps"]) for source in control.get("sources", ())]
    warnings = (str(WarningSum.model_validate(warned)) for warned in head["warnings"])
    return CARD.format(
        front=front_matter(facts, ["LeRobot", robot], num_frames=metadata.num_frames),
        preview=preview_section(facts),
        size=describe_size(facts, metadata.num_frames, metadata.info.fps),
        licence=describe_licences(facts),
        images=f"`crop: {control.get('crop', UNKNOWN)}`",
        own_tag=own_tag(control),
        resampling=describe_resampling(rates, metadata.info.fps, head["recipe"]),
        left_out=left_out_section(facts),
        held_out=held_out_section(facts),
        recipe=recipe_section(facts),
        robot=code_cell(robot),
        title=f"{robot} at {fps} Hz",
        num_episodes=metadata.num_episodes,
        num_frames=metadata.num_frames,
        fps=fps,
        cameras=", ".join(_describe_cameras(metadata, depth)) or "none",
        sources=", ".join(map(source_link, sources)),
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


def own_tag(control: Mapping[str, Any]) -> str:
    """The robot's own tag, where a release of GR00T has a config for it; the manifest has the robot with its map."""
    tags = [source["map"]["target"].get("tag") for source in control.get("sources", ())]
    known = find_tag_release(tags[0]) if tags else None
    return "" if known is None else OWN_TAG.format(release=known.name, tag=tags[0])


def _section(title: str, texts: Iterable[str]) -> str:
    lines = "".join(f"- {code_span(text)}\n" for text in texts)
    return f"## {title}\n\n{lines}\n" if lines else ""
