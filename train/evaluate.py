"""Open-loop evaluation: episodes on a pool of Ray actors with a policy each, or in this process."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util import ActorPool, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from millrace.embodiments import MillraceError, Remedy
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.execution.waiting import report_waiting
from millrace.train.checkpoint import Checkpoint, read_training_digests
from millrace.train.environment import WorkerEnvironment
from millrace.train.episodes import EpisodeReader, check_agreement
from millrace.train.errors import EvaluationError, SettingsError
from millrace.train.evaluate_settings import Contender, EvaluateSettings
from millrace.train.failures import describe_failure
from millrace.train.installed import choose_release
from millrace.train.joint_ranges import read_joint_ranges
from millrace.train.open_loop import Policy, Trace, trace_episode
from millrace.train.run_identity import dataset_digest
from millrace.train.scores import EpisodeScore, Evaluation, best_score, find_equals, pool_episodes
from millrace.train.training_dataset import TrainingDataset
from millrace.train.worker_session import worker_session

# How a worker gets a policy; a function that its process can import.
OpenPolicy = Callable[[EvaluateSettings, Contender], Policy]
# Told the contender, an episode's trace, and how many of how many are done.
OnTrace = Callable[[Contender, Trace, int, int], None]


def read_contenders(settings: EvaluateSettings) -> tuple[list[Contender], list[str]]:
    """Read what is to be evaluated, checked by small files before anything is loaded; and notes for the user.

    Raises:
        TrainError: a checkpoint is none, does not fit the dataset, or has another horizon than another.
        UnknownName: it has not learnt the tag, or the dataset lacks a joint group or camera.
    """
    if settings.server is not None:
        return [Contender(str(settings.server), None)], []
    release = choose_release(settings.gr00t)
    dataset = TrainingDataset.open(settings.dataset)
    digest = dataset_digest(settings.dataset)
    found: list[Contender] = []
    notes: list[str] = []
    horizons: dict[int, str] = {}
    # A run and a checkpoint of it may be named: twice, its episodes would count twice.
    for checkpoint in map(Checkpoint.open, dict.fromkeys(settings.checkpoints)):
        tag = checkpoint.choose_tag(settings.embodiment_tag, release)
        config = checkpoint.configs[tag]
        check_agreement(dataset, config)
        _check_widths(dataset, checkpoint, tag)
        horizons.setdefault(require_horizon(settings, config, checkpoint.name), checkpoint.name)
        notes += checkpoint.notes(tag, release)
        if digest in read_training_digests(checkpoint.name):
            notes.append(f"{checkpoint.name} was trained on {settings.dataset}: this tells how well it remembers")
        found.append(Contender(checkpoint.name, tag))
    if len(horizons) > 1:
        told = ", ".join(f"{horizon} of {name}" for horizon, name in horizons.items())
        advice = Remedy(f"To compare alike pass --horizon {min(horizons)}")
        raise SettingsError(f"horizons differ: {told}. ", advice)
    return found, notes


def evaluate(
    settings: EvaluateSettings,
    found: Iterable[Contender],
    open_policy: OpenPolicy,
    *,
    on_trace: OnTrace = lambda contender, trace, num_done, num_all: None,
    on_waiting: Callable[[str], None] = lambda what: None,
) -> Evaluation:
    """Score contenders on a dataset's episodes; the same whatever the number of workers.

    Args:
        settings: With absolute paths.
        found: What `read_contenders` returned.
        open_policy: Called by each worker for each contender in turn.
        on_trace: Told each episode as it is done, in no particular order.
        on_waiting: Told what of a cluster is waited for, such as "2 GPUs: 0 of the cluster's 8 are free".

    Raises:
        GpuMissing: there are fewer GPUs than --num-gpus.
        EvaluationError: a policy or a worker fails.
        TrainingDataError: an episode is damaged.
    """
    ordered, dataset = list(found), TrainingDataset.open(settings.dataset)
    tasks = list(product(ordered, settings.select_episodes(dataset.lengths)))
    measure = ordered[0]
    ranges = read_joint_ranges(dataset, measure.name, measure.tag)
    scores: dict[Contender, list[EpisodeScore]] = {contender: [] for contender in ordered}
    run = _run_here if settings.in_process else partial(_run_on_ray, on_waiting=on_waiting)
    horizons = set()
    for num_done, (contender, trace) in enumerate(run(settings, tasks, open_policy), start=1):
        scores[contender].append(trace.score(ranges))
        horizons.add(trace.horizon)
        on_trace(contender, trace, num_done, len(tasks))
    pooled = tuple(pool_episodes(contender.name, contender.tag, episodes) for contender, episodes in scores.items())
    best = best_score(pooled)
    return Evaluation(
        dataset=str(settings.dataset),
        horizon=horizons.pop(),  # `read_contenders` has seen to it that there is one
        best=best.checkpoint,
        no_difference=find_equals(best, pooled),
        ranges_of=_name_ranges(settings, measure) if ranges else None,
        checkpoints=pooled,
    )


def _name_ranges(settings: EvaluateSettings, measure: Contender) -> str:
    """Whose statistics `read_joint_ranges` takes."""
    return str(settings.dataset) if measure.tag is None else measure.name


def require_horizon(settings: EvaluateSettings, config: GrootConfig, name: str) -> int:
    """Steps used of each chunk; at most the config's.

    Raises:
        SettingsError: there are not as many.
    """
    trained = config.horizon or 0
    if settings.horizon is not None and settings.horizon > trained:
        raise SettingsError(f"--horizon {settings.horizon}: {name} predicts {trained} steps")
    return settings.horizon or trained


Task = tuple[Contender, int]
Done = tuple[Contender, Trace]


class Evaluator:
    """Holds one policy at a time, and lets it predict episodes."""

    def __init__(self, settings: EvaluateSettings, open_policy: OpenPolicy, environment: WorkerEnvironment) -> None:
        environment.set_secrets()
        self._settings, self._open_policy = settings, open_policy
        self._dataset = TrainingDataset.open(settings.dataset)
        self._held: tuple[Contender, Policy, EpisodeReader] | None = None

    def run(self, task: Task) -> Done:
        """Predict one episode."""
        contender, episode = task
        if self._held is None or self._held[0] != contender:
            self._held = None  # else two models would be held while the second is loaded
            policy = self._open_policy(self._settings, contender)
            self._held = contender, policy, EpisodeReader(self._dataset, policy.config, policy.read_frames)
        _, policy, reader = self._held
        horizon = require_horizon(self._settings, policy.config, contender.name)
        return contender, trace_episode(policy, reader, episode, horizon=horizon)


def _run_here(settings: EvaluateSettings, tasks: list[Task], open_policy: OpenPolicy) -> Iterator[Done]:
    evaluator = Evaluator(settings, open_policy, WorkerEnvironment())
    yield from map(evaluator.run, tasks)


def _run_on_ray(
    settings: EvaluateSettings, tasks: list[Task], open_policy: OpenPolicy, *, on_waiting: Callable[[str], None]
) -> Iterator[Done]:
    session = worker_session(settings.num_gpus, address=settings.address, use_gpu=not settings.cpu)
    with session, report_waiting(on_waiting):
        num_actors = min(settings.num_gpus, len(tasks))
        environment = WorkerEnvironment.take(os.environ, Path.home(), address=settings.address)
        shown = {"env_vars": dict(environment.shown)}
        needed = {"CPU": 1.0} if settings.cpu else {"CPU": 1.0, "GPU": 1.0}
        options = {"num_cpus": 1, "num_gpus": needed.get("GPU", 0), "runtime_env": shown}
        try:
            with _places(needed, num_actors) as places:
                actors = [ray.remote(Evaluator).options(**options, scheduling_strategy=place) for place in places]
                pool = ActorPool([placed.remote(settings, open_policy, environment) for placed in actors])
                yield from pool.map_unordered(lambda worker, task: worker.run.remote(task), tasks)
        except RayTaskError as error:
            raise _told(error) from error
        except RayActorError as error:
            first = str(error).strip().splitlines()[0]
            advice = Remedy("Out of memory? Try fewer, by --num-gpus")
            raise EvaluationError(f"a worker died: {first}. ", advice) from error


@contextmanager
def _places(needed: Mapping[str, float], count: int) -> Iterator[list[PlacementGroupSchedulingStrategy]]:
    """Places for actors, a group for each: one starts as soon as it has its own, and who waits for one is known."""
    groups = [placement_group([dict(needed)]) for _ in range(count)]
    try:
        yield [PlacementGroupSchedulingStrategy(group) for group in groups]
    finally:
        with suppress(RayError):  # a Ray that is gone has none
            for group in groups:
                remove_placement_group(group)


def _told(error: RayTaskError) -> MillraceError:
    """What a worker said, without Ray's account of where."""
    cause = error.cause
    if isinstance(cause, MillraceError):
        return cause
    return EvaluationError(f"a worker failed, {describe_failure(cause)}")


def _check_widths(dataset: TrainingDataset, checkpoint: Checkpoint, tag: str) -> None:
    for part, groups in checkpoint.widths[tag].items():
        for group in checkpoint.configs[tag].keys(part) if part in ("state", "action") else ():
            width, there = groups.get(group), dataset.joint_slice(part, group).width
            if width != there:
                raise EvaluationError(
                    f"{checkpoint.name}: {part} group {group} has {width} values in its statistics, "
                    f"{there} in {dataset.root}"
                )
