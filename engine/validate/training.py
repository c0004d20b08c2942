"""What training needs of the data alone: dims, chunks and shards that GR00T can take."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from millrace.engine.dataset.checks import CHECKS, Check
from millrace.engine.dataset.metadata import EPISODES, MODALITY, JointSlice, Metadata
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import ModelLimits, Release
from millrace.engine.dataset.sharding import Sharding, count_trainable_steps
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.text import join_names
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.thumbnails import info_image_size


def find_trained_groups(metadata: Metadata) -> Mapping[str, Mapping[str, JointSlice]]:
    """By modality the groups that a policy is trained on: the config's that exist, or all where there is none."""
    known = {} if metadata.modality is None else metadata.modality.groups
    config = metadata.config
    return {
        modality: {name: group for name, group in found.items() if config is None or name in config.keys(modality)}
        for modality, found in known.items()
    }


def camera_aspect_problems(metadata: Metadata) -> Iterator[Problem]:
    """Cameras whose aspects differ by info.json; those that no policy is trained on do not count.

    Builds that pad images to squares take them all. Others keep an image's shape (letter_box_transform and
    shortest_image_edge of processing_gr00t_n1d7.py), and stack those of a step.
    """
    known = {} if metadata.modality is None else metadata.modality.cameras
    trained = known if metadata.config is None else [name for name in metadata.config.keys("video") if name in known]
    features = {name: metadata.info.features.get(known[name]) for name in trained}
    found = {name: info_image_size(feature.shape, feature.names) for name, feature in features.items() if feature}
    sizes = {name: FrameSize(size[1], size[0]) for name, size in found.items() if size is not None}
    if len({Fraction(*size) for size in sizes.values()}) > 1:
        listed = join_names([f"{name} {size}" for name, size in sizes.items()], 8)
        path = MODALITY if metadata.config is None else MODALITY_CONFIG
        yield Problem.of("camera-aspects", path, f"trains on cameras of several aspects: {listed}")


def length_problems(metadata: Metadata, *, stored_horizon: int | None) -> Iterator[Problem]:
    """Episode lengths and shards, which are judged alike for every release.

    Args:
        metadata: Of the dataset.
        stored_horizon: Steps of the relative statistics, which count where there is no config; None without any.
    """
    span = stored_horizon if metadata.config is None else metadata.config.span
    yield from _length_problems(metadata, span or Release.default_horizon)


def limit_problems_of(metadata: Metadata, release: Release, *, stored_horizon: int | None) -> Iterator[Problem]:
    """Whether the released model takes the dims and the horizon; stored_horizon: as above."""
    config = metadata.config
    horizon, path = (stored_horizon, MODALITY) if config is None else (config.horizon, MODALITY_CONFIG)
    yield from model_limit_problems(metadata, release.limits, path, horizon=horizon)


def model_limit_problems(
    metadata: Metadata,
    limits: ModelLimits,
    path: str | Path,
    *,
    horizon: int | None,
    checks: Mapping[str, Check] = CHECKS,
) -> Iterator[Problem]:
    """Whether a model takes as many values, and steps of an action chunk, as are trained; path: what says so."""
    code = "model-dims-all" if metadata.config is None else "model-dims"
    for modality, groups in find_trained_groups(metadata).items():
        doubled = _sin_cos_keys(metadata.config) if modality == "state" and limits.encodes_sin_cos else ()
        widths = {name: group.width * (2 if name in doubled else 1) for name, group in groups.items()}
        num_values, limit = sum(widths.values()), limits.max_dims[modality]
        if num_values > limit:
            listed = join_names([f"{name} {width}" for name, width in widths.items()], 24)
            message = f"trains {num_values} {modality} values ({listed}), {limits.model} takes {limit}"
            yield Problem.of(code, path, message, checks)
    if horizon is not None and horizon > limits.max_horizon:
        message = f"has action chunks of {horizon} steps, {limits.model} takes {limits.max_horizon}"
        yield Problem.of("model-horizon", path, message, checks, most=limits.max_horizon)


def _sin_cos_keys(config: GrootConfig | None) -> tuple[str, ...]:
    state = None if config is None else config.modalities.get("state")
    return () if state is None else state.sin_cos_embedding_keys or ()


def _length_problems(metadata: Metadata, span: int) -> Iterator[Problem]:
    """span: frames from a chunk's first step to its last."""
    short = metadata.indices[metadata.lengths < span].tolist()
    if len(short) == metadata.num_episodes:
        longest = int(metadata.lengths.max())
        message = f"no episode has the {span} frames of an action chunk; the longest has {longest}"
        yield Problem.of("episodes-too-short", EPISODES, message)
        return
    if short:
        message = (
            f"{len(short)} of {metadata.num_episodes} episodes have less than the {span} frames of an action chunk: "
        )
        yield Problem.of("episodes-untrained", EPISODES, message + join_names([str(index) for index in short]))
    yield from sharding_problems(
        EPISODES, Sharding(count_trainable_steps(metadata.lengths, span), Release.shard_size, Release.sampling_rate)
    )


def sharding_problems(path: str | Path, sharding: Sharding, checks: Mapping[str, Check] = CHECKS) -> Iterator[Problem]:
    """Whether every shard gets steps; there must be steps."""
    if not sharding.fills_all:
        message = (
            f"{sharding.num_steps:,} steps make {sharding.num_shards:,} shards of {sharding.shard_size:,}, but "
            f"episodes are cut into {sharding.num_parts:,} parts only: 'All shards must have length greater than 0'"
        )
        size, rate = sharding.smallest_shard_size, sharding.largest_sampling_rate
        yield Problem.of("shards", path, message, checks, size=size, rate=rate)
