"""A card that fails, from the probe to the dataset: it is found out, or its work is done again, or reported."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import pytest

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.dataset.record import LEDGER_LINE, EpisodeRecord
from millrace.engine.errors import EpisodesFailed
from millrace.engine.layout import LEDGER
from millrace.engine.run import run_plan
from millrace.engine.video.backends import CPU_BACKENDS, Backends, Gpu
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import CODECS, GpuReport, NoGpuStage, choose_backends
from support.fake_card import FakeCard
from support.plans import plan_with
from support.synthetic import SyntheticVideo, write_dataset

if problem := hardware.torch_problem():
    pytest.skip(f"area means need torch and torchvision: {problem}", allow_module_level=True)

from millrace.engine.video.gpu.probe_gpu import try_stages

SETTINGS = VideoSettings(Fraction(20), FrameSize.square(256))
L4 = {"card": "NVIDIA L4", "driver": "570.86"}
AREA, NVENC = Backends(resize="area", **L4), Backends(resize="area", encoder="h264_nvenc", **L4)


def probed(card: FakeCard) -> GpuReport:
    report = GpuReport(node="node1", has_gpu=True, keeps_frames=hardware.keeps_frames(), **L4)
    with card.installed():
        return try_stages(report, SETTINGS, device="cpu")


def chosen(card: FakeCard) -> tuple[Backends, Gpu]:
    """What auto chooses for AV1, on tensors of the CPU."""
    stages, gpu = choose_backends([probed(card)], "auto", ["av1"])
    assert gpu is not None
    card.used.clear()
    return stages, replace(gpu, device="cpu")


def make(source: Path, out: Path, card: FakeCard, choice: tuple[Backends, Gpu | None]) -> list[dict[str, str]]:
    """Convert; of each episode why its clips were not made on the card."""
    plan = plan_with(recipe_for(source, image_size=48), *choice)
    with card.installed():
        run_plan(plan, out, workers=LOCAL, started=perf_counter())
    lines = map(LEDGER_LINE.validate_json, (out / LEDGER).read_text().splitlines()[1:])
    return [line.redone for line in lines if isinstance(line, EpisodeRecord)]


@pytest.fixture(scope="module")
def area(aloha: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset of area means and libx264, made without a card."""
    out = tmp_path_factory.mktemp("area") / "out"
    make(aloha, out, FakeCard(), (AREA, None))
    return files_of(out)


def test_a_card_that_works_makes_the_dataset(aloha: Path, tmp_path: Path) -> None:
    card = FakeCard()
    choice = chosen(card)
    assert choice == (NVENC, Gpu("cpu", codecs=("av1",), keeps_frames=hardware.keeps_frames(), num_sessions=8))
    assert make(aloha, tmp_path / "out", card, choice) == [{}] * 3
    assert set(card.used) == {"av1", "h264_nvenc"}


def test_an_encoder_that_opens_but_fails_at_the_third_frame_is_not_chosen(
    aloha: Path, area: dict[str, bytes], tmp_path: Path
) -> None:
    card = FakeCard(encodes=2)
    with pytest.raises(NoGpuStage, match=r"encode: NVIDIA L4 of node1 cannot: .*the device is gone\. Nearest: .* auto"):
        choose_backends([probed(card)], "cuda", ["av1"])
    choice = chosen(card)
    assert choice == (AREA, Gpu("cpu", codecs=("av1",), keeps_frames=hardware.keeps_frames()))
    assert make(aloha, tmp_path / "out", card, choice) == [{}] * 3
    assert set(card.used) == {"av1"}
    assert files_of(tmp_path / "out") == area


def test_a_decoder_that_returns_wrong_pixels_is_not_chosen(aloha: Path, tmp_path: Path) -> None:
    card = FakeCard(errs=True)
    report = probed(card)
    assert {report.problem(f"decode {codec}") for codec in CODECS} == {
        "frame 1 differs from the CPU's in 1 of 115200 values"
    }
    assert choose_backends([probed(FakeCard(errs=True, encodes=2))], "auto", ["av1"]) == (CPU_BACKENDS, None)
    choice = chosen(card)
    assert choice[0] == NVENC
    assert make(aloha, tmp_path / "out", card, choice) == [{}] * 3
    assert set(card.used) == {"h264_nvenc"}


def test_one_decoder_serves_all_clips_of_a_kind(tmp_path: Path) -> None:
    source, choice = tmp_path / "source", (AREA, Gpu("cpu", codecs=("h264", "hevc")))
    write_dataset(source, lengths=(51, 47, 53), cameras=("top", "wrist"), video=SyntheticVideo("libx264", gop=10))
    make(source, tmp_path / "cores", FakeCard(), (AREA, None))
    card = FakeCard()
    assert make(source, tmp_path / "card", card, choice) == [{}] * 3
    assert card.used == ["h264"]
    assert files_of(tmp_path / "card") == files_of(tmp_path / "cores")


def test_a_stream_that_may_change_its_parameters_has_a_decoder_of_its_own(tmp_path: Path) -> None:
    source, choice, card = tmp_path / "source", (AREA, Gpu("cpu", codecs=("h264", "hevc"))), FakeCard()
    write_dataset(source, lengths=(51, 47, 53), video=SyntheticVideo("libx265"))  # libav writes it as hev1
    assert make(source, tmp_path / "card", card, choice) == [{}] * 3
    assert card.used == ["hevc"] * 3


def test_a_card_that_is_gone_within_a_clip_leaves_it_to_the_cpu(
    aloha: Path, area: dict[str, bytes], tmp_path: Path
) -> None:
    choice = chosen(FakeCard(encodes=2))
    redone = make(aloha, tmp_path / "out", FakeCard(decodes=5), choice)
    assert files_of(tmp_path / "out") == area
    assert len(redone) == 3
    for why in redone:
        assert "the device is gone" in why["ego_view"]


@pytest.mark.parametrize("card", [FakeCard(encodes=5), FakeCard(decodes=5, encodes=5)], ids=["encoder", "both"])
def test_nvenc_that_is_gone_within_a_clip_is_reported(card: FakeCard, aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(EpisodesFailed, match=r"h264_nvenc failed \(the device is gone\), and no other") as failed:
        make(aloha, tmp_path / "out", card, chosen(FakeCard()))
    assert [one.code.value for one in failed.value.quarantined] == ["gpu"] * 3
    assert not (tmp_path / "out/meta").exists()


def test_sessions_of_nvenc_are_counted() -> None:
    limited = FakeCard(num_sessions=3)
    assert chosen(limited)[1].num_sessions == 3
    assert probed(FakeCard(encodes=2)).num_sessions == 0
