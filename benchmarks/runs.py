"""Whole conversions, each in a process of its own: rows, statistics, digests, probing and meta/ included."""

import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time, time
from typing import TypeVar

from benchmarks.floor import Floor, episode_floor, mean_floor, whole_clips
from benchmarks.lengthen import lengthened
from benchmarks.measure import Cost, descendants_cpu_seconds, measure, worker_peaks_mb
from millrace.engine.convert import Summary, Workers, plan_conversion, run_plan
from millrace.engine.dataset.record import EpisodeRecord, EpisodeResult
from millrace.engine.execution.ray_data import ray_data_session
from millrace.engine.planning.plan import ConversionPlan, Job
from millrace.engine.planning.recipe import Recipe
from millrace.engine.run import Watch
from millrace.engine.sources import Clip

Result = TypeVar("Result")

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/aloha"
EXAMPLE_MAP = "aloha_to_gr1"
# As many as Ray converts by default: what is done once for a dataset weighs the same.
NUM_LOCAL_EPISODES = 64
# Of the times that the episodes are gone through, those after which the floor is measured.
FLOOR_EVERY = 4


@dataclass(frozen=True)
class Run:
    """A whole conversion.

    rate: episodes a second of its steady part. first_record_seconds: with workers, from the launch of the
    process on. driver_cores: cores that this process and Ray kept busy beside the workers, in the steady
    part. peak_mb: of the largest worker. floor: of the same episodes, measured between them. None where
    they were not measured.
    """

    cost: Cost
    rate: float
    first_record_seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    driver_cores: float | None = None
    peak_mb: float | None = None
    floor: Floor | None = None


def repeated(plan: ConversionPlan, num_episodes: int) -> ConversionPlan:
    """The plan with its episodes over and over, as of a recipe that lists its sources again each time."""
    num_bindings = len(plan.job.bindings)
    num_rounds = -(-num_episodes // len(plan.episodes))
    episodes, first = [], 0
    for index, episode in enumerate(islice(cycle(plan.episodes), num_episodes)):
        binding = episode.binding + index // len(plan.episodes) * num_bindings
        episodes.append(replace(episode, index=index, first_index=first, binding=binding))
        first += episode.num_frames
    recipe = plan.recipe.model_copy(update={"sources": plan.recipe.sources * num_rounds})
    job = replace(plan.job, bindings=plan.job.bindings * num_rounds)
    return replace(plan, recipe=recipe, job=job, episodes=tuple(episodes))


def run_local(plan: ConversionPlan, *, with_floor: bool = False) -> Run:
    """This plan's episodes, all equally often, in one process without Ray; with_floor: see `whole_clips`."""
    return in_fresh_process(_run_local, plan, with_floor=with_floor)


def run_workers(plan: ConversionPlan, workers: Workers) -> Run:
    """Worker processes, with Ray or without; of a cluster neither CPU nor memory is seen from here."""
    return in_fresh_process(_run_workers, plan, workers, launched=time())


def rate_of_processes(plan: ConversionPlan, num_processes: int) -> float:
    """Episodes a second of so many processes at once that know nothing of each other: what the machine can do."""
    with ThreadPoolExecutor(num_processes) as pool:
        return sum(run.rate for run in pool.map(run_local, [plan] * num_processes))


def bare_ray_seconds(num_workers: int) -> float:
    """Seconds from the launch of a process to the first row of a Ray Data pipeline that does nothing."""
    return in_fresh_process(_run_bare_ray, num_workers, launched=time())


def bare_pool_seconds(num_workers: int) -> float:
    """Seconds from the launch of a process to the first answer of a pool of processes that import PyAV and pyarrow."""
    return in_fresh_process(_run_bare_pool, num_workers, launched=time())


def worker_peak_mb(num_frames: int) -> float:
    """Peak memory of a Ray worker that converts ALOHA episodes of that many frames."""
    plan = plan_conversion(Recipe.single(EXAMPLE, map=EXAMPLE_MAP, task="Benchmark.", task_all=True))
    with tempfile.TemporaryDirectory() as folder:
        long = lengthened(plan, num_frames, Path(folder))
        peak = run_workers(repeated(long, 4), Workers(1, executor="ray")).peak_mb
    assert peak is not None, "an embedded Ray's workers descend from the run"
    return peak


def steady_rate(results: list[tuple[float, int]], *, num_workers: int) -> float:
    """Episodes of average length a second, while all workers are at work.

    The first two results of each worker are left out, as late imports fall into them, and those that
    come once a worker has nothing left to do.

    Args:
        results: (second it came, frames of the episode), in order of arrival; at least 3 * num_workers.
        num_workers: Workers, W.
    """
    first, last = 2 * num_workers - 1, len(results) - num_workers
    assert first < last, f"{len(results)} results are too few for {num_workers} workers"
    num_frames = sum(frames for _, frames in results[first + 1 : last + 1])
    average = sum(frames for _, frames in results) / len(results)
    return num_frames / average / (results[last][0] - results[first][0])


def less(cost: Cost, beside: list[Cost], *, num_episodes: int) -> Cost:
    """An episode's cost without what was done beside the episodes."""
    assert cost.cpu is not None
    cpu, wall = sum(part.cpu or 0.0 for part in beside), sum(part.wall for part in beside)
    return Cost(cost.cpu - cpu / num_episodes, cost.wall - wall / num_episodes)


def in_fresh_process(work: Callable[..., Result], *arguments: object, **settings: object) -> Result:
    """Imports, codecs and Ray start as they do for a user, in memory that nothing has used before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **settings).result()


def _run_local(few: ConversionPlan, *, with_floor: bool) -> Run:
    _convert(few, Workers(local=True), lambda _: None)  # imports and first use of each codec
    num_repetitions = -(-NUM_LOCAL_EPISODES // len(few.episodes))
    plan = repeated(few, num_repetitions * len(few.episodes))
    clips = whole_clips(plan) if with_floor else None
    results: list[tuple[float, int]] = []
    seconds: Counter[str] = Counter()
    floors: list[Floor] = []
    beside: list[Cost] = []

    def on_result(result: EpisodeResult) -> None:
        assert isinstance(result, EpisodeRecord), result
        results.append((time() - sum(cost.wall for cost in beside), plan.episodes[result.index].num_frames))
        seconds.update(result.seconds)
        if clips is not None and result.index // len(few.episodes) % FLOOR_EVERY == 0:
            beside.append(measure(lambda: floors.append(_floor(clips[result.index], plan.job)), num_episodes=1))

    num_episodes = len(plan.episodes)
    cost = measure(lambda: _convert(plan, Workers(local=True), on_result), num_episodes=num_episodes)
    return Run(
        less(cost, beside, num_episodes=num_episodes),
        rate=steady_rate(results, num_workers=1),
        stage_seconds={name: total / num_episodes for name, total in seconds.items()},
        floor=mean_floor(floors) if floors else None,
    )


def _floor(clips: list[Clip], job: Job) -> Floor:
    assert len(set(job.sizes.values())) == 1, "the floor is of cameras of one size"
    return episode_floor(clips, job.video, crop=job.crop)


def _run_workers(plan: ConversionPlan, workers: Workers, *, launched: float) -> Run:
    assert workers.num is not None, "rates are held against so many processes"
    results: list[tuple[float, int]] = []
    cpu: list[float] = []
    beside: list[tuple[float, float]] = []
    peaks: list[float] = []
    num_episodes = len(plan.episodes)

    def on_result(result: EpisodeResult) -> None:
        results.append((time(), plan.episodes[result.index].num_frames))
        if len(results) in (2 * workers.num, num_episodes - workers.num) and workers.address is None:
            beside.append((time(), process_time() + descendants_cpu_seconds(workers=False)))
        if len(results) == num_episodes and workers.address is None:
            # Workers end with the run, and would then count as this one's children as well.
            cpu.append(descendants_cpu_seconds())
            peaks.extend(worker_peaks_mb())

    started, own = perf_counter(), process_time()
    _convert(plan, workers, on_result)
    wall, own = perf_counter() - started, process_time() - own
    return Run(
        Cost((own + cpu[0]) / num_episodes if cpu else None, wall / num_episodes),
        rate=steady_rate(results, num_workers=workers.num),
        first_record_seconds=results[0][0] - launched,
        driver_cores=_slope(beside) if beside else None,
        peak_mb=max(peaks, default=None),
    )


class _Idle:
    """An actor without work."""

    def __call__(self, row: dict[str, int]) -> dict[str, int]:
        return row


def _run_bare_ray(num_workers: int, *, launched: float) -> float:
    with ray_data_session(num_workers, None) as data:
        pool = data.ActorPoolStrategy(size=num_workers)
        rows = data.from_items([{"row": row} for row in range(num_workers)], override_num_blocks=num_workers)
        next(iter(rows.map(_Idle, compute=pool, num_cpus=1).iter_rows()))
        return time() - launched


def _run_bare_pool(num_workers: int, *, launched: float) -> float:
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=_import_libraries) as pool:
        pool.submit(_import_libraries).result()
        return time() - launched


def _import_libraries() -> None:
    import_module("av")
    import_module("pyarrow")


def _slope(points: list[tuple[float, float]]) -> float:
    """CPU seconds in each second between the first point and the last."""
    (start, before), (stop, after) = points[0], points[-1]
    return (after - before) / (stop - start)


def _convert(plan: ConversionPlan, workers: Workers, on_result: Callable[[EpisodeResult], None]) -> Summary:
    with tempfile.TemporaryDirectory() as folder:
        return run_plan(plan, Path(folder), workers=workers, started=perf_counter(), watch=Watch(on_result=on_result))
