"""Whole conversions through Ray as the engine does them: on cores alone, and on cores beside the workers of a GPU."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import perf_counter

from rich.table import Table
from rich.text import Text

from benchmarks.gpu_children import Failed, apart
from benchmarks.gpu_report import shortened
from benchmarks.gpu_works import AREA_CPU, Setup, transcoded
from benchmarks.runs import EXAMPLE, EXAMPLE_MAP, repeated, steady_rate
from millrace.engine.convert import plan_conversion, run_plan
from millrace.engine.dataset.record import EpisodeRecord, EpisodeResult
from millrace.engine.execution.devices import made_with
from millrace.engine.execution.workers import Workers
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import Recipe
from millrace.engine.run import Watch
from millrace.engine.sources import Clip
from millrace.engine.sources.file_state import FileState
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, Backends, Gpu
from millrace.engine.video.gpu.report import RESIZE, GpuReport, choose_backends, decode_stage

# Of those of each worker, two are left out at the start and one at the end.
EPISODES_A_CORE = 8


@dataclass(frozen=True)
class Way:
    """How a dataset is made. gpu: None where no worker has one."""

    name: str
    stages: Backends
    gpu: Gpu | None = None


@dataclass(frozen=True)
class Run:
    """A conversion. episodes_per_second: of its steady part. seconds: from start to finish, Ray's included.

    num_redone: episodes with a clip that a GPU did not get through, and a core made again; why: the first one's reason.
    """

    episodes_per_second: float
    seconds: float
    num_episodes: int
    num_redone: int
    why: str | None = None


@dataclass(frozen=True)
class RunAttempt:
    """A conversion of sources in a codec; run None: it failed, and `problem` says why."""

    codec: str
    way: Way
    run: Run | None = None
    problem: str | None = None


def plans(image_size: int, folder: Path) -> dict[str, ConversionPlan]:
    """The examples by codec: AV1, as they are, and the same pictures in H.264, written to `folder`."""
    recipe = Recipe.single(
        EXAMPLE, map=EXAMPLE_MAP, task="Benchmark.", task_all=True, fps=Fraction(20), image_size=image_size
    )
    plan = plan_conversion(recipe)
    episodes = []
    for planned in plan.episodes:
        clips = {}
        for camera, clip in planned.episode.clips.items():
            assert isinstance(clip, Clip), "the examples are videos"
            clips[camera] = transcoded(clip, folder / f"{planned.index}_{camera}.mp4")
        episode = replace(planned.episode, clips=clips)
        states = tuple(FileState.of(path) for path in episode.paths)
        episodes.append(replace(planned, episode=episode, states=states))
    return {"av1": plan, "h264": replace(plan, episodes=tuple(episodes))}


def setup_of(plan: ConversionPlan, folder: Path) -> Setup:
    """The first episode's first camera."""
    camera = next(iter(plan.job.bindings[0].cameras.values()))
    clip = plan.episodes[0].episode.clips[camera]
    assert isinstance(clip, Clip), "the examples are videos"
    return Setup(clip, plan.job, folder)


def ways(report: GpuReport, codec: str) -> list[Way]:
    """The CPU's two, a GPU that decodes beside them, and with NVENC what `--device auto` chooses."""
    stages, gpu = choose_backends([report], "auto", [codec])
    found = [Way("--device cpu", CPU_BACKENDS), Way("cores alone, area means", AREA_CPU)]
    if stages.encoder == NVENC:
        found.append(Way("--device auto", stages, gpu))
    if all(report.problem(stage) is None for stage in (decode_stage(codec), RESIZE)):
        found.append(Way("GPU and cores, libx264", AREA_CPU, Gpu(codecs=(codec,), keeps_frames=report.keeps_frames)))
    return found


def run_attempts(
    plan: ConversionPlan, codec: str, report: GpuReport, *, num_cores: int, limit_seconds: float
) -> Iterator[RunAttempt]:
    """Each way once."""
    many = repeated(plan, EPISODES_A_CORE * num_cores)
    for way in ways(report, codec):
        try:
            run = apart(partial(convert_all, many, way, num_cores), limit_seconds=limit_seconds)
        except Failed as why:
            yield RunAttempt(codec, way, problem=str(why))
        else:
            yield RunAttempt(codec, way, run)


def convert_all(plan: ConversionPlan, way: Way, num_cores: int) -> Run:
    """By as many workers as there are cores; those of a GPU are among them."""
    results: list[tuple[float, int]] = []
    redone: list[str] = []

    def on_result(result: EpisodeResult) -> None:
        assert isinstance(result, EpisodeRecord), result
        results.append((perf_counter(), result.num_frames))
        redone.extend(list(result.redone.values())[:1])

    started = perf_counter()
    made = made_with(plan, way.stages, way.gpu)
    with tempfile.TemporaryDirectory() as folder:
        workers, watch = Workers(num_cores), Watch(on_result=on_result)
        run_plan(made, Path(folder), workers=workers, started=started, watch=watch)
    return Run(
        episodes_per_second=steady_rate(results, num_workers=num_cores),
        seconds=perf_counter() - started,
        num_episodes=len(results),
        num_redone=len(redone),
        why=redone[0] if redone else None,
    )


def run_table(tried: Sequence[RunAttempt]) -> Table:
    """Whole conversions."""
    table = Table("sources in", "made by", "episodes/s", "s in all", "episodes", "remarks")
    for column in table.columns[2:5]:
        column.justify = "right"
    for one in tried:
        if (run := one.run) is None:
            table.add_row(one.codec, one.way.name, "FAILED", "", "", Text(shortened(one.problem or "")))
            continue
        redone = f"{run.num_redone} redone on the CPU: {run.why}" if run.num_redone else ""
        figures = f"{run.episodes_per_second:.2f}", f"{run.seconds:.1f}", str(run.num_episodes)
        table.add_row(one.codec, f"{one.way.name} ({one.way.stages})", *figures, Text(shortened(redone)))
    return table
