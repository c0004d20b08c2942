"""Statistics of a dataset as a release of GR00T wants them for one embodiment tag: stored ones, or computed ones."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from millrace.embodiments import Remedy
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints, relative_fingerprints
from millrace.engine.dataset.groot_stats import RelativeGroup, compute_statistics
from millrace.engine.dataset.json_files import JsonObject, Unreadable, is_file, read_json
from millrace.engine.dataset.metadata import INFO, Metadata
from millrace.engine.dataset.modality_config import GrootConfig, read_config
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.dataset.stats import Statistics
from millrace.engine.dataset.stored_statistics import (
    StoredFile,
    lies_in_columns,
    read_relative_stats,
    read_stats,
    relative_group,
)
from millrace.engine.errors import DatasetError
from millrace.engine.layout import MODALITY_CONFIG

JsonStatistics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Purpose:
    """What statistics are for.

    Args:
        config: The modality config that is trained.
        tag: EmbodimentTag's value, such as "new_embodiment".
        has_fingerprints: Whether relative_stats.json has fingerprints, which GR00T N1.7 looks for since July 2026; N1.6
            and the first N1.7 stop at them.
    """

    config: GrootConfig
    tag: str
    has_fingerprints: bool


@dataclass(frozen=True, eq=False)
class StatisticsPlan:
    """Which statistics of a dataset are taken as they are, which are computed, and which are left to GR00T.

    Args:
        due: Fingerprints of all float features and RELATIVE groups, by file: "stats" and "relative".
        features: Float features to compute.
        groups: RELATIVE joint groups to compute.
        left: RELATIVE joint groups that only GR00T computes, with the reason.
    """

    metadata: Metadata
    purpose: Purpose
    stats: StoredFile
    relative: StoredFile
    due: Mapping[str, Mapping[str, str]]
    features: tuple[str, ...] = ()
    groups: Mapping[str, RelativeGroup] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def computed(self) -> tuple[str, ...]:
        """What is computed, for messages."""
        return (*self.features, *(f"relative {name}" for name in self.groups))

    @property
    def parquets(self) -> list[Path]:
        """Every episode's rows."""
        return [self.metadata.root / self.metadata.data_path(index) for index in self.metadata.indices.tolist()]

    @property
    def row_facts(self) -> list[tuple[int, int]]:
        """Size and time of change of every file that is read; none where nothing is computed."""
        found = [os.stat(path) for path in self.parquets] if self.computed else []
        return [(file.st_size, file.st_mtime_ns) for file in found]

    def make(self, scratch: Path | None = None) -> tuple[JsonStatistics, JsonStatistics]:
        """The content of stats.json and of relative_stats.json, fingerprints included.

        Raises:
            RowsError: rows that are needed cannot be read.
        """
        stats, relative = self._compute(scratch)
        due = self.due["relative"]
        kept = {name: self.stats.content[name] for name in self.due["stats"] if name not in stats}
        held = {name: self.relative.content[name] for name in due if name not in relative and name not in self.left}
        prints = {FINGERPRINTS: {name: due[name] for name in due if name not in self.left}}
        return (
            _in_order(self.due["stats"], kept, stats) | {FINGERPRINTS: dict(self.due["stats"])},
            _in_order(due, held, relative) | (prints if self.purpose.has_fingerprints else {}),
        )

    def _compute(self, scratch: Path | None) -> tuple[JsonStatistics, JsonStatistics]:
        if not self.computed:
            return {}, {}
        steps = list(self.purpose.config.modalities["action"].delta_indices) if self.groups else [0]
        found, relative = compute_statistics(
            self.parquets, self.features, self.groups, horizon=steps[-1] + 1, scratch=scratch
        )
        chosen = {
            name: Statistics(**{stat: values[steps] for stat, values in vars(statistics).items()})
            for name, statistics in relative.items()
        }
        return _to_json(found), _to_json(chosen)


def _to_json(found: Mapping[str, Statistics]) -> JsonStatistics:
    return {name: statistics.to_json() for name, statistics in found.items()}


def _in_order(names: Mapping[str, str], *parts: JsonStatistics) -> JsonStatistics:
    found = {name: entry for part in parts for name, entry in part.items()}
    return {name: found[name] for name in names if name in found}


def plan_statistics(dataset: Path, purpose: Purpose) -> StatisticsPlan:
    """Decide from meta/ alone what is taken and what is computed.

    A float feature's statistics are taken unless they are incomplete or have a fingerprint of something else. Those of
    a RELATIVE group are taken where their fingerprint, or the dataset's own modality_config.py, shows that they are
    for this tag and these steps.

    Raises:
        DatasetError: meta/ is not what GR00T reads, or the config has RELATIVE actions without a state.
    """
    metadata, problems = read_metadata(dataset, purpose.config)
    errors = [problem for problem in problems if problem.severity == "error"]
    if metadata is None or errors:
        problem = f"{dataset}: {errors[0].path} {errors[0].message}; "
        raise DatasetError(problem, Remedy(errors[0].remedy), dataset=str(dataset))
    stats, relative = read_stats(metadata), read_relative_stats(metadata)
    features = read_json(dataset, INFO, JsonObject).root["features"]
    due = {"stats": feature_fingerprints(features), "relative": relative_fingerprints(purpose.config, purpose.tag)}
    if lacking := purpose.config.relative.keys() - due["relative"].keys():
        raise DatasetError(f"the modality config has no state for its RELATIVE actions {', '.join(sorted(lacking))}")
    plan = StatisticsPlan(metadata, purpose, stats, relative, due, _stale_features(stats, due["stats"]))
    needed = {name: _find_group(plan, name) for name in due["relative"] if not _is_taken(plan, name)}
    return replace(
        plan,
        groups={name: group for name, group in needed.items() if isinstance(group, RelativeGroup)},
        left={name: reason for name, reason in needed.items() if isinstance(reason, str)},
    )


def _stale_features(stats: StoredFile, due: Mapping[str, str]) -> tuple[str, ...]:
    stored = stats.fingerprints or {}
    return tuple(
        name
        for name, fingerprint in due.items()
        if name not in stats.entries or stored.get(name, fingerprint) != fingerprint
    )


def _is_taken(plan: StatisticsPlan, name: str) -> bool:
    """Whether the stored statistics of a RELATIVE group are sound, and for this tag and these steps."""
    if name not in plan.relative.entries:
        return False
    stored = plan.relative.fingerprints or _own_fingerprints(plan.metadata.root, plan.purpose.tag)
    return stored.get(name) == plan.due["relative"][name]


def _own_fingerprints(dataset: Path, tag: str) -> Mapping[str, str]:
    """Fingerprints of what the dataset's own modality config asks for, by which its statistics were computed."""
    try:
        return relative_fingerprints(read_config(dataset), tag) if is_file(dataset / MODALITY_CONFIG) else {}
    except Unreadable:
        return {}


def _find_group(plan: StatisticsPlan, name: str) -> RelativeGroup | str:
    """Where a RELATIVE group lies; or why its statistics cannot be computed here."""
    config = plan.purpose.config
    steps, states = (config.modalities[part].delta_indices for part in ("action", "state"))
    if config.relative[name].type != "NON_EEF":
        return "differences of poses, which GR00T computes itself"
    if steps[:1] != (0,) or states[-1:] != (0,) or list(steps) != sorted(set(steps)):
        return "its steps do not go on from the last state"
    assert plan.metadata.modality is not None, "meta/ has been read without an error"
    group = relative_group(plan.metadata, plan.metadata.modality, name)
    if not isinstance(group, RelativeGroup):
        return group.message
    if not lies_in_columns(plan.metadata, group):
        return "it lies in no float column"
    if not (plan.metadata.lengths > steps[-1]).any():
        return f"no episode has the {steps[-1] + 1} frames of an action chunk"
    return group
