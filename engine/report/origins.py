"""Where a dataset comes from, as its manifest says: sources, settings, versions, episodes that failed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from millrace.embodiments import VECTORS, CompiledMap, FrozenModel
from millrace.engine.dataset.json_files import Unreadable, is_file, parse_model, report_unreadable
from millrace.engine.dataset.manifest import parse_episode, read_head_text, read_manifest_episodes
from millrace.engine.layout import MANIFEST
from millrace.engine.planning import ConversionPlan
from millrace.engine.report.bounded_text import limit_text, take_first
from millrace.engine.report.map_drawing import MapDrawing, draw_map, draw_shipped_maps
from millrace.engine.sources import public_name
from millrace.engine.text import join_names, printable

MAX_SOURCES, MAX_SETTINGS, MAX_VECTORS = 100, 100, 10


class RecordedSource(FrozenModel):
    """A source as the manifest's recipe has it; settings: all else that it says."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str = ""
    map: str | None = None
    rules: dict[str, Any] = Field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is set for this source alone."""
        return self.model_extra or {}


class RecordedRecipe(FrozenModel):
    """A recipe; settings: whatever it says beside its sources."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sources: tuple[RecordedSource, ...] = ()
    robot: str | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is set for all sources."""
        return {"robot": self.robot, **(self.model_extra or {})}


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
    columns: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[RecordedWarning, ...] = ()
    quarantine: tuple[RecordedFailure, ...] = ()


class EpisodeSource(FrozenModel):
    """Which source an episode is from."""

    source: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class SourceRow:
    """A source of a dataset, or several of one name. map: its name, or what stands in place of one; all of several.

    settings: of this source alone, in words; likewise.
    """

    name: str
    revision: str
    num_episodes: int
    map: str
    settings: str = ""


@dataclass(frozen=True)
class Origins:
    """Where a dataset comes from. why: its manifest cannot be read."""

    sources: tuple[SourceRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    at_rest: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[RecordedFailure, ...] = ()
    maps: tuple[MapDrawing, ...] = ()
    why: str = ""


def read_origins(root: Path, plan: ConversionPlan | None = None) -> Origins | None:
    """Read a dataset's manifest; None where it has none: another program made it.

    Args:
        root: The dataset's folder.
        plan: Of the conversion that made it, whose maps are drawn; None: those are that ship with Millrace.
    """
    if not is_file(root / MANIFEST):
        return None
    try:
        with report_unreadable(root, MANIFEST):
            head = parse_model(read_head_text(root), RecordedHead, MANIFEST)
        counts = _count_episodes(root)
    except Unreadable as error:
        return Origins(why=str(error.problem))
    maps = draw_shipped_maps(_map_users(head.recipe.sources)) if plan is None else _draw_plan(plan)
    return _describe(head, counts, tuple(maps))


def _draw_plan(plan: ConversionPlan) -> Iterator[MapDrawing]:
    """The map of each source, each once; joints that all stay as they are need no drawing."""
    users: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    found = {}
    for binding in plan.job.bindings:
        key = binding.map.name, binding.map.digest
        if not _is_identity(binding.map):
            found[key] = binding.map
            users[key][public_name(binding.source.path, binding.revision)] = None
    for key, mapping in found.items():
        yield from draw_map(mapping, take_first(users[key]))


def _is_identity(mapping: CompiledMap) -> bool:
    """Whether every joint of the robot becomes itself."""
    for vector, wiring in zip(VECTORS, (mapping.state, mapping.action), strict=True):
        places = np.arange(mapping.target.layout(vector).width)
        is_moved = not (np.array_equal(wiring.gather, places) and np.array_equal(wiring.driven, places))
        if is_moved or (wiring.scale != 1).any() or (wiring.offset != 0).any():
            return False
    return mapping.source.name == mapping.target.name


def _count_episodes(root: Path) -> Counter[tuple[str, str]]:
    """Episodes by name and revision of their source, in the order of the first of each."""
    counts = Counter[tuple[str, str]]()
    for text in read_manifest_episodes(root):
        episode = parse_episode(text, EpisodeSource)
        counts[episode.source or "unknown", episode.revision or ""] += 1
    return counts


def _describe(head: RecordedHead, counts: Mapping[tuple[str, str], int], maps: tuple[MapDrawing, ...]) -> Origins:
    recorded, robot = head.recipe.sources, head.recipe.robot
    names = _texts_by_name(recorded, lambda source: _map_name(source, robot))
    settings = _texts_by_name(recorded, lambda source: "; ".join(_describe_settings(source.settings)))
    return Origins(
        sources=tuple(
            SourceRow(limit_text(name), limit_text(revision), number, names.get(name, ""), settings.get(name, ""))
            for (name, revision), number in list(counts.items())[:MAX_SOURCES]
        ),
        settings=tuple((limit_text(name), limit_text(value)) for name, value in _settings(head)),
        at_rest=tuple(
            (limit_text(name), ", ".join(take_first(joints)))
            for name, joints in islice(head.at_rest.items(), MAX_VECTORS)
            if joints
        ),
        notes=take_first((*head.notes, *map(_describe_warning, head.warnings))),
        failures=tuple(map(_limit_failure, head.quarantine)),
        maps=maps,
    )


def _map_users(sources: Iterable[RecordedSource]) -> dict[str, tuple[str, ...]]:
    """The sources of each map that is used as it is."""
    users: dict[str, dict[str, None]] = defaultdict(dict)
    for source in sources:
        if source.map is not None and not source.rules:
            users[source.map][source.path] = None
    return {name: take_first(found) for name, found in users.items()}


def _limit_failure(one: RecordedFailure) -> RecordedFailure:
    texts = {name: limit_text(text) for name, text in one if isinstance(text, str)}
    return one.model_copy(update=texts)


def _texts_by_name(sources: Iterable[RecordedSource], describe: Callable[[RecordedSource], str]) -> dict[str, str]:
    """What each name's sources say: the manifest does not tell folders of one name in several places apart."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for source in sources:
        found[source.path][limit_text(describe(source))] = None
    return {name: join_names(list(filter(None, take_first(texts)))) for name, texts in found.items()}


def _map_name(source: RecordedSource, robot: str | None) -> str:
    rules = " with rules of the recipe" if source.rules else ""
    return printable((source.map or f"joints of {robot or 'its robot'} as they are") + rules)


def _describe_warning(one: RecordedWarning) -> str:
    return f"{one.source}: {one.code} in {one.num_episodes:,} episode{'s' * (one.num_episodes != 1)}: {one.message}"


def _settings(head: RecordedHead) -> Iterator[tuple[str, str]]:
    if head.part is not None:
        yield "split", head.part
    for name, value in islice(head.recipe.settings.items(), MAX_SETTINGS):
        if not _is_unset(value):
            yield name.replace("_", " "), _describe_value(value)
    for name, value in islice(head.columns.items(), MAX_SETTINGS):
        if not _is_unset(value):
            yield f"{name} columns".replace("_", " "), _describe_value(value)
    encoder = [f"{name} {value}" for name, value in head.encoder.items() if isinstance(value, str) and name != "name"]
    yield "encoder", ", ".join([str(head.encoder.get("name", "unknown")), *encoder])
    yield "made with", ", ".join(f"{name} {version}" for name, version in head.versions.items())


def _describe_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if not _is_unset(value):
            yield f"{name.replace('_', ' ')} {_describe_value(value)}"


def _is_unset(value: object) -> bool:
    """Whether a setting does nothing; 0 and 0.0 are values."""
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _describe_value(value: object) -> str:
    """A setting of any kind, as a recipe may hold it, in one line."""
    if isinstance(value, dict):
        text = ", ".join(f"{name}: {_describe_value(one)}" for name, one in value.items())
    elif isinstance(value, list):
        text = ", ".join(map(_describe_value, value))
    else:
        text = "yes" if value is True else str(value)
    return limit_text(text)
