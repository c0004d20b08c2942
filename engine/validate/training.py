"""What training needs of the data alone: dims, chunks and shards that GR00T N1.6 can take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.engine.dataset.checks import CHECKS, Check
from millrace.engine.dataset.metadata import EPISODES, MODALITY, JointSlice, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.sharding import Sharding, count_trainable_steps
from millrace.engine.layout import MAX_DIMS, MODALITY_CONFIG
from millrace.engine.text import join_names

# The processor of N1.6's released checkpoint: max_action_horizon.
MAX_HORIZON = 50
# Where neither a config nor relative_stats.json tells: the guides' and most of NVIDIA's configs'.
DEFAULT_HORIZON = 16
# N1.6's launch_finetune defaults: shard_size and episode_sampling_rate.
SHARD_SIZE = 1024
SAMPLING_RATE = 0.1


@dataclass(frozen=True)
class Trained:
    """Groups that a policy is trained on: the config's, or all where there is none. num_values: by modality."""

    groups: Mapping[str, Mapping[str, JointSlice]]
    num_values: Mapping[str, int]

    @classmethod
    def of(cls, metadata: Metadata) -> "Trained":
        """Those of a dataset, keys that do not exist left out."""
        known = {} if metadata.modality is None else metadata.modality.groups
        config = metadata.config
        groups = {
            modality: {name: group for name, group in found.items() if config is None or name in config.keys(modality)}
            for modality, found in known.items()
        }
        state = None if config is None else config.modalities.get("state")
        doubled = () if state is None else state.sin_cos_keys
        num_values = {
            modality: sum(
                group.width * (2 if modality == "state" and name in doubled else 1) for name, group in found.items()
            )
            for modality, found in groups.items()
        }
        return cls(groups, num_values)


def training_problems(metadata: Metadata, *, stored_horizon: int | None) -> Iterator[Problem]:
    """Dims, horizon, episode lengths and shards.

    Args:
        metadata: Of the dataset.
        stored_horizon: Steps of the relative statistics, which count where there is no config; None without any.
    """
    config = metadata.config
    horizon, span = (stored_horizon, stored_horizon) if config is None else (config.horizon, config.span)
    code, path = ("model-dims-all", MODALITY) if config is None else ("model-dims", MODALITY_CONFIG)
    for modality, num_values in Trained.of(metadata).num_values.items():
        if num_values > MAX_DIMS:
            message = f"trains {num_values} {modality} values, N1.6 takes {MAX_DIMS}: choose fewer groups"
            yield Problem.of(code, path, message)
    if horizon is not None and horizon > MAX_HORIZON:
        message = f"an action chunk has {horizon} steps, N1.6 takes {MAX_HORIZON}"
        yield Problem.of("model-horizon", MODALITY if config is None else MODALITY_CONFIG, message)
    yield from _length_problems(metadata, span or DEFAULT_HORIZON)


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
        EPISODES, Sharding(count_trainable_steps(metadata.lengths, span), SHARD_SIZE, SAMPLING_RATE)
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
