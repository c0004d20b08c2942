"""A card is judged by what it does: encoders that give up, decoders that are wrong, and what follows for a dataset."""

import errno
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import pytest

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.video.backends import CPU_BACKENDS, Backends, Gpu
from millrace.engine.video.decode import open_cpu_decoder
from millrace.engine.video.encode import VideoSettings, write_h264
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.nvdec import Nvdec, TaggingDecoder
from millrace.engine.video.gpu.probe_gpu import (
    SAMPLE_ENCODERS,
    WrongResult,
    check_decoder,
    check_encoder,
    explain_stage,
    probe_gpu,
)
from millrace.engine.video.gpu.report import (
    CODECS,
    GpuReport,
    NoGpuStage,
    StageCheck,
    choose_backends,
    choose_gpu,
    decode_stage,
)

SETTINGS = VideoSettings(Fraction(20), FrameSize.square(256))
H200 = "NVIDIA H200"
NO_NVENC = "libav says: No capable devices found"


def test_libavs_errors_are_said_in_a_line_that_claims_no_more() -> None:
    options = "avcodec_open2(\"h264_nvenc\", {'preset': 'p4', 'rc': 'constqp'})"
    no_encoder = av.FFmpegError(errno.ENOSYS, "Function not implemented", options)
    no_nvenc = "this card has no NVENC, or its driver is too old for it (libav: Function not implemented)"
    assert explain_stage(no_encoder, "encode") == no_nvenc
    refused = VideoError("av1.mp4 is truncated or corrupt")
    refused.__cause__ = av.FFmpegError(errno.EINVAL, "Invalid argument")
    told = "this card, driver and libav do not decode AV1 (libav: Invalid argument)"
    assert explain_stage(refused, "decode av1") == told
    assert explain_stage(refused, "encode") == "libav says: Invalid argument"
    closed = VideoError("libav cannot use the GPU (Operation not permitted)", code=FaultCode.GPU)
    closed.__cause__ = av.FFmpegError(errno.EPERM, "Operation not permitted")
    assert explain_stage(closed, "decode h264") == "libav cannot use the GPU (Operation not permitted)"


@pytest.mark.parametrize("codec", CODECS)
def test_the_cpus_own_decoders_pass(codec: str, tmp_path: Path) -> None:
    check_decoder(codec, open_cpu_decoder, tmp_path)


def test_a_decoder_of_its_own_passes(tmp_path: Path) -> None:
    """As NVDEC's is opened, beside the container's."""

    def opened(stream: Any) -> Any:
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = stream.codec_context.extradata
        return decoder

    check_decoder("h264", opened, tmp_path)


def test_a_decoder_that_returns_wrong_pixels_is_found_out(tmp_path: Path) -> None:
    def careless(stream: Any) -> Any:
        stream.codec_context.options = {"skip_loop_filter": "all"}
        return stream.codec_context

    with pytest.raises(WrongResult, match=r"frame \d+ differs from the CPU's in \d+ of 115200 values"):
        check_decoder("h264", careless, tmp_path)


class Forgetful:
    """Hands out frames with their pictures and times only, as PyAV below 18 takes them from a card."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decoder, name)

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        taken = []
        for frame in self.decoder.decode(packet):
            taken.append(av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p").reformat(format="nv12"))
            taken[-1].pts = frame.pts
        return taken


@pytest.mark.parametrize("codec", CODECS)
def test_colours_that_a_card_keeps_to_itself_are_found_out_and_told(codec: str, tmp_path: Path) -> None:
    def forgetful(stream: Any) -> Any:
        return Forgetful(stream.codec_context)

    with pytest.raises(WrongResult, match=r"frame 1 has range and matrix \(0, 2\), the CPU's \(2, 1\)"):
        check_decoder(codec, forgetful, tmp_path)
    check_decoder(codec, lambda stream: cast(Any, TaggingDecoder(forgetful(stream))), tmp_path)


def test_libx264_passes_as_an_encoder(tmp_path: Path) -> None:
    check_encoder(SETTINGS, tmp_path, write=write_h264)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"crf": 40}, r"keeps \d+\.\d dB of a frame, where libx264 keeps"),
        ({"crf": 0}, r"takes \d+ bytes, where libx264 takes"),
        ({"gop": 5}, "in groups of 5"),
    ],
)
def test_an_encoder_that_does_not_do_as_told_is_found_out(tmp_path: Path, changes: Any, told: str) -> None:
    def other(path: Path, frames: Iterator[av.VideoFrame], settings: VideoSettings) -> int:
        return write_h264(path, frames, VideoSettings(settings.fps, settings.size, **changes))

    with pytest.raises(WrongResult, match=told):
        check_encoder(SETTINGS, tmp_path, write=other)


def test_an_encoder_that_drops_frames_is_found_out(tmp_path: Path) -> None:
    def forgetful(path: Path, frames: Iterator[av.VideoFrame], settings: VideoSettings) -> int:
        return write_h264(path, islice(frames, 20), settings)

    with pytest.raises(WrongResult, match="20 frames"):
        check_encoder(SETTINGS, tmp_path, write=forgetful)


@pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")
def test_a_machine_without_a_gpu_says_what_is_missing() -> None:
    report = probe_gpu(node="here")
    assert (report.node, report.card, report.checks) == ("here", None, ())
    assert "no NVIDIA device" in report.missing[0]
    assert report.problem("encode") == "; ".join(report.missing)


@pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")
@pytest.mark.parametrize("codec", CODECS)
def test_nvdec_without_a_driver_is_an_error_that_is_not_the_files(codec: str, tmp_path: Path) -> None:
    assert codec in SAMPLE_ENCODERS
    with pytest.raises(Exception, match=r"libav cannot use the GPU|no NVDEC below it"):
        check_decoder(codec, Nvdec([codec], keeps_frames=hardware.keeps_frames()), tmp_path)


def test_device_files_tell_whether_there_can_be_a_gpu(tmp_path: Path) -> None:
    assert not hardware.may_have_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not hardware.may_have_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert hardware.may_have_gpu(tmp_path)


def report_of(card: str, problems: dict[str, str], **changes: Any) -> GpuReport:
    """A machine whose card does everything but what has a problem."""
    stages = (*map(decode_stage, CODECS), "resize", "encode")
    checks = tuple(StageCheck(stage=stage, problem=problems.get(stage)) for stage in stages)
    report = GpuReport(node="node1", has_gpu=True, card=card, driver="570.86", keeps_frames=True, checks=checks)
    return report.model_copy(update={"num_sessions": 8, **changes})


def l4(**changes: Any) -> GpuReport:
    return report_of("NVIDIA L4", {}, **changes)


def h200(**changes: Any) -> GpuReport:
    return report_of(H200, {"decode av1": "libav says: Function not implemented", "encode": NO_NVENC}, **changes)


def b200(**changes: Any) -> GpuReport:
    return report_of("NVIDIA B200", {"encode": NO_NVENC}, **changes)


def test_auto_takes_what_works() -> None:
    assert choose_backends([], "auto", ["av1"]) == (CPU_BACKENDS, None)
    everything = Backends(resize="area", encoder="h264_nvenc", card="NVIDIA L4", driver="570.86")
    assert choose_backends([l4()], "auto", ["av1"]) == (
        everything,
        Gpu(codecs=("av1",), keeps_frames=True, num_sessions=8),
    )
    no_encoder = Backends(resize="area", encoder="libx264", card="NVIDIA B200", driver="570.86")
    assert choose_backends([b200()], "auto", ["av1", "h264"]) == (
        no_encoder,
        Gpu(codecs=("av1", "h264"), keeps_frames=True),
    )


@pytest.mark.parametrize("codecs", [["av1"], ["h264"], ["av1", "hevc"]])
def test_auto_leaves_a_gpu_alone_beside_which_cores_are_faster(codecs: list[str]) -> None:
    assert choose_backends([h200()], "auto", codecs) == (CPU_BACKENDS, None)


def test_auto_asks_of_all_machines_what_is_shared() -> None:
    assert choose_backends([l4(), h200(node="node2")], "auto", ["av1", "h264"]) == (CPU_BACKENDS, None)
    stages, gpu = choose_backends([l4(), b200(node="node2")], "auto", ["av1", "h264"])
    assert (stages.encoder, gpu) == ("libx264", Gpu(codecs=("av1", "h264"), keeps_frames=True))
    stages, _ = choose_backends([l4(), l4(node="node2", driver="580.1")], "auto", ["av1"])
    assert stages.encoder == "libx264", "another driver encodes other bytes"


def test_a_machine_whose_gpu_does_nothing_keeps_auto_on_the_cpu() -> None:
    broken = GpuReport(node="node2", has_gpu=True, failed="no answer within 60 s")
    assert choose_backends([l4(), broken], "auto", ["h264"]) == (CPU_BACKENDS, None)
    with pytest.raises(NoGpuStage, match=r"decode h264: no GPU of node2 cannot: no answer within 60 s\. Nearest"):
        choose_backends([l4(), broken], "cuda", ["h264"])
    began = Backends(resize="area", encoder="h264_nvenc", card="NVIDIA L4", driver="570.86")
    with pytest.raises(NoGpuStage, match=r"here is NVIDIA L4 with .*, no GPU of node2 \(no answer within 60 s\)"):
        choose_gpu(began, [l4(), broken], ["h264"])


def test_a_machine_without_a_gpu_has_no_say() -> None:
    bare = GpuReport(node="node2", missing=(hardware.NO_DEVICE,))
    for device in ("auto", "cuda"):
        assert choose_backends([bare, l4()], device, ["av1"]) == choose_backends([l4()], device, ["av1"])
    began, gpu = choose_backends([l4()], "auto", ["av1"])
    assert choose_gpu(began, [l4(), bare], ["av1"]) == gpu


def test_cpu_is_the_cpu_whatever_there_is() -> None:
    assert choose_backends([l4()], "cpu", ["av1"]) == (CPU_BACKENDS, None)


@pytest.mark.parametrize(
    ("reports", "codecs", "told"),
    [
        ([], ["h264"], r"no GPU was found, `millrace doctor` says what is missing. Nearest: device='cpu'"),
        ([h200()], ["av1"], r"decode av1: NVIDIA H200 of node1 cannot: libav says: Function not .* device='cpu'"),
        ([h200()], ["h264"], r"encode: NVIDIA H200 of node1 cannot: .* device='cpu'"),
        ([b200()], ["av1"], r"encode: NVIDIA B200 of node1 cannot: .*'auto', where the GPU decodes av1, .* libx264"),
        ([l4(), l4(driver="580.1")], ["h264"], r"NVIDIA L4 with driver 570.86, NVIDIA L4 with driver 580.1 would give"),
    ],
)
def test_cuda_names_what_stands_in_its_way_and_the_nearest_choice(
    reports: list[GpuReport], codecs: list[str], told: str
) -> None:
    with pytest.raises(NoGpuStage, match=told):
        choose_backends(reports, "cuda", codecs)


def test_cuda_is_granted_where_every_stage_works() -> None:
    assert choose_backends([l4()], "cuda", ["av1"]) == choose_backends([l4()], "auto", ["av1"])


def test_a_resumed_run_keeps_the_choice_and_uses_what_is_there() -> None:
    began = Backends(resize="area", encoder="libx264", card=H200, driver="570.86")
    assert choose_gpu(began, [l4()], ["av1"]) == Gpu(codecs=("av1",), keeps_frames=True)
    assert choose_gpu(began, [], ["av1"]) is None
    assert choose_gpu(CPU_BACKENDS, [l4()], ["av1"]) is None


def test_what_nvenc_began_only_the_same_card_and_driver_continue() -> None:
    began, gpu = choose_backends([l4()], "auto", ["av1"])
    assert choose_gpu(began, [l4()], ["av1"]) == gpu
    for reports, found in (([l4(driver="580.1")], "NVIDIA L4 with driver 580.1"), ([h200()], H200), ([], "no GPU")):
        with pytest.raises(NoGpuStage, match=f"was created with area and h264_nvenc .* here is {found}"):
            choose_gpu(began, reports, ["av1"])


@pytest.mark.gpu
@pytest.mark.skipif(not hardware.may_have_gpu(), reason="needs an NVIDIA GPU; untested on hardware where skipped")
def test_nvdec_opens_where_torch_came_first(tmp_path: Path) -> None:
    import torch

    torch.zeros(1, device="cuda")
    check_decoder("h264", Nvdec(["h264"], keeps_frames=hardware.keeps_frames()), tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not hardware.may_have_gpu(), reason="needs an NVIDIA GPU; untested on hardware where skipped")
def test_this_machines_gpu_decodes_or_resizes() -> None:
    report = probe_gpu()
    assert not report.missing
    assert report.problem("resize") is None
    assert any(report.problem(decode_stage(codec)) is None for codec in CODECS)
