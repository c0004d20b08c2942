"""Draw a map: which joint of the source drives which joint of the target, and which rest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from millrace.embodiments import Robot, compile_map, load_map, map_names
from millrace.embodiments.joint_map import JointMap

ROW, LEFT, RIGHT = 17, 250, 510  # of a drawing 760 wide


@dataclass(frozen=True)
class Node:
    """A joint or, as a heading, a group. y: its height. is_idle: it drives nothing, or rests."""

    text: str
    y: int
    is_heading: bool = False
    is_idle: bool = False


@dataclass(frozen=True)
class Link:
    """A joint of the source that drives one of the target. path: of its line. text: how values change."""

    path: str
    text: str
    is_rescaled: bool


@dataclass(frozen=True)
class MapDrawing:
    """A map between two robots, for state; sources on the left, targets on the right."""

    name: str
    description: str
    source: str
    target: str
    sources: tuple[Node, ...]
    targets: tuple[Node, ...]
    links: tuple[Link, ...]
    height: int


def draw_maps(names: Iterable[str]) -> Iterator[MapDrawing]:
    """Draw each map once that ships with Millrace; other names draw none.

    Names come from a manifest, which is not trusted, and a file of such a name may hold another map: none is opened.
    """
    shipped = map_names()
    yield from (_draw_map(name) for name in dict.fromkeys(names) if name in shipped)


def _draw_map(name: str) -> MapDrawing:
    found = load_map(name)
    wiring = compile_map(found).state
    driving, driven = set(wiring.gather.tolist()), set(wiring.driven.tolist())
    sources, targets = (tuple(_nodes(robot, used)) for robot, used in ((found.source, driving), (found.target, driven)))
    links = tuple(_links(found.source, found.target, wiring, sources, targets))
    height = ROW * (max(len(sources), len(targets)) + 1)
    return MapDrawing(
        found.name, found.description, found.source.name, found.target.name, sources, targets, links, height
    )


def _nodes(robot: Robot, used: set[int]) -> Iterator[Node]:
    """A heading for each group of a robot's state, and its joints below it."""
    layout, row = robot.layout("state"), 0
    for group, place in layout.slices.items():
        row += 1
        yield Node(group, row * ROW, is_heading=True, is_idle=used.isdisjoint(range(place.start, place.stop)))
        for column in range(place.start, place.stop):
            row += 1
            yield Node(layout.joints[column], row * ROW, is_idle=column not in used)


def _links(
    source: Robot, target: Robot, wiring: JointMap, sources: Sequence[Node], targets: Sequence[Node]
) -> Iterator[Link]:
    left, right = ([node.y for node in nodes if not node.is_heading] for nodes in (sources, targets))
    names = source.layout("state").joints, target.layout("state").joints
    for gather, driven, scale, offset in zip(
        wiring.gather.tolist(), wiring.driven.tolist(), wiring.scale.tolist(), wiring.offset.tolist(), strict=True
    ):
        start, end, middle = left[gather] - 4, right[driven] - 4, (LEFT + RIGHT) // 2
        is_rescaled = (scale, offset) != (1, 0)
        value = f"{scale:.4g} x {names[0][gather]} {offset:+.4g}" if is_rescaled else names[0][gather]
        path = f"M{LEFT} {start}C{middle} {start} {middle} {end} {RIGHT} {end}"
        yield Link(path, f"{names[1][driven]} = {value}", is_rescaled)
