"""Where a sample's CPU time goes: shards and batches made in one process, its parts told apart."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import cycle
from time import process_time
from typing import Any

from benchmarks.input_runs import BATCH_SIZE, Feed, build, quietly

PARTS = (
    "rows",
    "decode",
    "state and action",
    "augmentation",
    "chat template",
    "patch size",
    "batches",
    "finish",
    "other",
)


class Stopwatch:
    """CPU seconds of all threads by part; what a part spends in another counts for that one alone."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside = ["other"]
        self._since = process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens within as that part."""
        self._turn()
        self._inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def _turn(self) -> None:
        now = process_time()
        self.seconds[self._inside[-1]] += now - self._since
        self._since = now

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Time a function of a module or class wherever it is called, for the rest of the process."""
        function: Callable[..., Any] = getattr(owner, name)

        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(part):
                return function(*arguments, **options)

        setattr(owner, name, timed)


def run_parts(feed: Feed, num_samples: int) -> dict[str, float]:
    """CPU ms a sample by part, over whole shards, after a first one that is not counted."""
    import torch

    from millrace.train.image_batch import Finisher, ImageBatch

    shards, _, collator = build(feed)
    finisher = Finisher(torch.device("cpu"))
    torch.set_num_threads(1)  # as in a worker of the DataLoader
    watch = Stopwatch()
    (_watch_ours if feed.loader == "millrace" else _watch_gr00ts)(watch, type(shards.processor))
    if hasattr(collator.processor, "process_vision_info"):
        watch.watch(type(collator.processor), "process_vision_info", "patch size")
    num_taken = -1
    for number in cycle(range(len(shards))):
        if num_taken >= num_samples:
            return {part: seconds / num_taken * 1000 for part, seconds in watch.seconds.items()}
        with quietly():
            samples = shards.get_shard(number)
            for start in range(0, len(samples), BATCH_SIZE):
                with watch.part("batches"):
                    images = collator(samples[start : start + BATCH_SIZE])["inputs"]["pixel_values"]
                with watch.part("finish"):
                    if isinstance(images, ImageBatch):
                        finisher(images)
        if num_taken < 0:
            num_taken = 0
            watch.seconds = dict.fromkeys(PARTS, 0.0)
        else:
            num_taken += len(samples)
    raise AssertionError("there are shards")


def _watch_gr00ts(watch: Stopwatch, processor: type) -> None:
    from gr00t.data.dataset import lerobot_episode_loader, sharded_single_step_dataset
    from gr00t.data.state_action.state_action_processor import StateActionProcessor

    watch.watch(lerobot_episode_loader, "get_frames_by_indices", "decode")
    watch.watch(lerobot_episode_loader.LeRobotEpisodeLoader, "_load_parquet_data", "rows")
    watch.watch(sharded_single_step_dataset, "extract_step_data", "rows")
    watch.watch(StateActionProcessor, "apply", "state and action")
    watch.watch(sys.modules[processor.__module__], "apply_with_replay", "augmentation")
    watch.watch(processor, "_apply_vlm_processing", "chat template")


def _watch_ours(watch: Stopwatch, processor: type) -> None:
    from millrace.train.groot import loader
    from millrace.train.groot.augmentation import Augmentation
    from millrace.train.groot.batch_processor import SharedBatchProcessor
    from millrace.train.shards import FrameReader

    watch.watch(FrameReader, "read", "decode")
    watch.watch(loader, "read_step_columns", "rows")
    watch.watch(loader.SparseShardedDataset, "_steps", "rows")
    watch.watch(SharedBatchProcessor, "_states", "state and action")
    watch.watch(SharedBatchProcessor, "_actions", "state and action")
    watch.watch(Augmentation, "__call__", "augmentation")
    watch.watch(SharedBatchProcessor, "_content", "chat template")
