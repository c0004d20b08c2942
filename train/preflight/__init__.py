"""Check all of a run before Ray starts: every problem at once, each with its remedy; and the run's plan.

The data is judged by millrace.engine.validate, the rest by the checks of millrace.train.preflight.run_checks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millrace.engine.dataset.problems import Judgement, Problem
from millrace.engine.validate import Progress
from millrace.engine.validate.training import model_limit_problems, sharding_problems
from millrace.train.errors import BatchError, ConfigError
from millrace.train.groot.base_model import BaseCheckpoint, read_base
from millrace.train.groot.components import list_components
from millrace.train.preflight.data import (
    TrainedDataset,
    aspect_problems,
    judge_data,
    kept_statistics_problems,
    open_dataset,
)
from millrace.train.preflight.earlier_run import earlier_run_problems
from millrace.train.preflight.full_check import FullCheck, keep_full_checks, read_full_checks
from millrace.train.preflight.machine import Machine, probe_machine
from millrace.train.preflight.needs import Needs, estimate_needs, need_problems
from millrace.train.preflight.release_flags import release_flag_problems
from millrace.train.preflight.resources import ModelSize
from millrace.train.preflight.run_checks import CHECKS, make_run_problem
from millrace.train.preflight.run_plan import Plan, plan_run
from millrace.train.preflight.surroundings import (
    gpu_problems,
    list_packages,
    model_problems,
    package_problems,
    setting_problems,
)
from millrace.train.preflight.tag_keys import judge_tag_keys
from millrace.train.preflight.trained_robot import TrainedConfig, agreement_problems, read_trained_config, tag_problems
from millrace.train.settings import FinetuneSettings

__all__ = [
    "CHECKS",
    "Machine",
    "Plan",
    "Preflight",
    "keep_full_checks",
    "preflight",
    "preflight_without_data",
    "probe_machine",
]


@dataclass(frozen=True)
class Preflight(Judgement):
    """All that is wrong with a run; with errors it must not begin.

    plan: None where the problems leave nothing to plan with. full_checks: of the datasets without errors, to be kept.
    """

    plan: Plan | None
    full_checks: Mapping[str, FullCheck]


def preflight(
    settings: FinetuneSettings,
    *,
    machine: Machine | None = None,
    verify: bool = False,
    on_progress: Progress = lambda stage, num_done, num_all: None,
) -> Preflight:
    """Check a run; what is wrong becomes a Problem, nothing is raised, and nothing is written.

    Args:
        settings: Of the run.
        machine: What it runs on; None looks at this machine.
        verify: Check all of the datasets, also those that have not changed since a start of this run did so.
        on_progress: As millrace.engine.validate's: told how far the datasets are read.
    """
    start = _check_start(settings, machine)
    if any(found.code == "other-run" for found in start.problems):
        return Preflight(start.problems, None, {})  # before hours of reading
    base, found, datasets = start.base, list(start.problems), []
    decoder = settings.video_backend if settings.stock_loader else None
    earlier = {} if verify else read_full_checks(settings.run_folder)
    installed, judged = start.machine.installed, {}
    is_viewed = installed is not None and installed.has_fingerprints
    for part, config in zip(settings.parts, start.configs, strict=True):
        found += agreement_problems(part, config)
        by_path = {path: open_dataset(path, config, start.machine) for path in part.all_datasets}
        for path, dataset in by_path.items():
            before = earlier.get(str(path))
            data = judge_data(
                path, config, video_backend=decoder, is_viewed=is_viewed, earlier=before, on_progress=on_progress
            )
            judged[str(path)] = data
            found += data.problems if dataset is None else judge_tag_keys(part, dataset, data.problems)
        opened = [dataset for path in part.datasets if (dataset := by_path[path]) is not None]
        for dataset in opened:
            found += _fit_problems(part, dataset, config=config, base=base)
        datasets += opened
    needs = start.needs(settings, datasets)
    found += need_problems(settings, needs, start.machine)
    full_checks = {path: data.check for path, data in judged.items() if data.check is not None}
    return Preflight(tuple(found), _plan(settings, datasets, base=base, needs=needs), full_checks)


def preflight_without_data(settings: FinetuneSettings, *, machine: Machine | None = None) -> Judgement:
    """Check what needs no dataset, for a run whose datasets are still to be made; nothing is raised or written.

    Base model, tag, settings, packages, GPUs, disk, and the run that the output folder holds.
    """
    start = _check_start(settings, machine)
    given = settings.modality_config_path is not None
    problems = [found for found in start.problems if given or found.code != "tag-unregistered"]
    return Judgement((*problems, *need_problems(settings, start.needs(settings, []), start.machine)))


@dataclass(frozen=True)
class _Start:
    """What is known of a run without its datasets, but for their modality configs, and what is wrong with it.

    configs: one for each of its parts.
    """

    base: BaseCheckpoint | None
    configs: tuple[TrainedConfig, ...]
    machine: Machine
    problems: tuple[Problem, ...]

    def needs(self, settings: FinetuneSettings, datasets: list[TrainedDataset]) -> Needs:
        parts = None if self.base is None else list_components(settings, self.base)
        model = None if parts is None else ModelSize.of(parts)
        return estimate_needs(settings, datasets, base=self.base, model=model)


def _check_start(settings: FinetuneSettings, machine: Machine | None) -> _Start:
    base, found = _read_base(settings)
    here = machine or probe_machine(
        settings.run_folder,
        gr00t=settings.gr00t,
        backbone=None if base is None or settings.address else base.backbone,
        packages=list_packages(settings, base),
        with_gpus=not settings.cpu and not settings.address,
    )
    configs = []
    for part in settings.parts:
        config, unread = read_trained_config(part)
        found += [*tag_problems(part, base, here.installed), *unread]
        configs.append(config)
    found += earlier_run_problems(settings, configs)
    found += [*setting_problems(settings), *release_flag_problems(settings, here.installed)]
    found += [*package_problems(settings, here), *gpu_problems(settings, here)]
    found += model_problems(settings, base, here)
    return _Start(base, tuple(configs), here, tuple(found))


def _read_base(settings: FinetuneSettings) -> tuple[BaseCheckpoint | None, list[Problem]]:
    try:
        return read_base(settings.base_model_path, settings.release), []
    except ConfigError as error:
        return None, [make_run_problem("base-model", str(error), released=settings.release.base_model)]


def _fit_problems(
    settings: FinetuneSettings, dataset: TrainedDataset, *, config: TrainedConfig, base: BaseCheckpoint | None
) -> Iterator[Problem]:
    """Whether the dataset fits the base model and makes shards; if no episode is long enough, judge_data tells."""
    if base is not None:
        if dataset.config is not None:
            yield from model_limit_problems(
                dataset.metadata, base.limits, config.source, horizon=dataset.config.horizon, checks=CHECKS
            )
        yield from kept_statistics_problems(settings, dataset, base)
        yield from aspect_problems(settings, dataset, base)
    if dataset.steps.any():
        yield from sharding_problems(dataset.path, dataset.cut(settings), CHECKS)


def _plan(
    settings: FinetuneSettings, datasets: list[TrainedDataset], *, base: BaseCheckpoint | None, needs: Needs
) -> Plan | None:
    trained = [dataset for dataset in datasets if dataset.steps.any()]
    if base is None or not trained:
        return None
    try:
        return plan_run(settings, trained, base=base, needs=needs)
    except BatchError:
        return None
