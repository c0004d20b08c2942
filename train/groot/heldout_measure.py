"""The held-out loss and open-loop error of the model that is being trained; training itself is not changed by it."""

import copy
import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gr00t.configs.base_config import Config
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import MessageType, VLAStepData
from numpy.typing import NDArray

from millrace.engine.dataset.modality_config import GrootConfig
from millrace.train.episodes import EpisodeReader, Observations
from millrace.train.groot.adapter import installed_adapter
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.groot.policy import BATCH_SIZE, policy_config
from millrace.train.groot.signatures import decode_as_trained, keep_accepted
from millrace.train.heldout import HeldOut, spread_evenly
from millrace.train.joint_ranges import Limits, make_joint_ranges
from millrace.train.open_loop import trace_episode
from millrace.train.run_identity import dataset_digest
from millrace.train.scores import EpisodeScore, pool_episodes
from millrace.train.shards import Visit
from millrace.train.training_dataset import TrainingDataError, TrainingDataset
from millrace.train.worker import Worker

# Samples of a pass: without gradients these need less memory than a training step.
PASS_SIZE = 16
SEED = 42
# One shard of everything: which steps are measured is decided here.
WHOLE = {"shard_size": 1 << 40, "episode_sampling_rate": 1.0}
READING_SETTINGS = ("video_backend", "seed", "allow_padding")

Samples = list[dict[str, Any]]


class HeldOutMeasure:
    """Measures the model that a trainer has; every worker calls it alike.

    Samples lie evenly over all held-out steps. Which ones they are, and their noise, depends neither on the training
    step nor on the number of workers.

    Args:
        worker: This process; its settings name the dataset.
        config: GR00T's.
        processor: GR00T's, with the statistics of the training data.

    Raises:
        TrainingDataError: the dataset lacks something, or no episode is as long as an action chunk.
    """

    def __init__(self, worker: Worker, config: Config, processor: Any) -> None:
        settings = next(part for part in worker.settings.parts if part.eval_dataset is not None)
        assert settings.eval_dataset is not None
        self._worker, self._path, self._tag = worker, settings.eval_dataset, EmbodimentTag(settings.tag)
        self._processor = _for_evaluation(processor)
        modalities = config.data.modality_configs[settings.tag]
        self._config = policy_config(modalities)
        with fixed_random_state():
            known = keep_accepted(ShardedSingleStepDataset, vars(config.data))
            reading = {name: known[name] for name in READING_SETTINGS if name in known}
            dataset = SparseShardedDataset(settings.groot_path(self._path), self._tag, modalities, **WHOLE, **reading)
            dataset.set_processor(self._processor)
            self._sizes, self._passes = self._read_passes(dataset)
        collator, in_batches = processor.collator, dataset.in_batches is not None
        self._collator = installed_adapter().wrap_collator(collator) if in_batches else collator
        files = TrainingDataset.open(self._path)
        self._reader = EpisodeReader(files, self._config, decode_as_trained)
        self._ranges = make_joint_ranges(files, _action_limits(processor, settings.tag))
        episodes = list(files.lengths)
        self._episodes = [episodes[place] for place in spread_evenly(len(episodes), settings.eval_episodes)]
        ranges = {group: known.ranges.tolist() for group, known in self._ranges.items()}
        chosen = (dataset_digest(self._path), self._sizes, self._episodes, settings.tag, SEED, ranges)
        self._key = hashlib.sha256(repr(chosen).encode()).hexdigest()[:16]

    def __call__(self, trainer: Any) -> HeldOut:
        """Measure the model as it is now."""
        began = time.monotonic()
        with _evaluation_mode(trainer.model), fixed_random_state(), torch.no_grad():
            parts = self._worker.gather((self._losses(trainer), self._scores(trainer)))
        losses = {number: loss for found, _ in parts for number, loss in found.items()}
        scores = {score.episode: score for _, found in parts for score in found}
        total = sum(losses[number] * size for number, size in enumerate(self._sizes))
        return HeldOut(
            key=self._key,
            loss=total / sum(self._sizes),
            num_samples=sum(self._sizes),
            seconds=time.monotonic() - began,
            **_open_loop(list(scores.values())),
        )

    def _own(self, count: int) -> range:
        """Which of so many tasks are this worker's; with ZeRO-3, where each pass needs all workers, all of them."""
        settings = self._worker.settings
        if settings.uses_deepspeed and settings.deepspeed_stage == 3:
            return range(count)
        return range(self._worker.rank, count, self._worker.num_workers)

    def _read_passes(self, dataset: SparseShardedDataset) -> tuple[list[int], dict[int, Samples]]:
        """The size of every pass, and the samples of this worker's."""
        lengths = [dataset.get_effective_episode_length(place) for place in range(dataset.num_episodes)]
        ends = np.cumsum(lengths)
        if not ends[-1]:
            raise TrainingDataError(f"{self._path}: no episode is as long as an action chunk")
        places = spread_evenly(int(ends[-1]), self._worker.settings.eval_samples)
        passes = [places[start : start + PASS_SIZE] for start in range(0, len(places), PASS_SIZE)]
        held = {number: _read_samples(dataset, passes[number], ends) for number in self._own(len(passes))}
        return list(map(len, passes)), held

    def _losses(self, trainer: Any) -> dict[int, float]:
        """The loss of each of this worker's passes."""
        losses = {}
        for number, samples in self._passes.items():
            torch.manual_seed(SEED + number)
            inputs = trainer._prepare_inputs(self._collator(samples))
            with trainer.compute_loss_context_manager():
                losses[number] = float(trainer.compute_loss(trainer.model, inputs))
        return losses

    def _scores(self, trainer: Any) -> list[EpisodeScore]:
        policy = TrainedPolicy(trainer, self._processor, self._tag, self._config)
        horizon = self._config.horizon or 0
        own = [self._episodes[place] for place in self._own(len(self._episodes))]
        return [trace_episode(policy, self._reader, episode, horizon=horizon).score(self._ranges) for episode in own]


class TrainedPolicy:
    """The model that is being trained as a `Policy`, in the precision of training."""

    name = "the model"
    batch_size = BATCH_SIZE
    read_frames = staticmethod(decode_as_trained)

    def __init__(self, trainer: Any, processor: Any, tag: EmbodimentTag, config: GrootConfig) -> None:
        self._trainer, self._processor, self._tag, self.config = trainer, processor, tag, config

    def act(self, observations: Observations, *, seed: int) -> Mapping[str, NDArray[np.float32]]:
        """Action chunks, in the units of the data."""
        torch.manual_seed(seed)
        samples = [self._process(observations, place) for place in range(len(observations.texts))]
        inputs = self._trainer._prepare_inputs(self._processor.collator(samples))
        with self._trainer.accelerator.autocast():
            predicted = self._trainer.model.get_action(**inputs)["action_pred"]
        states = dict(observations.states)
        actions = self._processor.decode_action(predicted.float().cpu().numpy(), self._tag, states)
        return {group: np.asarray(values, dtype=np.float32) for group, values in actions.items()}

    def _process(self, observations: Observations, place: int) -> dict[str, Any]:
        step = VLAStepData(
            images={camera: list(images[place]) for camera, images in observations.images.items()},
            states={group: values[place] for group, values in observations.states.items()},
            actions={},
            text=observations.texts[place],
            embodiment=self._tag,
        )
        sample: dict[str, Any] = self._processor([{"type": MessageType.EPISODE_STEP.value, "content": step}])
        return sample


def _for_evaluation(processor: Any) -> Any:
    """A processor that does not augment; the one that trains shares nothing that this changes."""
    made = copy.copy(processor)
    made.state_action_processor = copy.copy(processor.state_action_processor)
    made.eval()
    return made


def _read_samples(dataset: SparseShardedDataset, places: Sequence[int], ends: NDArray[np.int64]) -> Samples:
    """The samples at some places in the order of all steps, episode after episode."""
    episodes = np.searchsorted(ends, places, side="right")
    begins = np.concatenate([[0], ends])[episodes]
    steps = np.asarray(places, dtype=np.int64) - begins
    visits = [Visit(int(episode), (steps[episodes == episode],)) for episode in np.unique(episodes)]
    return [sample for visit in visits for sample in dataset.read_steps(visit)]


def _open_loop(scores: list[EpisodeScore]) -> dict[str, Any]:
    if not scores:
        return {}
    pooled = pool_episodes("", None, scores)
    return {
        "mse": pooled.total.mse,
        "mae": pooled.total.mae,
        "against_hold": pooled.total.against_hold,
        "group_mae": {name: score.mae for name, score in pooled.groups.items()},
        "episodes": tuple(episode.total for episode in pooled.episodes),
    }


def _action_limits(processor: Any, tag: str) -> Limits:
    """Smallest and largest value of each joint in the statistics that the run's checkpoints will hold."""
    groups = processor.state_action_processor.statistics[tag]["action"]
    return {
        name: (np.asarray(found["min"], dtype=np.float64), np.asarray(found["max"], dtype=np.float64))
        for name, found in groups.items()
    }


@contextmanager
def _evaluation_mode(model: Any) -> Iterator[None]:
    """No dropout: GR00T's head drops states by a setting of its own, which eval() does not reach."""
    head: Any = getattr(model, "action_head", None)
    was_training, dropout = model.training, getattr(head, "state_dropout_prob", 0.0)
    model.eval()
    if dropout:
        head.state_dropout_prob = 0.0
    try:
        yield
    finally:
        model.train(was_training)
        if dropout:
            head.state_dropout_prob = dropout


@contextmanager
def fixed_random_state() -> Iterator[None]:
    """Draw the same numbers each time, and leave those of training as they were."""
    python, numpy, devices = random.getstate(), np.random.get_state(), []
    if torch.cuda.is_available():
        devices = [torch.cuda.current_device()]
    random.seed(SEED)
    np.random.seed(SEED)
    with torch.random.fork_rng(devices):
        torch.manual_seed(SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
