"""modality.json against info.json, and modality_config.py against both."""

from collections.abc import Iterator, Mapping

from millrace.engine.dataset.metadata import MODALITY, GrootFeature, JointSlice, Metadata, ModalityFile
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import DEFAULT_TAG, Release
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.text import join_names

# Language keys that GR00T fills from episodes.jsonl (lerobot_episode_loader.py, LANG_KEYS).
EPISODE_LANGUAGE = ("task", "sub_task")


def modality_problems(metadata: Metadata) -> Iterator[Problem]:
    """Groups, cameras and annotations; then what modality_config.py makes of them."""
    modality = metadata.modality
    if modality is None:
        return
    for part in ("state", "action", "video"):
        if not getattr(modality, part):
            yield Problem.of("modality-empty", MODALITY, f"names no {part}; GR00T needs all of state, action and video")
    features = metadata.info.features
    for kind, groups in modality.groups.items():
        yield from _group_problems(kind, groups, features)
    for camera, column in modality.cameras.items():
        if column not in features or not features[column].is_video:
            yield _wrong_column(f"video.{camera}", column, "a video", features)
    for name, column in modality.annotations.items():
        if column not in features or "int" not in features[column].dtype:
            yield _wrong_column(f"annotation.{name}", column, "a column of task indices", features)
    languages = () if metadata.config is None else metadata.config.keys("language")
    if not modality.annotation and not set(EPISODE_LANGUAGE) & set(languages):
        message = 'names no annotation; add {"annotation": {"human.task_description": {"original_key": "task_index"}}}'
        yield Problem.of("annotation-missing", MODALITY, message)
    if metadata.config is not None:
        yield from _config_problems(metadata.config, modality)


def registered_tag_problems(metadata: Metadata, release: Release) -> Iterator[Problem]:
    """Whether a release lets modality_config.py register its config for the tag that it names."""
    config = metadata.config
    if config is None or metadata.modality is None:
        return
    has_config = release.has_config(config.tag)
    if has_config or config.tag not in release.tag_names:
        reason = f"has a config in {release.name}" if has_config else f"is no tag of {release.name}"
        message = f"registers for {config.tag}, which {reason}, so GR00T stops: use {DEFAULT_TAG}"
        yield Problem.of("config-tag", MODALITY_CONFIG, message)


def _group_problems(
    kind: str, groups: Mapping[str, JointSlice], features: Mapping[str, GrootFeature]
) -> Iterator[Problem]:
    by_column: dict[str, dict[str, JointSlice]] = {}
    for name, group in groups.items():
        column = group.column(kind)
        if column not in features or not features[column].is_float:
            yield _wrong_column(f"{kind}.{name}", column, "a column of floats", features)
        elif not 0 <= group.start < group.end <= features[column].width:
            width = features[column].width
            message = f"{kind}.{name} is [{group.start}, {group.end}), which is no part of the {width} of {column!r}"
            yield Problem.of("modality-slices", MODALITY, message)
        else:
            by_column.setdefault(column, {})[name] = group
    for column, found in by_column.items():
        yield from _cover_problems(kind, column, features[column], found)


def _cover_problems(
    kind: str, column: str, feature: GrootFeature, groups: Mapping[str, JointSlice]
) -> Iterator[Problem]:
    gaps: list[range] = []
    reach, furthest = 0, ""
    for name, group in sorted(groups.items(), key=lambda item: (item[1].start, item[1].end)):
        if group.start < reach:
            shared = _values(feature, range(group.start, min(reach, group.end)))
            yield Problem.of(
                "modality-overlap", MODALITY, f"{kind} groups {furthest} and {name} share {shared} of {column!r}"
            )
        gaps.append(range(reach, group.start))
        if group.end > reach:
            reach, furthest = group.end, name
    gaps = [gap for gap in (*gaps, range(reach, feature.width)) if gap]
    if gaps:
        unused = "; ".join(_values(feature, gap) for gap in gaps[:4])
        yield Problem.of("modality-gap", MODALITY, f"no {kind} group of {column!r} holds {unused}")


def _values(feature: GrootFeature, indices: range) -> str:
    names = [feature.value_name(index) for index in indices[:8]]
    place = f"[{indices.start}, {indices.stop})"
    return place if None in names else f"{place} ({', '.join(map(str, names))}{' ...' if indices[8:] else ''})"


def _wrong_column(entry: str, column: str, kind: str, features: Mapping[str, GrootFeature]) -> Problem:
    found = f"is {features[column].dtype}" if column in features else "is not in info.json"
    message = f"{entry} needs {kind}, but {column!r} {found}. Known: {join_names(list(features), 12)}"
    return Problem.of("modality-column", MODALITY, message)


def _config_problems(config: GrootConfig, modality: ModalityFile) -> Iterator[Problem]:
    known = {
        "video": set(modality.video),
        "state": set(modality.state),
        "action": set(modality.action),
        "language": {*(f"annotation.{name}" for name in modality.annotation), *EPISODE_LANGUAGE},
    }
    for part, names in known.items():
        unknown = [key for key in config.keys(part) if key not in names]
        if unknown:
            message = (
                f"{part} names {join_names(unknown)}, which modality.json lacks. The config has "
                f"{join_names(list(config.keys(part)), 12)}. Known: {join_names(sorted(names), 12)}"
            )
            yield Problem.of("config-keys", MODALITY_CONFIG, message)
        if part != "language" and not config.keys(part):
            yield Problem.of("config-keys", MODALITY_CONFIG, f"names no {part} keys")
    language = config.modalities.get("language")
    if language is None or len(language.modality_keys) != 1 or language.delta_indices != (0,):
        found = "none" if language is None else f"{len(language.modality_keys)} keys at {list(language.delta_indices)}"
        yield Problem.of(
            "config-language", MODALITY_CONFIG, f"language needs exactly one key at delta_indices [0], found {found}"
        )
    yield from _delta_problems(config)
    yield from _action_problems(config, modality)


def _delta_problems(config: GrootConfig) -> Iterator[Problem]:
    for part, modality in config.modalities.items():
        if not modality.delta_indices or min(modality.delta_indices) < 0:
            found = list(modality.delta_indices)[:8]
            message = f"{part} has the delta_indices {found}: GR00T takes negative ones from the end"
            yield Problem.of("config-deltas", MODALITY_CONFIG, message)
    state, action = config.modalities.get("state"), config.modalities.get("action")
    if not (config.relative and state and action and state.delta_indices and action.delta_indices):
        return
    last, first = state.delta_indices[-1], action.delta_indices[0]
    if last != first:
        message = f"the last state is at {last}, but RELATIVE chunks start at {first}"
        yield Problem.of("config-deltas", MODALITY_CONFIG, message)


def _action_problems(config: GrootConfig, modality: ModalityFile) -> Iterator[Problem]:
    action = config.modalities.get("action")
    if action is None or action.action_configs is None:
        return
    if len(action.action_configs) != len(action.modality_keys):
        message = f"{len(action.action_configs)} action_configs for {len(action.modality_keys)} action keys"
        yield Problem.of("config-action-configs", MODALITY_CONFIG, message)
        return
    for key, rep in config.relative.items():
        reference = rep.state_key or key
        if reference not in config.keys("state"):
            message = f"RELATIVE action {key!r} needs the state {reference!r} among the state keys"
            yield Problem.of("config-relative", MODALITY_CONFIG, message)
        elif key in modality.action and reference in modality.state:
            widths = modality.action[key].width, modality.state[reference].width
            if widths[0] != widths[1]:
                message = f"RELATIVE action {key!r} has {widths[0]} values, its state {reference!r} has {widths[1]}"
                yield Problem.of("config-relative", MODALITY_CONFIG, message)
