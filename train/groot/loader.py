"""GR00T's sharded dataset with the same samples, of which only the needed frames are decoded.

    dataset = SparseShardedDataset(
        dataset_path=..., embodiment_tag=EmbodimentTag(...), modality_configs=..., video_backend="torchcodec",
        shard_size=1024, episode_sampling_rate=0.1, seed=42, allow_padding=False,
    )
    mixture = ShardedMixtureDataset([dataset], [1.0], processor, ...)   # GR00T's, unchanged
    collator = installed_adapter().wrap_collator(processor.collator)   # see millrace.train.groot.caching_collator

It takes the place of gr00t.data.dataset.sharded_single_step_dataset.ShardedSingleStepDataset, whose
constructor, sharding, statistics and attributes it inherits. The processor stays GR00T's own object, so that
what a run saves is what GR00T saves: `set_processor`, which the mixture calls, wraps it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gr00t.data.dataset.lerobot_episode_loader import LANG_KEYS
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.interfaces import BaseProcessor
from gr00t.data.types import MessageType, ModalityConfig, VLAStepData
from numpy.typing import NDArray

from millrace.engine.dataset.metadata import EPISODES
from millrace.engine.dataset.sharding import count_splits, count_trainable_steps
from millrace.train.failures import describe_failure
from millrace.train.fallbacks import warn_fallback
from millrace.train.groot.adapter import BatchSteps, installed_adapter
from millrace.train.groot.dealing_rule import find_dealing_rule
from millrace.train.groot.signatures import DECODER, decode_as_trained
from millrace.train.json_lines import JsonLines
from millrace.train.shard_index import ShardIndex
from millrace.train.shards import FrameReader, FrameStock, Visit, group_visits, read_step_columns, step_rows
from millrace.train.training_dataset import TrainingDataError, TrainingDataset

# Steps processed together: enough to share work, few enough that decoded frames are let go soon.
BATCH_STEPS = 64


@dataclass(frozen=True, eq=False)
class StepRows:
    """An episode's columns, and how many of its rows count."""

    index: int
    columns: Mapping[str, NDArray[Any]]
    num_rows: int
    num_used: int


class SparseShardedDataset(ShardedSingleStepDataset):
    """ShardedSingleStepDataset that reads only the columns and the frames that a shard uses.

    For the same seed and processor it gives the same samples in the same order, and draws the same random
    numbers. Datasets with masks are read as GR00T reads them, whole episodes at a time.
    """

    def __init__(
        self,
        dataset_path: str | Path,
        embodiment_tag: EmbodimentTag,
        modality_configs: dict[str, ModalityConfig],
        **settings: Any,
    ) -> None:
        """As ShardedSingleStepDataset's.

        Raises:
            TrainingDataError: metadata is missing or malformed, or makes no shards.
        """
        self.files = TrainingDataset.open(dataset_path)
        super().__init__(dataset_path, embodiment_tag, modality_configs, **settings)
        # Not in every build of GR00T; see `decode_as_trained`.
        backend, decoding = getattr(self, "video_backend", DECODER), getattr(self, "video_backend_kwargs", None)
        self.frames = FrameReader(partial(decode_as_trained, backend=backend, settings=decoding))
        self.in_batches: BatchSteps | None = None

    def shard_dataset(self) -> None:
        """Deal the steps into GR00T's shards, and make of its metadata what loader processes receive in no time."""
        loader = self.episode_loader
        loader.episode_lengths = np.array(loader.episode_lengths, dtype=np.int64)
        lines = JsonLines(self.files.root / EPISODES)
        if len(lines) == len(loader.episodes_metadata):  # else they end with carriage returns alone
            loader.episodes_metadata = lines
        num_steps = count_trainable_steps(loader.episode_lengths, self.action_horizon)
        splits = count_splits(self.episode_sampling_rate)
        rule = find_dealing_rule(self)
        if rule is None:
            message = "this GR00T deals steps into shards in a way of its own, which needs more memory"
            warn_fallback(f"{self.files.root}: {message}")
            super().shard_dataset()
            return
        try:
            index = ShardIndex.draw(num_steps, shard_size=self.shard_size, num_splits=splits, rng=self.rng, **rule)
        except TrainingDataError as error:
            raise TrainingDataError(f"{self.files.root}: {error}") from error
        self.sharded_episodes, self.shard_lengths = index, index.shard_lengths

    def set_processor(self, processor: BaseProcessor) -> None:
        """Take GR00T's processor from the mixture; one of the user's own type works step by step."""
        super().set_processor(processor)
        self.in_batches = installed_adapter().batch_steps(processor)
        if "mask" in self.modality_configs:
            warn_fallback(f"{self.files.root} has masks: GR00T's loader reads it, whole episodes")
        elif self.in_batches is None:
            kind = type(processor).__name__
            warn_fallback(f"{self.files.root}: {kind} is not GR00T's processor and takes steps alone")

    def get_shard(self, idx: int) -> list[dict[str, Any]]:
        """All steps of a shard, processed.

        Raises:
            TrainingDataError: something of an episode is missing or damaged; names dataset, episode, camera and file.
        """
        if "mask" in self.modality_configs:
            shard: list[dict[str, Any]] = super().get_shard(idx)
            return shard
        return [point for visit in group_visits(self.sharded_episodes[idx]) for point in self._points(visit)]

    @property
    def num_episodes(self) -> int:
        """Episodes, those too short for a step included."""
        return len(self.episode_loader.episode_lengths)

    def read_steps(self, visit: Visit) -> list[dict[str, Any]]:
        """Some steps of an episode, processed, in their order.

        Raises:
            TrainingDataError: as of `get_shard`.
        """
        return list(self._points(visit))

    def _points(self, visit: Visit) -> Iterator[dict[str, Any]]:
        meta = self.episode_loader.episodes_metadata[visit.episode]
        index = meta["episode_index"]
        try:
            rows = self._read_rows(index, int(meta["length"]))
            stocks = {camera: self._read_frames(rows, visit, camera) for camera in self._keys("video")}
            for steps in visit.splits:
                text_of = self._language(meta, rows)
                for start in range(0, len(steps), BATCH_STEPS):
                    yield from self._process(self._steps(rows, stocks, steps[start : start + BATCH_STEPS], text_of))
        except Exception as error:  # whatever library it comes from
            raise TrainingDataError(f"{self.files.root}, episode {index}: {describe_failure(error)}") from error

    def _keys(self, modality: str) -> list[str]:
        config = self.modality_configs.get(modality)
        keys = [] if config is None else list(config.modality_keys)
        return keys[:1] if modality == "language" else keys  # N1.7 reads the first of several texts

    def _read_rows(self, episode: int, length: int) -> StepRows:
        names = [
            self.files.joint_slice(part, key).column(part) for part in ("state", "action") for key in self._keys(part)
        ]
        names += [self.files.annotation_column(key) for key in self._keys("language") if key not in LANG_KEYS]
        columns = read_step_columns(self.files.rows_path(episode), names)
        num_rows = len(next(iter(columns.values())))
        return StepRows(episode, columns, num_rows, min(num_rows, length))

    def _rows(self, rows: StepRows, modality: str, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        deltas = self.modality_configs[modality].delta_indices
        return step_rows(steps, deltas, num_rows=rows.num_used, pad=self.allow_padding)

    def _read_frames(self, rows: StepRows, visit: Visit, camera: str) -> FrameStock:
        wanted = self._rows(rows, "video", visit.steps)
        path = self.files.video_path(rows.index, camera)
        try:
            frames = self.frames.read(path, np.unique(wanted), num_frames=rows.num_rows)
        except Exception as error:  # of our decoder, or of the reference's
            told = describe_failure(error)
            where = "" if str(path) in told else f", {path}"
            raise TrainingDataError(f"camera {camera}{where}: {told}") from error
        return FrameStock(frames, wanted)

    def _language(self, meta: dict[str, Any], rows: StepRows) -> Callable[[int], str]:
        """The text of a row; where an episode has several tasks one is drawn here, once a split as GR00T does."""
        (key,) = self._keys("language")
        if key in LANG_KEYS:
            texts = self.episode_loader.create_language_from_meta(meta, rows.num_rows, key)
            return lambda row: str(texts[row])
        column = rows.columns[self.files.annotation_column(key)]
        return lambda row: self.files.task(column[row].item())

    def _steps(
        self,
        rows: StepRows,
        stocks: Mapping[str, FrameStock],
        steps: NDArray[np.int64],
        text_of: Callable[[int], str],
    ) -> list[VLAStepData]:
        joints = {part: self._joints(rows, part, steps) for part in ("state", "action")}
        frame_rows = self._rows(rows, "video", steps).tolist()
        text_rows = self._rows(rows, "language", steps)[:, 0].tolist()
        return [
            VLAStepData(
                images={camera: [stock.take(row) for row in frame_rows[place]] for camera, stock in stocks.items()},
                states={key: values[place] for key, values in joints["state"].items()},
                actions={key: values[place] for key, values in joints["action"].items()},
                text=text_of(text_rows[place]),
                embodiment=self.embodiment_tag,
            )
            for place in range(len(steps))
        ]

    def _joints(self, rows: StepRows, part: str, steps: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Each joint group's values, (num_steps, num_deltas, D)."""
        taken = self._rows(rows, part, steps)
        groups = {}
        for key in self._keys(part):
            where = self.files.joint_slice(part, key)
            column = rows.columns[where.column(part)]
            values = column[:, None] if column.ndim == 1 else column[:, where.start : where.end]
            groups[key] = np.ascontiguousarray(values[taken], dtype=np.float32)
        return groups

    def _process(self, steps: list[VLAStepData]) -> list[dict[str, Any]]:
        if self.in_batches is not None:
            return self.in_batches(steps)
        assert self.processor is not None, "the mixture hands over its processor"
        return [self.processor([{"type": MessageType.EPISODE_STEP.value, "content": step}]) for step in steps]
