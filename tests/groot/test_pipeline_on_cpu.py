"""The example that is the whole ALOHA guide on CPUs: from a Hub to a Hub, by a tiny GR00T N1.6, each step once."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import WHY_NOT, run_python

from conftest import REPOSITORY, files_of
from support.hub_protocol import TOKEN
from support.hub_server import HubServer
from support.synthetic import write_dataset

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

STEPS = ("convert", "validate", "finetune", "evaluate", "rollout", "upload")
# Smaller frames, fewer steps, and a robot without a simulator.
CHANGES = {
    "image_size: 256": "image_size: 64",
    "max_steps: 20": "max_steps: 2",
    "save_steps: 10": "save_steps: 1",
    "env: gym_aloha/AlohaTransferCube-v0": f"env: point\n  adapter: {REPOSITORY}/tests/support/point_robot.py",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with the dataset that the example names."""
    source = tmp_path_factory.mktemp("recordings") / "aloha"
    write_dataset(source, lengths=(150, 150, 150))
    with HubServer() as server:
        server.add("lerobot/aloha_sim_transfer_cube_human", files_of(source))
        yield server


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, made small, beside the tiny model that its script writes."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "examples").mkdir()
    script = shutil.copy(REPOSITORY / "examples/tiny_groot.py", folder / "examples")
    text = (REPOSITORY / "examples/pipeline_on_cpu.yaml").read_text()
    for known, changed in CHANGES.items():
        assert text.count(known) == 1
        text = text.replace(known, changed)
    (folder / "examples/pipeline_on_cpu.yaml").write_text(text)
    made = run_python(script, folder / "out/tiny_groot")
    assert made.returncode == 0, made.stderr
    return folder / "examples/pipeline_on_cpu.yaml"


def run(example: Path, hub: HubServer) -> "subprocess.CompletedProcess[str]":
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(example.parent / "hf"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    return run_python("-m", "millrace", "pipeline", example, timeout=1100, env=online | own)


def ended(output: str) -> dict[str, str]:
    """How each step ended."""
    lines = [line.split(": ") for line in output.splitlines() if line.startswith(STEPS) and ": " in line]
    return {name: rest[0].split(" in ")[0] for name, *rest in lines if name in STEPS}


def test_the_whole_guide_is_done_once(example: Path, hub: HubServer) -> None:
    done = run(example, hub)
    assert done.returncode == 0, done.stderr
    assert ended(done.stdout) == dict.fromkeys(STEPS, "finished")
    out = example.parent.parent / "out"
    rolled_out = json.loads((out / "cpu_run/rollout.json").read_text())
    best = json.loads((out / "cpu_run/evaluation.json").read_text())["best"]
    assert rolled_out["policy"] == best
    assert len(rolled_out["episodes"]) == 1
    assert (out / "cpu_videos/grid.mp4").stat().st_size > 0
    files = hub.repositories["model", "my-org/aloha-tiny"].files
    assert files["model.safetensors"] == Path(best, "model.safetensors").read_bytes()

    again = run(example, hub)
    assert again.returncode == 0, again.stderr
    skipped = dict.fromkeys(STEPS, "done before, skipped")
    assert ended(again.stdout) == {**skipped, "convert": "finished"}  # which looks for changed sources itself
