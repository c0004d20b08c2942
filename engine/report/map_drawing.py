"""Draw a map: which joint of the source drives which joint of the target, and which rest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from millrace.embodiments import VECTORS, CompiledMap, Vector, compile_map, load_map, map_names
from millrace.embodiments.joint_map import JointMap
from millrace.embodiments.robot import Layout

ROW, LEFT, RIGHT = 17, 250, 510  # of a drawing 760 wide


@dataclass(frozen=True)
class Node:
    """A joint or, as a heading, a group. y: its height. is_idle: it drives nothing, or rests. note: where it rests."""

    text: str
    y: int
    is_heading: bool = False
    is_idle: bool = False
    note: str = ""


@dataclass(frozen=True)
class Link:
    """A joint of the source that drives one of the target. path: of its line. text: how values change."""

    path: str
    text: str
    is_rescaled: bool


@dataclass(frozen=True)
class MapDrawing:
    """A map between two robots, for state, action or both; sources on the left, targets on the right.

    used_by: the datasets that it converts.
    """

    name: str
    used_by: tuple[str, ...]
    vectors: str
    source: str
    target: str
    sources: tuple[Node, ...]
    targets: tuple[Node, ...]
    links: tuple[Link, ...]
    height: int


def draw_shipped_maps(users: Mapping[str, Sequence[str]]) -> Iterator[MapDrawing]:
    """Draw each map that ships with Millrace; other names draw none.

    Names come from a manifest, which is not trusted, and a file of such a name may hold another map: none is opened.

    Args:
        users: Names of maps, each with the datasets that it converts.
    """
    shipped = map_names()
    for name, used_by in users.items():
        if name in shipped:
            yield from draw_map(compile_map(load_map(name)), used_by)


def draw_map(found: CompiledMap, used_by: Sequence[str]) -> Iterator[MapDrawing]:
    """Draw a map, for state and action apart where these have other joints or are changed in another way."""
    state, action = (
        _draw_vector(found, vector, wiring, tuple(used_by))
        for vector, wiring in zip(VECTORS, (found.state, found.action), strict=True)
    )
    if (state.links, state.sources, state.targets) == (action.links, action.sources, action.targets):
        yield replace(state, vectors="state and action")
    else:
        yield from (state, action)


def _draw_vector(found: CompiledMap, vector: Vector, wiring: JointMap, used_by: tuple[str, ...]) -> MapDrawing:
    source, target = found.source.layout(vector), found.target.layout(vector)
    own = wiring.gather < source.width  # the others hold the target's own state
    driving, driven = set(wiring.gather[own].tolist()), set(wiring.driven[own].tolist())
    notes = {column: f"rests at {value:.4g}" for column, value in enumerate(wiring.rest.tolist())}
    notes |= dict.fromkeys(wiring.driven[~own].tolist(), "holds the state")
    sources, targets = tuple(_nodes(source, driving)), tuple(_nodes(target, driven, notes))
    links = tuple(_links(source.joints, target.joints, wiring, sources, targets))
    height = ROW * (max(len(sources), len(targets)) + 1)
    names = found.source.name, found.target.name
    return MapDrawing(found.name, used_by, vector, *names, sources, targets, links, height)


def _nodes(layout: Layout, used: set[int], notes: Mapping[int, str] = MappingProxyType({})) -> Iterator[Node]:
    """A heading for each group of a vector, and its joints below it; notes: on those not used, by column."""
    row = 0
    for group, place in layout.slices.items():
        row += 1
        yield Node(group, row * ROW, is_heading=True, is_idle=used.isdisjoint(range(place.start, place.stop)))
        for column in range(place.start, place.stop):
            row += 1
            is_idle = column not in used
            yield Node(layout.joints[column], row * ROW, is_idle=is_idle, note=notes.get(column, "") if is_idle else "")


def _links(
    driving: Sequence[str], driven: Sequence[str], wiring: JointMap, sources: Sequence[Node], targets: Sequence[Node]
) -> Iterator[Link]:
    """A link for each joint that one of the source drives; driving, driven: names of joints by column."""
    left, right = ([node.y for node in nodes if not node.is_heading] for nodes in (sources, targets))
    arrays = (wiring.gather, wiring.driven, wiring.scale, wiring.offset)
    for gather, target, scale, offset in zip(*(array.tolist() for array in arrays), strict=True):
        if gather >= len(driving):
            continue
        start, end, middle = left[gather] - 4, right[target] - 4, (LEFT + RIGHT) // 2
        is_rescaled = (scale, offset) != (1, 0)
        value = f"{scale:.4g} x {driving[gather]} {offset:+.4g}" if is_rescaled else driving[gather]
        path = f"M{LEFT} {start}C{middle} {start} {middle} {end} {RIGHT} {end}"
        yield Link(path, f"{driven[target]} = {value}", is_rescaled)
