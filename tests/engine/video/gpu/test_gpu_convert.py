"""Datasets whose pictures a GPU makes: the same bytes from every worker, and a choice that is made once."""

import subprocess
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import pytest
from rich.console import Console

from conftest import LOCAL, convert_here, files_of, read_table, recipe_for
from millrace import cli
from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_steps import read_steps
from millrace.commands.progress import print_summary
from millrace.engine.convert import convert, estimate
from millrace.engine.dataset.record import LEDGER_LINE, EpisodeRecord, EpisodeResult
from millrace.engine.errors import DatasetError, EpisodesFailed, HubError, OtherRecipe, RecipeError, RecipeProblems
from millrace.engine.execution.devices import source_codecs
from millrace.engine.execution.workers import Workers
from millrace.engine.layout import LEDGER, MANIFEST
from millrace.engine.output.state import OutputState
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.planner import PreparedRecipe, prepare_recipe
from millrace.engine.planning.recipe import Recipe
from millrace.engine.run import Watch, run_plan
from millrace.engine.summary import Summary
from millrace.engine.video.backends import CPU_BACKENDS, Backends, Gpu
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import NoGpuStage
from support.plans import plan_with

if problem := hardware.torch_problem():
    pytest.skip(f"area means need torch and torchvision: {problem}", allow_module_level=True)

AREA = Backends(resize="area", card="NVIDIA H200", driver="570.86")
NVENC = Backends(resize="area", encoder="h264_nvenc", card="NVIDIA L4", driver="570.86")
SETTINGS = {"image_size": 48}
WITHOUT_GPU = pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")


def planned(source: Path, stages: Backends, gpu: Gpu | None = None) -> ConversionPlan:
    return plan_with(recipe_for(source, **SETTINGS), stages, gpu)


def run(plan: ConversionPlan, out: Path, workers: Workers = LOCAL, **settings: Any) -> Summary:
    return run_plan(plan, out, workers=workers, started=perf_counter(), **settings)


def records(out: Path) -> list[EpisodeRecord]:
    lines = (out / LEDGER).read_text().splitlines()[1:]
    found = map(LEDGER_LINE.validate_json, lines)
    return [line for line in found if isinstance(line, EpisodeRecord)]


def stop(result: EpisodeResult) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def area(aloha: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset whose resize a GPU could do, made without one."""
    out = tmp_path_factory.mktemp("area") / "out"
    run(planned(aloha, AREA), out)
    return files_of(out)


@WITHOUT_GPU
def test_a_gpu_that_is_gone_leaves_the_work_to_the_cpu(
    aloha: Path, area: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = Gpu(codecs=("av1",), keeps_frames=hardware.keeps_frames())
    summary = run(planned(aloha, AREA, gpu), tmp_path / "out")
    assert files_of(tmp_path / "out") == area
    for record in records(tmp_path / "out"):
        assert "libav cannot use the GPU" in record.redone["ego_view"]
    print_summary(summary, "out", Console(width=200))
    assert "3 clips on the CPU, as the GPU did not; the first: VideoError: libav cannot use" in capsys.readouterr().out


@WITHOUT_GPU
def test_what_nvenc_began_nothing_else_ends(aloha: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(EpisodesFailed, match=r"h264_nvenc failed .*no other encoder may continue its work") as failed:
        run(planned(aloha, NVENC, Gpu(codecs=("av1",))), out)
    assert {one.code.value for one in failed.value.quarantined} == {"gpu"}
    for work in (convert, estimate):
        with pytest.raises(
            NoGpuStage, match=r"was created with area and h264_nvenc \(NVIDIA L4, driver 570.86\).*no GPU"
        ):
            work(recipe_for(aloha, **SETTINGS), out, workers=LOCAL)


def test_another_run_keeps_the_choice_of_the_first(aloha: Path, area: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(planned(aloha, AREA), out, watch=Watch(on_result=stop))
    with pytest.raises(OtherRecipe, match=r"was created with area and libx264 \(NVIDIA H200.* device='cpu' would not"):
        convert_here(aloha, out, **SETTINGS, device="cpu")
    recipe = recipe_for(aloha, **SETTINGS)
    sizes = [estimate(recipe, folder, workers=LOCAL).num_bytes for folder in (out, tmp_path / "fresh")]
    assert sizes[0] != sizes[1], "an estimate is made with area means as well"
    convert_here(aloha, out, **SETTINGS)
    assert files_of(out) == area
    assert convert_here(aloha, out, **SETTINGS).was_finished


def test_a_run_on_the_cpu_stays_there(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path / "out", **SETTINGS)
    assert OutputState.read(tmp_path / "out").backends == CPU_BACKENDS
    with pytest.raises(OtherRecipe, match=r"was created with libavfilter and libx264, which device='cuda' would not"):
        convert_here(aloha, tmp_path / "out", **SETTINGS, device="cuda")


def test_the_manifest_tells_what_a_gpu_had_to_do_with_it(area: dict[str, bytes], aloha_gr1: Path) -> None:
    assert b'"resize": "area",\n    "card": "NVIDIA H200",\n    "driver": "570.86"' in area[MANIFEST]
    assert b'"resize"' not in files_of(aloha_gr1)[MANIFEST]


@WITHOUT_GPU
@pytest.mark.parametrize("work", [convert, estimate])
def test_cuda_without_a_gpu_is_an_error_and_nothing_is_begun(work: Any, aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^device='cuda': no GPU was found, .*Nearest: device='cpu'"):
        work(recipe_for(aloha, **SETTINGS, device="cuda"), tmp_path / "out", workers=LOCAL)
    assert not (tmp_path / "out").exists()


@WITHOUT_GPU
def test_a_dry_run_for_cuda_ends_as_the_run_would(
    aloha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["convert", str(aloha), str(tmp_path / "out"), "--map", "aloha_to_gr1", "--device", "cuda", "--local"]
    told = [(cli.main([*flags, *more]), capsys.readouterr().err) for more in ([], ["--dry-run"])]
    assert told[0] == told[1]
    assert told[0][0] == 2


def test_a_dry_run_says_that_another_device_began(aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(planned(aloha, CPU_BACKENDS), tmp_path / "out", watch=Watch(on_result=stop))
    with pytest.raises(OtherRecipe, match="which device='cuda' would not give"):
        estimate(recipe_for(aloha, **SETTINGS, device="cuda"), tmp_path / "out", workers=LOCAL)


def test_a_pipeline_says_which_share_of_a_gpu_its_workers_take(aloha: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"convert: {{recipe: {{sources: [{{path: {aloha}, map: aloha_to_gr1}}]}}, out: out, gpu_share: 2}}")
    with pytest.raises(RecipeProblems, match="gpu_share takes a part of a GPU, above 0 and at most 1, not 2"):
        read_steps(PipelineFile(path))


@dataclass(frozen=True)
class MeetingPlace:
    """A repository that answers when as many have asked as there are sources."""

    barrier: Barrier

    def fetch(self, paths: Iterable[Path]) -> None:
        self.barrier.wait(timeout=20)


def test_the_first_episodes_of_all_sources_are_fetched_at_once(aloha: Path) -> None:
    sources = [{"path": str(aloha), "map": "aloha_to_gr1", "episodes": str(episode)} for episode in range(3)]
    prepared = prepare_recipe(Recipe.model_validate({"sources": sources}))
    place = MeetingPlace(Barrier(len(sources)))
    assert source_codecs(from_repository(prepared, place)) == {"av1"}
    assert not place.barrier.broken


def from_repository(prepared: PreparedRecipe, repository: Any) -> PreparedRecipe:
    """The recipe's sources as if their files lay there."""
    sources = [
        replace(source, episodes=tuple(replace(episode, repository=repository) for episode in source.episodes))
        for source in prepared.sources
    ]
    return replace(prepared, sources=sources)


@dataclass(frozen=True)
class Repository:
    """One that gives nothing."""

    error: Exception

    def fetch(self, paths: Iterable[Path]) -> None:
        raise self.error

    def holding_files(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_hub_that_fails_for_a_moment_decides_nothing(aloha: Path) -> None:
    prepared = prepare_recipe(recipe_for(aloha, **SETTINGS))
    with pytest.raises(HubError, match="the Hub answered 503"):
        source_codecs(from_repository(prepared, Repository(HubError("the Hub answered 503"))))
    missing = from_repository(prepared, Repository(DatasetError("no such file")))
    assert source_codecs(missing) == set(), "told of when it is converted"


@WITHOUT_GPU
def test_without_a_gpu_neither_torch_nor_ray_is_looked_at(aloha: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from millrace.engine.convert import convert
from millrace.engine.planning.recipe import Recipe
from millrace.engine.execution.workers import Workers

recipe = Recipe.single({str(aloha)!r}, map="aloha_to_gr1", episodes="0")
convert(recipe, {str(tmp_path / "out")!r}, workers=Workers(local=True))
print({{"torch", "ray"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert len(read_table(tmp_path / "out", 0)) > 0
