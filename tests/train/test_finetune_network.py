"""Training on nodes with networks of their own: workers on both, and a node that is lost and replaced."""

import os
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

pytest.importorskip("torch", reason="NOT TESTED: Ray Train needs torch: pip install '.[train]'")

from millrace.train.run_folder import complete_checkpoints
from millrace.train.train_progress import MeterReading, Started, Waiting
from support.network_nodes import HEAD_PORT, make_network, wait_for
from support.ray_runs import events

pytestmark = pytest.mark.cluster
TRAIN = """
import sys
from pathlib import Path
from support.ray_runs import run, settings_for

steps = {"max_steps": 40, "save_steps": 10, "max_failures": 1}
print(run(settings_for(Path(sys.argv[1]), address=sys.argv[2], **steps)))
"""


def test_two_nodes_train_and_a_lost_one_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    paths = [str(REPOSITORY / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "GLOO_SOCKET_IFNAME": "eth0"}
    with make_network() as network:
        head = network.add("head", environment)
        head.start_ray(num_cpus=0)
        for name in ("first", "second"):
            network.add(name, environment).start_ray(head=head, num_cpus=1)
        process = head.start(sys.executable, "-c", TRAIN, folder, f"{head.address}:{HEAD_PORT}")
        wait_for(
            lambda: (folder / "checkpoint-10/COMPLETE").exists() or process.poll() is not None,
            what="a checkpoint",
            seconds=300,
        )
        assert process.poll() is None, process.communicate()
        network.nodes[2].kill()
        wait_for(lambda: events(folder, Waiting) or process.poll() is not None, what="a wait for a node", seconds=300)
        network.add("third", environment).start_ray(head=head, num_cpus=1)
        shown, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    first, second = events(folder, Started)
    assert {worker.host for worker in first.workers} == {"first", "second"}
    assert {worker.host for worker in second.workers} == {"first", "third"}
    assert second.step >= 10
    after = [event.step for event in events(folder, MeterReading) if event.time > second.time]
    assert after == list(range(second.step + 1, 41))
    assert f"resuming at step {second.step} of 40" in shown
    assert [path.name for path in complete_checkpoints(folder)][-1] == "checkpoint-40"
