"""N1.7 from one dataset of ours to a served checkpoint: `millrace finetune`, evaluate and serve, with NVIDIA's model in
small on a CPU."""

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from n1d7 import HORIZON, finetune_n1d7, why_not, write_base_n1d7
from tiny import command, run_python

from conftest import convert_here
from millrace.train.episodes import EpisodeReader
from millrace.train.heldout import read_heldout
from millrace.train.open_loop import trace_episode
from millrace.train.preflight import preflight
from millrace.train.run_folder import checkpoint_step, complete_checkpoints, newest_checkpoint
from millrace.train.scores import Evaluation
from millrace.train.train_progress import MeterReading, Started
from millrace.train.training_dataset import TrainingDataset
from support.synthetic import write_dataset
from support.train_log import read_events
from support.training_setups import EVERYTHING, settings_of

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

WIDTHS = {"left_arm": 7, "left_hand": 6, "right_arm": 7, "right_hand": 6, "waist": 3}
CHECKPOINT_FILES = (
    *("COMPLETE", "config.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"),
    *("processor_config.json", "statistics.json", "embodiment_id.json"),
    *("experiment_cfg/conf.yaml", "experiment_cfg/config.yaml", "experiment_cfg/dataset_statistics.json"),
)
HERE = ("--num-gpus", 0, "--global-batch-size", 4, "--dataloader-num-workers", 1)
STEPS = ("--max-steps", 4, "--save-steps", 2)
ON_RAY = ("--num-gpus", 2, "--global-batch-size", 4, "--dataloader-num-workers", 1, "--max-failures", 1)
ON_RAY = (*ON_RAY, "--max-steps", 12, "--save-steps", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets `trained` and `heldout`, and the model `base`."""
    folder = tmp_path_factory.mktemp("n1d7")
    write_dataset(folder / "source", lengths=(150, 150, 150))  # at 50 Hz
    convert_here(folder / "source", folder / "trained", episodes="0,1")
    convert_here(folder / "source", folder / "heldout", episodes="2")
    write_base_n1d7(folder / "trained/modality_config.py", folder / "base")
    return folder


def train(folder: Path, name: str, *flags: object) -> Path:
    done = run_python(*finetune_n1d7(folder / "trained", folder / "base", folder / name, *flags), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / name


def readings(out: Path) -> list[MeterReading]:
    return [event for event in read_events(out) if isinstance(event, MeterReading)]


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """Four steps in one process with a loader process, measured on the held-out episode."""
    held_out = ("--eval-dataset", folder / "heldout", "--eval-samples", 6, "--eval-episodes", 1)
    return train(folder, "run", *HERE, *STEPS, *held_out)


def test_preflight_finds_nothing_wrong(folder: Path) -> None:
    settings = settings_of(folder / "trained", folder / "base", eval_dataset=folder / "heldout", eval_episodes=1)
    found = preflight(settings, machine=EVERYTHING)
    assert not found.problems
    assert found.plan is not None
    assert found.plan.model is not None


def test_four_steps_end_with_checkpoints_that_stand_alone(trained: Path) -> None:
    assert [reading.step for reading in readings(trained)] == [1, 2, 3, 4]
    assert all(math.isfinite(reading.loss) and reading.grad_norm > 0 for reading in readings(trained))
    checkpoints = complete_checkpoints(trained)
    assert [checkpoint_step(path) for path in checkpoints] == [2, 4]
    assert not [path / name for path in checkpoints for name in CHECKPOINT_FILES if not (path / name).exists()]


def test_the_held_out_loss_is_measured_at_each_checkpoint(trained: Path) -> None:
    for path in complete_checkpoints(trained):
        found = read_heldout(path)
        assert found is not None
        assert found.num_samples == 6
        assert math.isfinite(found.loss)
        assert set(found.group_mae) == set(WIDTHS)


def test_the_checkpoint_keeps_the_sizes_of_its_base_model_and_the_datasets_statistics(
    trained: Path, folder: Path
) -> None:
    last = trained / "checkpoint-4"
    before, after = (json.loads((path / "config.json").read_text()) for path in (folder / "base", last))
    for name in ("model_name", "action_horizon", "max_action_dim", "backbone_embedding_dim", "select_layer"):
        assert after[name] == before[name]
    kwargs = json.loads((last / "processor_config.json").read_text())["processor_kwargs"]
    assert kwargs["max_action_horizon"] == HORIZON
    assert kwargs["use_percentiles"]
    assert kwargs["state_dropout_prob"] == 0.2  # the launcher's default; the base model has 0
    saved = json.loads((last / "statistics.json").read_text())["new_embodiment"]["state"]["left_arm"]
    own = json.loads((folder / "trained/meta/stats.json").read_text())["observation.state"]
    arm = json.loads((folder / "trained/meta/modality.json").read_text())["state"]["left_arm"]
    for name in ("q01", "q99", "min", "max"):
        np.testing.assert_allclose(saved[name], own[name][arm["start"] : arm["end"]], rtol=1e-6)


def test_losses_are_those_with_gr00ts_own_loader(trained: Path, folder: Path) -> None:
    """To the last digit."""
    by_stock = train(folder, "by_stock", *HERE, *STEPS, "--stock-loader")
    assert [reading.loss for reading in readings(by_stock)] == [reading.loss for reading in readings(trained)]


def test_weights_may_be_new_ones_of_the_base_models_sizes(trained: Path, folder: Path) -> None:
    fresh = train(folder, "fresh", *HERE, "--max-steps", 1, "--save-steps", 1, "--skip-weight-loading")
    (reading,) = readings(fresh)
    assert math.isfinite(reading.loss)
    assert reading.loss != readings(trained)[0].loss
    sizes = [(path / "model.safetensors").stat().st_size for path in (fresh / "checkpoint-1", trained / "checkpoint-4")]
    assert sizes[0] == sizes[1]


def test_a_resumed_run_goes_on_from_its_checkpoint(folder: Path) -> None:
    first = train(folder, "resumed", *HERE, "--max-steps", 2, "--save-steps", 2)
    train(folder, "resumed", *HERE, *STEPS)
    assert [event.step for event in read_events(first) if isinstance(event, Started)] == [0, 2]
    assert [checkpoint_step(path) for path in complete_checkpoints(first)] == [2, 4]


def test_a_reloaded_checkpoint_gives_an_action_chunk_and_its_errors(trained: Path, folder: Path) -> None:
    report = folder / "evaluation.json"
    flags = ("--cpu", "--num-gpus", 0, "--json", report)
    done = run_python("-m", "millrace", "evaluate", trained, folder / "heldout", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = Evaluation.model_validate_json(report.read_bytes())
    assert [Path(scored.checkpoint).name for scored in found.checkpoints] == ["checkpoint-2", "checkpoint-4"]
    for scored in found.checkpoints:
        assert scored.embodiment_tag == "new_embodiment"
        assert tuple(scored.groups) == tuple(WIDTHS)
        assert math.isfinite(scored.total.mse)


def test_the_open_loop_error_while_training_is_that_of_its_policy(
    trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the precision of training: NVIDIA's policy has its weights and observations in bfloat16."""
    import torch
    from gr00t.policy import gr00t_policy
    from safetensors.torch import load_file

    from millrace.train.groot.policy import CheckpointPolicy

    checkpoint = trained / "checkpoint-4"
    policy = CheckpointPolicy(str(checkpoint), "new_embodiment", cpu=True)
    model = policy._policy.model.to(torch.float32)
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=False)
    monkeypatch.setattr(gr00t_policy, "_rec_to_dtype", lambda values, dtype: values)
    reader = EpisodeReader(TrainingDataset.open(folder / "heldout"), policy.config, policy.read_frames)
    total = trace_episode(policy, reader, 0, horizon=HORIZON).score().total
    measured = read_heldout(checkpoint)
    assert measured is not None
    np.testing.assert_allclose((measured.mse, measured.mae), (total.mse, total.mae), rtol=1e-5)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(trained: Path, *own: str) -> Iterator[int]:
    """The port of a server of the last checkpoint, which wants a token."""
    port = free_port()
    flags = ("--device", "cpu", "--port", port, "--api-token-env", "POLICY_TOKEN", *own)
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "POLICY_TOKEN": "7f3c9a5e1b"}
    line = command("-m", "millrace", "serve", trained / "checkpoint-4", *flags)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            if not any("ready" in said for said in process.stdout):
                raise AssertionError(process.communicate())
            yield port
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[int]:
    with served(trained) as port:
        yield port


def test_the_checkpoint_acts_in_the_robots_own_joints_at_its_own_rate(trained: Path) -> None:
    """And NVIDIA's own client of N1.7 is answered."""
    from gr00t.policy.server_client import PolicyClient as GrootClient

    from millrace.client import PolicyClient

    own = {"left_arm": 6, "left_gripper": 1, "right_arm": 6, "right_gripper": 1}
    state = {name: np.full(width, 0.2, np.float32) for name, width in own.items()}
    image = np.zeros((480, 640, 3), np.uint8)
    with served(trained, "--robot", "aloha") as port:
        with PolicyClient("127.0.0.1", port, token="7f3c9a5e1b", timeout_seconds=60) as policy:
            assert policy.names()["action"] == policy.names()["state"] == tuple(own)
            actions = policy.act(images={"top": image}, state=state, instruction="pick up the cube")
            assert policy.control_hz == 50
        assert {name: values.shape for name, values in actions.items()} == {n: (40, w) for n, w in own.items()}
        assert all(np.isfinite(values).all() for values in actions.values())
        client = GrootClient("127.0.0.1", port, api_token="7f3c9a5e1b")
        assert client.get_modality_config()["action"].modality_keys == list(own)


def test_groots_client_gets_an_action_chunk_of_every_group(server: int) -> None:
    from gr00t.policy.server_client import PolicyClient

    client = PolicyClient("127.0.0.1", server, api_token="7f3c9a5e1b")
    assert client.ping()
    observation = {
        "video": {"ego_view": np.zeros((1, 1, 64, 64, 3), np.uint8)},
        "state": {name: np.zeros((1, 1, width), np.float32) for name, width in WIDTHS.items()},
        "language": {"annotation.human.task_description": [["pick up the cube"]]},
    }
    actions, _ = client.get_action(observation)
    assert {name: values.shape for name, values in actions.items()} == {n: (1, HORIZON, w) for n, w in WIDTHS.items()}
    assert all(np.isfinite(values).all() for values in actions.values())


def test_a_running_server_is_scored(server: int, folder: Path) -> None:
    flags = ("--server", f"127.0.0.1:{server}", "--api-token-env", "POLICY_TOKEN")
    environment = os.environ | {"POLICY_TOKEN": "7f3c9a5e1b"}
    done = run_python("-m", "millrace", "evaluate", folder / "heldout", *flags, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"{HORIZON} of each chunk" in done.stdout


def wait_until(is_true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 400
    while not is_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def starts(out: Path) -> list[Started]:
    return [event for event in read_events(out) if isinstance(event, Started)]


@pytest.fixture(scope="module")
def on_ray(folder: Path) -> Path:
    """Two gloo workers with loaders, of which one is killed after the first checkpoint."""
    out = folder / "on_ray"
    line = command(*finetune_n1d7(folder / "trained", folder / "base", out, *ON_RAY))
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: newest_checkpoint(out) is not None, process)
        os.kill(starts(out)[-1].workers[1].pid, signal.SIGKILL)
        _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    return out


def test_two_workers_go_on_from_a_checkpoint_after_one_is_killed(on_ray: Path) -> None:
    first, second = starts(on_ray)
    assert first.step == 0
    assert second.step >= 4
    assert len(second.workers) == 2
    again = [reading for reading in readings(on_ray) if reading.time > second.time]
    assert [reading.step for reading in again] == list(range(second.step + 1, 13))
    assert all(math.isfinite(reading.loss) and len(reading.ranks) == 2 for reading in again)
    # That both workers hold the same weights is checked before a checkpoint is marked complete.
    checkpoints = complete_checkpoints(on_ray)
    assert checkpoint_step(checkpoints[-1]) == 12
    assert not [path / name for path in checkpoints for name in CHECKPOINT_FILES if not (path / name).exists()]


def test_a_checkpoint_of_two_workers_is_evaluated(on_ray: Path, folder: Path) -> None:
    flags = ("--cpu", "--num-gpus", 0)
    done = run_python("-m", "millrace", "evaluate", on_ray / "checkpoint-12", folder / "heldout", *flags)
    assert done.returncode == 0, done.stderr


def test_a_base_model_of_another_release_is_refused(folder: Path, tmp_path: Path) -> None:
    other: dict[str, Any] = json.loads((folder / "base/config.json").read_text())
    (tmp_path / "other").mkdir()
    for path in (folder / "base").iterdir():
        if path.suffix == ".json":
            (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "other/config.json").write_text(json.dumps({**other, "model_type": "Gr00tN1d6"}))
    done = run_python(*finetune_n1d7(folder / "trained", tmp_path / "other", tmp_path / "run", *HERE, *STEPS))
    assert done.returncode == 1
    assert "is of the type 'Gr00tN1d6', N1.7's is 'Gr00tN1d7': it is a model of N1.6" in done.stderr
