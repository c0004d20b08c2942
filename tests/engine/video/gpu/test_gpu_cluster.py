"""Nodes of a Ray cluster that cannot do what a GPU's dataset takes are named, before anything is begun."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray

from conftest import recipe_for
from millrace.engine.convert import convert
from millrace.engine.execution.cluster import alive_nodes, ask_node, probe_nodes
from millrace.engine.execution.devices import choose, cores_torch_problem
from millrace.engine.execution.diagnosis import auto_choices
from millrace.engine.execution.episode_worker import AREA_MEMORY_BYTES, WORKER_MEMORY_BYTES, worker_memory_bytes
from millrace.engine.execution.workers import Workers
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.planner import prepare_recipe
from millrace.engine.video.backends import CPU_BACKENDS, Backends, Gpu
from millrace.engine.video.gpu.probe_gpu import DEFAULT_SETTINGS
from millrace.engine.video.gpu.report import CODECS, ENCODE, RESIZE, GpuReport, NoGpuStage, StageCheck, decode_stage
from support.plans import plan_with

pytestmark = pytest.mark.cluster
AREA = Backends(resize="area", card="NVIDIA H200", driver="570.86")
NVENC = Backends(resize="area", encoder="h264_nvenc", card="NVIDIA L4", driver="570.86")
CLUSTER = Workers(address="auto")
GPU = Gpu(codecs=("h264",))
WITHOUT_ENCODER = GpuReport(
    node="node7",
    has_gpu=True,
    card="NVIDIA H200",
    driver="570.86",
    checks=(
        *(StageCheck(stage=stage) for stage in (*map(decode_stage, CODECS), RESIZE)),
        StageCheck(stage=ENCODE, problem="none"),
    ),
)


@contextmanager
def nodes_without(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray whose workers cannot import a package; it knows of a GPU."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(f"raise ImportError('no {package} on this node')\n")
    with monkeypatch.context() as environment:
        environment.setenv("PYTHONPATH", str(folder), prepend=":")
        ray.init("local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


@ray.remote(num_cpus=0, num_gpus=1)
class Tenant:
    """Holds the GPU, as others' work does."""

    def begin(self) -> None:
        """Returns once the GPU is taken."""


class Begun(Exception):
    """A run got as far as its first episode."""


def test_cores_without_torch_and_gpus_of_others_are_told(
    aloha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nodes_without("torch", tmp_path, monkeypatch):
        assert cores_torch_problem(CPU_BACKENDS, None, CLUSTER) is None
        assert cores_torch_problem(NVENC, GPU, CLUSTER) is None, "NVENC leaves cores alone nothing to do"
        (node,) = ray.nodes()
        told = rf"{node['NodeManagerHostname']}: torch (cannot be imported \(no torch on this node\)|is not installed)"
        with pytest.raises(NoGpuStage, match=rf"was created with area and libx264 .*needs torch, too: {told}"):
            choose(prepare_recipe(recipe_for(aloha)), "auto", CLUSTER, created=AREA)
        assert {choice.resize for choice in auto_choices([WITHOUT_ENCODER]) if choice.codec == "av1"} == {"GPU"}
        assert {choice.resize for choice in auto_choices([WITHOUT_ENCODER], CLUSTER)} == {"CPU"}, "as a run would"

        tenant = Tenant.remote()
        ray.get(tenant.begin.remote())
        (report,) = probe_nodes(DEFAULT_SETTINGS, gpu_share=0.5, timeout_seconds=0.5)
        assert report.problem("encode") == "no answer within 0.5 s: its GPU is taken, or the driver hangs"


def test_a_probe_that_fails_says_why_and_so_does_a_run_that_uses_no_gpu(
    aloha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    def stop(plan: ConversionPlan, num_done: int) -> None:
        notes.extend(plan.machine_notes)
        raise Begun

    with nodes_without("av", tmp_path, monkeypatch):
        (report,) = probe_nodes(DEFAULT_SETTINGS, gpu_share=0.5)
        with pytest.raises(Begun):
            convert(recipe_for(aloha), tmp_path / "out", workers=CLUSTER, on_plan=stop)
    assert "no av on this node" in str(report.problem("encode"))
    assert f"videos are converted on the CPU: the GPU of {report.node}: {report.failed}" in notes


@pytest.fixture(scope="module")
def named_gpu() -> Iterator[None]:
    """A Ray that is told of a GPU; after the tests above, which each start another."""
    ray.init("local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("named_gpu")
def test_every_node_of_a_cluster_is_asked() -> None:
    """A GPU that is there in name only is found out."""
    (report,) = probe_nodes(DEFAULT_SETTINGS, gpu_share=0.5)
    assert report.has_gpu, "Ray says so, and workers would go there"
    assert (report.card is None) == bool(report.missing)


@pytest.mark.usefixtures("named_gpu")
def test_what_asks_a_node_leaves_no_process_there() -> None:
    def own_number() -> int:
        return os.getpid()

    for num_gpus in (0, 0.5):
        number = ray.get(ask_node(alive_nodes()[0], own_number, num_gpus=num_gpus))
        assert has_ended(number, within_seconds=10)


def has_ended(process: int, *, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_worker_reserves_the_memory_of_its_way_to_resize(aloha: Path) -> None:
    assert worker_memory_bytes(plan_with(recipe_for(aloha), CPU_BACKENDS).job) == WORKER_MEMORY_BYTES
    assert worker_memory_bytes(plan_with(recipe_for(aloha), AREA).job) == AREA_MEMORY_BYTES > WORKER_MEMORY_BYTES
