"""What preflight sees of a machine: memory limits, GPUs, logins, packages."""

import os
import sys
from pathlib import Path

import pytest

from millrace.train.preflight import probe_machine
from millrace.train.preflight.gpus import GpuCard, Gpus, probe_gpus, visible_gpus
from millrace.train.preflight.machine import free_shared_memory, has_wandb_login, why_not_writable
from millrace.train.preflight.packages import why_not_importable


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["A", "B"]), ("1", ["B"]), ("", []), ("1,0", ["B", "A"]), ("0,7", ["A"]), ("GPU-5f0c", ["A"])],
)
def test_gpus_are_those_that_the_process_may_use(
    visible: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "nvidia-smi", "echo 'A, 81920'; echo 'B, 24576'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    gpus = visible_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert [gpu.name for gpu in gpus] == expected
    assert all(gpu.memory_bytes in (81920 << 20, 24576 << 20) for gpu in gpus)


@pytest.mark.parametrize("script", ["exit 9", "echo No devices were found"])
def test_without_a_driver_there_is_no_gpu(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert visible_gpus({}) == ()


@pytest.mark.parametrize(
    ("environ", "netrc", "expected"),
    [
        ({}, None, False),
        ({"WANDB_API_KEY": "x"}, None, True),
        ({"WANDB_MODE": "offline"}, None, True),
        ({"WANDB_MODE": "online"}, None, False),
        ({}, "machine api.wandb.ai login user password x\n", True),
        ({}, "machine github.com login user password x\n", False),
        ({"WANDB_BASE_URL": "https://wandb.mine.org"}, "machine wandb.mine.org login user password x\n", True),
        ({}, "machine\nwhat\n", False),
    ],
)
def test_a_wandb_login_is_a_key_or_a_mode_without_one(
    environ: dict[str, str], netrc: str | None, expected: bool, tmp_path: Path
) -> None:
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc)
        (tmp_path / ".netrc").chmod(0o600)
    assert has_wandb_login(environ, tmp_path) is expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "the package torchcodec is not installed"),
        ("", None),
        ("raise RuntimeError('Could not load libtorchcodec')", "RuntimeError: Could not load libtorchcodec"),
        (
            "import ctypes\nctypes.CDLL('libavutil.so.99')",
            "OSError: libavutil.so.99: cannot open shared object file: No such file or directory",
        ),
    ],
)
def test_a_package_is_tried_by_importing_it(
    body: str | None, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_alone(monkeypatch, tmp_path, **({} if body is None else {"torchcodec": body}))
    assert why_not_importable("torchcodec") == reason


def install_alone(monkeypatch: pytest.MonkeyPatch, folder: Path, **packages: str) -> None:
    """Only these packages, of this process and of those that it starts."""
    for name, body in packages.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(body)
    monkeypatch.setattr(sys, "path", [str(folder), *(path for path in sys.path if "site-packages" not in path)])
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_an_installed_package_that_is_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As flash-attn is once torch was upgraded, or where it ends the process that imports it."""
    undefined = "raise ImportError('flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2E')"
    install_alone(monkeypatch, tmp_path, flash_attn=undefined, deepspeed="import os; os.abort()", wandb="")
    names = ("flash_attn", "deepspeed", "wandb", "tensorboard")
    assert probe_machine(tmp_path, packages=names, with_gpus=False).broken == {
        "flash_attn": "ImportError: flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2E",
        "deepspeed": "it ended with exit code -6",
        "tensorboard": "the package tensorboard is not installed",
    }


TORCH = """
import sys, types
__version__ = "2.7.1"
distributed = types.ModuleType("torch.distributed")
distributed.is_available = distributed.is_nccl_available = lambda: True
sys.modules["torch.distributed"] = distributed
class cuda:
    init = lambda: None
    device_count = lambda: 2
    get_device_properties = lambda number: types.SimpleNamespace(name=f"H100-{number}", total_memory=80)
    is_bf16_supported = lambda including_emulation: True
"""
NO_CUDA = """
def fail():
    raise AssertionError("Torch not compiled with CUDA enabled")
cuda.init = fail
"""


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        (TORCH, Gpus((GpuCard("H100-0", 80), GpuCard("H100-1", 80)), 2, None)),
        (
            TORCH + NO_CUDA,
            Gpus((), 2, "torch 2.7.1 sees 0: Torch not compiled with CUDA enabled", has_bf16=False),
        ),
        ("import os; os.abort()", Gpus((), 2, "torch cannot say how many it sees: it ended with exit code -6")),
    ],
)
def test_gpus_are_those_that_torch_uses(
    torch: str, expected: Gpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "nvidia-smi", "echo 'A, 81920'; echo 'B, 24576'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    install_alone(monkeypatch, tmp_path, torch=torch)
    assert probe_gpus({}) == expected


def test_without_torch_gpus_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", "echo 'A, 81920'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    install_alone(monkeypatch, tmp_path)
    assert probe_gpus({}) == Gpus((GpuCard("A", 81920 << 20),), 1)


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path / "file") == f"{tmp_path / 'file'} is a file"
    assert why_not_writable(tmp_path) is None


def test_shared_memory_is_what_is_free_of_it(small_disk: Path, tmp_path: Path) -> None:
    before = free_shared_memory(small_disk)
    assert before is not None
    assert 100_000 < before <= 200 << 10
    (small_disk / "batch").write_bytes(b"x" * 50_000)
    assert before - 60_000 < (free_shared_memory(small_disk) or 0) <= before - 50_000
    assert free_shared_memory(tmp_path / "none") is None


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    machine = probe_machine(tmp_path / "not" / "yet" / "there")
    assert machine.memory_bytes > 0
    assert machine.disk_bytes > 0
    assert machine.why_not_writable is None
