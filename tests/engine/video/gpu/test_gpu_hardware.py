"""Whole conversions on the GPU of this machine: the bytes that its cores alone would have made."""

from pathlib import Path
from time import perf_counter

import pytest

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.dataset.record import LEDGER_LINE, EpisodeRecord
from millrace.engine.execution.workers import Workers
from millrace.engine.layout import LEDGER
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.run import run_plan
from millrace.engine.video.backends import NVENC, X264, Backends, Gpu
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.probe_gpu import probe_gpu
from millrace.engine.video.gpu.report import GpuReport, choose_backends, decode_stage
from support.plans import plan_with
from support.synthetic import SyntheticVideo, write_dataset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not hardware.may_have_gpu(), reason="needs an NVIDIA GPU; untested on hardware where skipped"),
]
ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
WITH_RAY = Workers(num=3)


@pytest.fixture(scope="module")
def report() -> GpuReport:
    return probe_gpu()


def run(plan: ConversionPlan, out: Path, workers: Workers) -> list[EpisodeRecord]:
    run_plan(plan, out, workers=workers, started=perf_counter())
    lines = map(LEDGER_LINE.validate_json, (out / LEDGER).read_text().splitlines()[1:])
    return [line for line in lines if isinstance(line, EpisodeRecord)]


@pytest.mark.parametrize("keeps_frames", [True, False])
@pytest.mark.parametrize("codec", ENCODERS)
def test_a_gpu_makes_the_bytes_of_cores(codec: str, keeps_frames: bool, report: GpuReport, tmp_path: Path) -> None:
    if problem := report.problem(decode_stage(codec)):
        pytest.skip(f"this card does not decode {codec}: {problem}")
    video = SyntheticVideo(codec=ENCODERS[codec], height=480, width=640, gop=10, bframes=0 if codec == "av1" else 2)
    write_dataset(tmp_path / "source", lengths=(41, 33, 17, 25, 29, 37), video=video)
    recipe = recipe_for(tmp_path / "source", image_size=256)
    stages = Backends(resize="area", encoder=X264, card=report.card, driver=report.driver)
    run(plan_with(recipe, stages), tmp_path / "cores", LOCAL)
    gpu = Gpu(codecs=(codec,), keeps_frames=keeps_frames)
    for workers in (LOCAL, WITH_RAY):
        out = tmp_path / f"gpu_{'local' if workers.local else 'ray'}"
        records = run(plan_with(recipe, stages, gpu), out, workers)
        assert [record.redone for record in records] == [{}] * 6
        assert files_of(out) == files_of(tmp_path / "cores")


def test_auto_takes_nvenc_where_the_card_has_it(report: GpuReport, tmp_path: Path) -> None:
    stages, gpu = choose_backends([report], "auto", ["h264"])
    if stages.encoder != NVENC:
        pytest.skip(f"this card does not encode: {report.problem('encode')}")
    write_dataset(tmp_path / "source", lengths=(41, 33), video=SyntheticVideo(codec="libx264", height=480, width=640))
    plan = plan_with(recipe_for(tmp_path / "source", image_size=256), stages, gpu)
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert [record.redone for record in run(plan, out, LOCAL)] == [{}] * 2
    assert files_of(outs[0]) == files_of(outs[1])
