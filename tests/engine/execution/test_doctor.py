"""`millrace doctor` says what can be done here and what is missing, whatever is installed."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from millrace import cli
from millrace.commands.doctor import print_diagnosis
from millrace.engine.dataset.releases import find_release
from millrace.engine.execution.devices import choose_for_new
from millrace.engine.execution.diagnosis import Diagnosis, auto_choices
from millrace.engine.execution.workers import Workers
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.report import GpuReport, StageCheck
from support.groot_files import write_groot

STAGES = ("decode av1", "decode h264", "decode hevc", "resize", "encode")
NO_NVENC = {"encode": "libav says: no device"}
WITHOUT_GPU = pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")


def h200() -> GpuReport:
    return report_of("NVIDIA H200", {"decode av1": "libav says: Function not implemented", **NO_NVENC})


def b200() -> GpuReport:
    return report_of("NVIDIA B200", NO_NVENC)


def report_of(card: str, problems: dict[str, str]) -> GpuReport:
    checks = tuple(StageCheck(stage=stage, problem=problems.get(stage)) for stage in STAGES)
    return GpuReport(node="node7", has_gpu=True, card=card, driver="570.86", checks=checks)


@WITHOUT_GPU
def test_a_machine_without_a_gpu_is_told_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "no GPU in use" in told
    assert "missing: no NVIDIA device (/dev/nvidia0)" in told
    assert re.search(r"^libx264 \d+, libavcodec \d+", told, re.MULTILINE)
    for codec in ("av1", "h264", "hevc"):
        assert re.search(rf"{codec} +CPU +CPU +libx264", told)


@WITHOUT_GPU
def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (node,) = told["nodes"]
    assert (node["card"], node["checks"]) == (None, [])
    assert {"python", "av", "torch", "torchvision", "ray"} <= node["versions"].keys()
    assert {choice["encoder"] for choice in told["auto"]} == {"libx264"}


@pytest.mark.skipif(find_spec("gr00t") is not None, reason="gr00t is installed here")
def test_the_installed_gr00t_is_told_with_what_its_build_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["doctor"]) == 0
    assert "GR00T: not installed here" in capsys.readouterr().out
    assert cli.main(["doctor", "--gr00t", "n1.7"]) == 0
    assert "no GR00T is installed, N1.7 is asked for. For N1.7 in a Python 3.12" in capsys.readouterr().out
    folder = write_groot(tmp_path, find_release("n1.7"), flags=("skip_weight_loading",))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["gr00t"]
    assert (told["release"], told["folder"]) == ("N1.7", str(folder / "gr00t"))
    assert {"python", "torch", "transformers"} <= told["versions"].keys()
    assert set(told["lacking_flags"]) >= {"use_percentiles", "ds_weights_alpha"}
    assert "skip_weight_loading" not in told["lacking_flags"]
    assert any("flash-attn, which cannot be imported" in problem for problem in told["problems"])
    assert cli.main(["doctor", "--gr00t", "n1.6"]) == 0
    assert f"{folder}/gr00t is N1.7, N1.6 is asked for. For N1.6 in a Python 3.10" in capsys.readouterr().out


@pytest.mark.skipif(hardware.torch_problem() is None, reason="for environments without torch or torchvision")
def test_without_torch_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    assert "pip install '.[gpu]'" in capsys.readouterr().out


def test_a_card_is_shown_with_what_it_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (h200(),)
    diagnosis = Diagnosis(nodes=nodes, auto=auto_choices(nodes), libraries={"libavcodec": "62.28.102"}, x264="165")
    print_diagnosis(diagnosis, Console(width=120))
    told = capsys.readouterr().out
    assert "node7: NVIDIA H200, driver 570.86" in told
    assert "frames pass through the host" in told
    assert re.search(r"decode av1 +libav says: Function not implemented +libavcodec", told)
    assert re.search(r"decode h264 +yes +libavcodec", told)
    assert re.search(r"h264 +CPU +CPU +libx264", told), "cores are faster"
    assert re.search(r"av1 +CPU +CPU +libx264", told)
    assert [choice.decode for choice in auto_choices((b200(),))] == ["GPU", "CPU", "CPU"]


def test_a_node_whose_probe_failed_is_told_and_counts_as_it_does_for_a_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hung = GpuReport(node="node8", has_gpu=True, failed="no answer within 120 s: its GPU is taken, or the driver hangs")
    bare = GpuReport(node="node9", missing=(hardware.NO_DEVICE,))
    nodes = (b200(), hung, bare)
    diagnosis = Diagnosis(nodes=nodes, auto=auto_choices(nodes), libraries={"libavcodec": "62.28.102"}, x264="165")
    print_diagnosis(diagnosis, Console(width=120))
    told = capsys.readouterr().out
    assert "node8: a GPU that cannot be used" in told
    assert "not tried: no answer within 120 s: its GPU is taken, or the driver hangs" in told
    assert "node9: no GPU in use" in told
    assert re.search(r"av1 +CPU +CPU +libx264", told), "a run would not use node7's GPU either"
    assert {choice.decode for choice in auto_choices((b200(), bare))} == {"CPU", "GPU"}


def test_a_choice_of_the_cpu_says_what_the_gpus_cannot_do() -> None:
    card = "NVIDIA H200 of node7"
    told = f"{card}: decode av1: libav says: Function not implemented; {card}: encode: libav says: no device"
    assert choose_for_new([h200()], "auto", ["av1"], Workers()).why_cpu == told
    assert choose_for_new([h200()], "auto", ["h264"], Workers()).why_cpu == f"{card}: encode: libav says: no device"
    assert choose_for_new([b200()], "auto", ["av1"], Workers()).why_cpu is None
    hung = GpuReport(node="node8", has_gpu=True, failed="no answer within 120 s")
    told = "the GPU of node8: no answer within 120 s"
    assert choose_for_new([b200(), hung], "auto", ["h264"], Workers()).why_cpu == told
    bare = GpuReport(node="node9", missing=(hardware.NO_DEVICE,))
    assert choose_for_new([bare], "auto", ["h264"], Workers()).why_cpu is None, "there is none to speak of"
