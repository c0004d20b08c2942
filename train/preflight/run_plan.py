"""The plan of a run, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.engine.dataset.sharding import Sharding
from millrace.train.batch import BatchPlan
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.groot.components import Component, list_components
from millrace.train.preflight.data import TrainedDataset
from millrace.train.preflight.needs import Needs
from millrace.train.preflight.resources import ModelSize, training_seconds
from millrace.train.settings import FinetuneSettings


@dataclass(frozen=True)
class DatasetPlan:
    """One dataset's share of a run. share: of the samples."""

    path: Path
    num_episodes: int
    num_frames: int
    sharding: Sharding
    share: float

    def passes(self, num_samples: int) -> float:
        """How often each step is seen on average, in a run of so many samples."""
        return num_samples * self.share / max(self.sharding.num_steps, 1)


@dataclass(frozen=True)
class Plan:
    """A run.

    Args:
        base: Name of the base model, and the tag that is trained.
        components: Of the model; None where its sizes are unknown.
        batch: How the global batch is divided; with --batch auto the fewest passes that a trial may choose.
        is_batch_tried: Whether it is with --batch auto.
        datasets: In their order.
        needs: Memory and disk.
        max_steps: Optimizer steps.
        on_gpus: Whether GPUs train.
    """

    base: str
    components: tuple[Component, ...] | None
    batch: BatchPlan
    datasets: tuple[DatasetPlan, ...]
    needs: Needs
    max_steps: int
    on_gpus: bool
    is_batch_tried: bool = False

    @property
    def model(self) -> ModelSize | None:
        """The sum of its components."""
        return None if self.components is None else ModelSize.of(self.components)

    @property
    def num_samples(self) -> int:
        """Samples drawn in the whole run."""
        return self.max_steps * self.batch.global_size

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps in which as many samples are drawn as the datasets have; GR00T's own epochs are longer."""
        return sum(dataset.sharding.num_steps for dataset in self.datasets) / self.batch.global_size

    @property
    def seconds(self) -> float:
        """Estimated training time on GPUs such as the guide's, when data is no bottleneck."""
        return training_seconds(self.num_samples, num_gpus=self.batch.num_workers)


def plan_run(
    settings: FinetuneSettings, datasets: Sequence[TrainedDataset], *, base: BaseCheckpoint, needs: Needs
) -> Plan:
    """What a run would do.

    Raises:
        BatchError: the global batch cannot be divided.
    """
    return Plan(
        base=base.name,
        components=list_components(settings, base),
        batch=BatchPlan.of(settings),
        datasets=_dataset_plans(settings, datasets),
        needs=needs,
        max_steps=settings.max_steps,
        on_gpus=not settings.cpu,
        is_batch_tried=settings.batch == "auto",
    )


def _dataset_plans(settings: FinetuneSettings, datasets: Sequence[TrainedDataset]) -> tuple[DatasetPlan, ...]:
    """Shares by --mix or --weights; without it by the datasets' numbers of shards (gr00t/data/dataset/factory.py)."""
    shardings = [dataset.cut(settings) for dataset in datasets]
    given = dict(zip(settings.datasets, settings.shares, strict=False))
    weights = [
        given.get(dataset.path, float(sharding.num_shards))
        for dataset, sharding in zip(datasets, shardings, strict=True)
    ]
    return tuple(
        DatasetPlan(
            path=dataset.path,
            num_episodes=dataset.metadata.num_episodes,
            num_frames=dataset.metadata.num_frames,
            sharding=sharding,
            share=weight / sum(weights),
        )
        for dataset, sharding, weight in zip(datasets, shardings, weights, strict=True)
    )
