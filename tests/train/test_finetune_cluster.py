"""Runs on a Ray cluster that runs already: one that does not answer, a lost machine, variables, waiting."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from conftest import REPOSITORY, recipe_for
from millrace.engine.convert import Workers, convert
from millrace.engine.errors import ClusterFailed
from millrace.engine.execution.ray_session import ray_session
from millrace.engine.planning import ConversionPlan
from millrace.train.evaluate import evaluate, read_contenders
from millrace.train.evaluate_settings import EvaluateSettings
from millrace.train.run_folder import complete_checkpoints
from millrace.train.train_progress import MeterReading, Started, Waiting

pytest.importorskip("torch", reason="NOT TESTED: Ray Train needs torch: pip install '.[train]'")

from support.demonstrator import open_demonstrator, write_checkpoint
from support.ray_runs import events, run, settings_for, wait_for_checkpoint
from support.small_training import Holder, train_noting_environment
from support.synthetic import write_dataset

pytestmark = pytest.mark.cluster
VARIABLES = {"HF_TOKEN": "hf_7f3c9a5e1b", "NCCL_SOCKET_IFNAME": "lo,eth-7f3c", "WANDB_MODE": "offline"}


@pytest.fixture(scope="module", autouse=True)
def _importable_by_workers() -> Any:
    """Workers inherit the environment, not this process's sys.path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"), prepend=os.pathsep)
        yield


def test_a_cluster_that_does_not_answer_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(*args: object, **settings: object) -> None:
        raise ConnectionError("Timed out.\nmore")

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ClusterFailed, match=r"^no Ray cluster can be used at host:1 \(Timed out\); check that Ray .*$"):
        run(settings_for(tmp_path / "run", address="host:1"))
    assert "RAY_AUTH_MODE" not in os.environ  # a Ray that this process embeds later would want a token


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, Cluster]]:
    """As `killed`, on a cluster of which a machine with a worker was lost for another; the cluster still runs."""
    folder = tmp_path_factory.mktemp("runs") / "lost"
    # By default Ray waits 15 seconds before it gives a machine up.
    noticing = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": noticing})

    leaving = cluster.add_node(num_cpus=1)
    settings = settings_for(folder, max_steps=40, save_steps=10, max_failures=1, address=cluster.address)
    try:
        with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
            # The nodes run already: they do not inherit these.
            for name, value in VARIABLES.items():
                patch.setenv(name, value)
            training = pool.submit(run, settings, train_noting_environment)
            wait_for_checkpoint(folder, 10)
            cluster.remove_node(leaving, allow_graceful=False)
            while not events(folder, Waiting):
                assert not training.done(), training.result()
                time.sleep(0.1)
            cluster.add_node(num_cpus=1)
            yield folder, training.result(timeout=300), cluster
    finally:
        cluster.shutdown()


def test_a_lost_machine_is_replaced_and_training_resumes(lost: tuple[Path, str, Cluster]) -> None:
    folder, shown, _ = lost
    first, second = events(folder, Started)
    assert first.step == 0
    assert second.step >= 10
    after = [event.step for event in events(folder, MeterReading) if event.time > second.time]
    assert after == list(range(second.step + 1, 41))
    assert f"resuming at step {second.step} of 40 with 2 worker(s)" in shown
    assert [path.name for path in complete_checkpoints(folder)][-1] == "checkpoint-40"


def test_a_lost_machine_and_the_wait_for_another_are_told(lost: tuple[Path, str, Cluster]) -> None:
    shown = lost[1]
    lines = shown.splitlines()
    (failed,) = (line for line in lines if line.startswith("failed: "))
    assert "its process died: " in failed
    waiting = [line for line in lines if line.startswith("waiting for ") and "CPUs" in line]
    assert waiting == ["waiting for 2 CPUs: 1 of the cluster's 1 are free"]
    (resumed,) = (line for line in lines if line.startswith("resuming at step "))
    assert lines.index(failed) < lines.index(waiting[0]) < lines.index(resumed)


def test_workers_have_the_commands_variables_and_no_log_its_secrets(lost: tuple[Path, str, Cluster]) -> None:
    folder, _, cluster = lost
    for rank in range(2):
        found = json.loads((folder / f"environment-{rank}.json").read_text())
        assert {name: found.get(name) for name in VARIABLES} == VARIABLES
    logs = Path(cluster.head_node.get_session_dir_path())
    texts = [path.read_bytes() for path in logs.rglob("*") if path.is_file()]
    assert any(VARIABLES["NCCL_SOCKET_IFNAME"].encode() in text for text in texts)
    assert not any(VARIABLES["HF_TOKEN"].encode() in text for text in texts)


def test_a_running_cluster_is_left_as_it_was(lost: tuple[Path, str, Cluster]) -> None:
    cluster = lost[2]
    assert not ray.is_initialized()
    with ray_session(None, cluster.address):
        assert sum(node["Alive"] for node in ray.nodes()) == 2
        assert ray.available_resources()["CPU"] == 2


def test_a_conversion_says_that_it_waits_for_cores(lost: tuple[Path, str, Cluster], tmp_path: Path) -> None:
    """Others have all of them until it has said so."""
    cluster = lost[2]
    write_dataset(tmp_path / "source", lengths=(6,), fps=20)
    notes: list[str] = []
    with ray_session(None, cluster.address):
        others = [ray.remote(Holder).options(num_cpus=1).remote() for _ in range(2)]
        ray.get([other.hold.remote() for other in others])

        def on_plan(plan: ConversionPlan, num_done: int) -> None:
            notes.extend(plan.machine_notes)
            for other in others:
                ray.kill(other)

        recipe = recipe_for(tmp_path / "source", robot="aloha", horizon=2)
        summary = convert(recipe, tmp_path / "out", workers=Workers(address=cluster.address), on_plan=on_plan)
    assert notes == ["waiting for cores: none of the cluster's 2 is free"]
    assert summary.num_episodes == 1


def test_an_evaluation_says_that_it_waits_for_cores(
    lost: tuple[Path, str, Cluster], aloha_gr1: Path, tmp_path: Path
) -> None:
    cluster, notes = lost[2], list[str]()
    named = str(write_checkpoint(tmp_path / "checkpoint-0"))
    asked = EvaluateSettings(dataset=aloha_gr1, checkpoints=(named,), episodes=(0,), cpu=True, address=cluster.address)
    with ray_session(None, cluster.address):
        others = [ray.remote(Holder).options(num_cpus=1).remote() for _ in range(2)]
        ray.get([other.hold.remote() for other in others])

        def on_waiting(what: str) -> None:
            notes.append(what)
            for other in others:
                ray.kill(other)

        found = evaluate(asked, read_contenders(asked)[0], open_demonstrator, on_waiting=on_waiting)
        assert {group["state"] for group in placement_group_table().values()} <= {"REMOVED"}
    assert notes == ["1 CPU: 0 of the cluster's 2 are free"]
    assert found.checkpoints[0].total.mse == 0
