"""What preflight sees of a machine: memory limits, GPUs, logins, packages."""

import os
import sys
from pathlib import Path

import pytest

from millrace.train.preflight import probe_machine
from millrace.train.preflight.machine import (
    has_wandb_login,
    visible_gpus,
    why_not_importable,
    why_not_writable,
)


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
def test_a_decoder_is_tried_by_importing_it(
    body: str | None, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if body is not None:
        (tmp_path / "torchcodec").mkdir()
        (tmp_path / "torchcodec/__init__.py").write_text(body)
    # Only these packages, of this process and of the one that it starts.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert why_not_importable("torchcodec") == reason


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path / "file") == f"{tmp_path / 'file'} is a file"
    assert why_not_writable(tmp_path) is None


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    machine = probe_machine(tmp_path / "not" / "yet" / "there")
    assert machine.memory_bytes > 0
    assert machine.disk_bytes > 0
    assert machine.why_not_writable is None
