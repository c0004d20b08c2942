"""Where a dataset comes from, as its manifest says: sources, settings, versions, episodes that failed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import Unreadable, is_file, parse_model, report_unreadable
from millrace.engine.dataset.manifest import parse_episode, read_head_text, read_manifest_episodes
from millrace.engine.layout import MANIFEST
from millrace.engine.report.map_drawing import MapDrawing, draw_maps
from millrace.engine.text import join_names, printable

MAX_FAILURES, MAX_SOURCES = 100, 100


class RecordedSource(FrozenModel):
    """A source as the manifest's recipe has it."""

    path: str = ""
    map: str | None = None
    rules: dict[str, Any] = Field(default_factory=dict)


class RecordedRecipe(FrozenModel):
    """What a report shows of a recipe."""

    sources: tuple[RecordedSource, ...] = ()
    robot: str | None = None
    fps: str | float | None = None
    image_size: Any = None
    crop: Any = None
    resample: Any = None
    gop: int | None = None
    holdout: Any = None


class RecordedFailure(FrozenModel):
    """An episode that could not be converted."""

    code: str = ""
    source: str = ""
    episode: int | None = None
    camera: str | None = None
    reason: str = ""
    remedy: str = ""


class RecordedWarning(FrozenModel):
    """A kind of warning in one source."""

    code: str = ""
    source: str = ""
    num_episodes: int = 0
    message: str = ""


class RecordedHead(FrozenModel):
    """The manifest before its episodes."""

    recipe: RecordedRecipe = RecordedRecipe()
    part: str | None = None
    map: str | None = None
    at_rest: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    versions: dict[str, Any] = Field(default_factory=dict)
    encoder: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[RecordedWarning, ...] = ()
    quarantine: tuple[RecordedFailure, ...] = ()


class EpisodeSource(FrozenModel):
    """Which source an episode is from."""

    source: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class SourceRow:
    """A source of a dataset, or several of one name. map: its name, or what stands in place of one; all of several."""

    name: str
    revision: str
    num_episodes: int
    map: str


@dataclass(frozen=True)
class Origins:
    """Where a dataset comes from. why: its manifest cannot be read."""

    sources: tuple[SourceRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    at_rest: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[RecordedFailure, ...] = ()
    num_failures: int = 0
    maps: tuple[MapDrawing, ...] = ()
    why: str = ""


def read_origins(root: Path) -> Origins | None:
    """Read a dataset's manifest; None where it has none: another program made it."""
    if not is_file(root / MANIFEST):
        return None
    try:
        with report_unreadable(root, MANIFEST):
            head = parse_model(read_head_text(root), RecordedHead, MANIFEST)
        counts = _count_episodes(root)
    except Unreadable as error:
        return Origins(why=str(error.problem))
    return _describe(head, counts)


def _count_episodes(root: Path) -> Counter[tuple[str, str]]:
    """Episodes by name and revision of their source, in the order of the first of each."""
    counts = Counter[tuple[str, str]]()
    for text in read_manifest_episodes(root):
        episode = parse_episode(text, EpisodeSource)
        counts[episode.source or "unknown", episode.revision or ""] += 1
    return counts


def _describe(head: RecordedHead, counts: Mapping[tuple[str, str], int]) -> Origins:
    recorded = head.recipe.sources
    maps = _map_names(recorded, head.recipe.robot)
    drawn = (source.map for source in recorded if source.map is not None and not source.rules)
    return Origins(
        sources=tuple(
            SourceRow(printable(name), printable(revision), number, maps.get(name, ""))
            for (name, revision), number in list(counts.items())[:MAX_SOURCES]
        ),
        settings=tuple((name, printable(value)) for name, value in _settings(head)),
        at_rest=tuple((name, printable(", ".join(joints))) for name, joints in head.at_rest.items() if joints),
        notes=tuple(map(printable, (*head.notes, *map(_describe_warning, head.warnings)))),
        failures=head.quarantine[:MAX_FAILURES],
        num_failures=len(head.quarantine),
        maps=tuple(draw_maps(drawn)),
    )


def _map_names(sources: Iterable[RecordedSource], robot: str | None) -> dict[str, str]:
    """The maps of each name's sources: the manifest does not tell folders of one name in several places apart."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for source in sources:
        found[source.path][_map_name(source, robot)] = None
    return {name: join_names(list(maps)) for name, maps in found.items()}


def _map_name(source: RecordedSource, robot: str | None) -> str:
    rules = " with rules of the recipe" if source.rules else ""
    return printable((source.map or f"joints of {robot or 'its robot'} as they are") + rules)


def _describe_warning(one: RecordedWarning) -> str:
    return f"{one.source}: {one.code} in {one.num_episodes:,} episode{'s' * (one.num_episodes != 1)}: {one.message}"


def _settings(head: RecordedHead) -> Iterator[tuple[str, str]]:
    recipe = head.recipe
    if head.part is not None:
        yield "split", head.part
    for name in ("fps", "resample", "image_size", "crop", "gop", "holdout"):
        value = getattr(recipe, name)
        if value is not None:
            yield name.replace("_", " "), str(value)
    encoder = [f"{name} {value}" for name, value in head.encoder.items() if isinstance(value, str) and name != "name"]
    yield "encoder", ", ".join([str(head.encoder.get("name", "unknown")), *encoder])
    yield "made with", ", ".join(f"{name} {version}" for name, version in head.versions.items())
