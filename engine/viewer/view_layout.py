"""How the viewer lays out an episode: cameras above curves, a column for each dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SideViews:
    """What is shown of one dataset. name: the first part of its entities. groups: of joints, with their titles."""

    name: str
    cameras: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]


CAMERAS, JOINTS = "cameras", "joints"


def arrange_views(blueprint: Any, sides: Sequence[SideViews], path: Callable[[Sequence[str]], str]) -> Any:
    """The blueprint of rerun for some sides.

    Args:
        blueprint: Module rerun.blueprint.
        sides: In order, from left to right.
        path: Makes an entity's name of its parts.
    """
    columns = [_arrange_side(blueprint, side, path) for side in sides]
    return blueprint.Blueprint(blueprint.Horizontal(*columns), collapse_panels=True)


def _arrange_side(blueprint: Any, side: SideViews, path: Callable[[Sequence[str]], str]) -> Any:
    images = [
        blueprint.Spatial2DView(origin=path((side.name, CAMERAS, camera)), name=f"{side.name}: {camera}")
        for camera in side.cameras
    ]
    curves = [
        blueprint.TimeSeriesView(origin=path((side.name, JOINTS, group)), name=f"{side.name}: {title}")
        for group, title in side.groups
    ]
    texts = [blueprint.TextDocumentView(origin=path((side.name, text)), name=text) for text in side.texts]
    parts = [blueprint.Grid(*images)] if images else []
    parts += [blueprint.Vertical(*curves)] if curves else []
    parts += [blueprint.Tabs(*texts)] if texts else []
    return blueprint.Vertical(*parts, name=side.name)
