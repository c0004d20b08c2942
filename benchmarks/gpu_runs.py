"""Whole conversions through Ray as the engine does them: on cores alone, and on cores beside the workers of a GPU."""

import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

from benchmarks.gpu_works import AREA_CPU, Setup, transcode
from benchmarks.runs import EXAMPLE, EXAMPLE_MAP, repeated, steady_rate
from millrace.engine.convert import plan_conversion, run_plan
from millrace.engine.dataset.record import EpisodeRecord, EpisodeResult
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


def plan_examples(image_size: int, folder: Path) -> dict[str, ConversionPlan]:
    """Plans of the examples by codec: AV1, as they are, and the same frames in H.264, written to `folder`."""
    recipe = Recipe.single(
        EXAMPLE, map=EXAMPLE_MAP, task="Benchmark.", task_all=True, fps=Fraction(20), image_size=image_size
    )
    plan = plan_conversion(recipe)
    episodes = []
    for planned in plan.episodes:
        clips = {}
        for camera, clip in planned.episode.clips.items():
            assert isinstance(clip, Clip), "the examples are videos"
            clips[camera] = transcode(clip, folder / f"{planned.index}_{camera}.mp4")
        episode = replace(planned.episode, clips=clips)
        states = tuple(FileState.read(path) for path in episode.paths)
        episodes.append(replace(planned, episode=episode, states=states))
    return {"av1": plan, "h264": replace(plan, episodes=tuple(episodes))}


def set_up(plan: ConversionPlan, folder: Path) -> Setup:
    """The first episode's first camera."""
    camera = next(iter(plan.job.bindings[0].cameras.values()))
    clip = plan.episodes[0].episode.clips[camera]
    assert isinstance(clip, Clip), "the examples are videos"
    return Setup(clip, plan.job, folder)


def list_runs(plan: ConversionPlan, codec: str, report: GpuReport) -> dict[str, ConversionPlan]:
    """The CPU's two, with NVENC what `--device auto` chooses, and a GPU that decodes beside cores."""
    backends, gpu = choose_backends([report], "auto", [codec])
    found = {
        "cores alone": _with_backends(plan, CPU_BACKENDS),
        "cores alone, area means": _with_backends(plan, AREA_CPU),
    }
    if backends.encoder == NVENC:
        found["--device auto, NVENC"] = _with_backends(plan, backends, gpu)
    if all(report.problem(stage) is None for stage in (decode_stage(codec), RESIZE)):
        decoding = Gpu(codecs=(codec,), keeps_frames=report.keeps_frames)
        found["GPU and cores, libx264"] = _with_backends(plan, AREA_CPU, decoding)
    return found


def _with_backends(plan: ConversionPlan, backends: Backends, gpu: Gpu | None = None) -> ConversionPlan:
    return replace(plan, job=replace(plan.job, video=replace(plan.job.video, backends=backends), gpu=gpu))


def measure_run(plan: ConversionPlan, num_cores: int) -> float:
    """Episodes a second in the steady part of a run with a worker for each core; those of a GPU are among them."""
    results: list[tuple[float, int]] = []

    def on_result(result: EpisodeResult) -> None:
        assert isinstance(result, EpisodeRecord), result
        assert not result.redone, f"the GPU failed, and a core converted again: {result.redone}"
        results.append((perf_counter(), result.num_frames))

    many = repeated(plan, EPISODES_A_CORE * num_cores)
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(on_result=on_result)
        run_plan(many, Path(folder), workers=Workers(num_cores), started=perf_counter(), watch=watch)
    return steady_rate(results, num_workers=num_cores)
