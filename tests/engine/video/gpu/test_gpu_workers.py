"""Workers with a GPU and workers with a core alone at one dataset: each has a part, and what is lost is done again."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import pytest
import ray
from ray.cluster_utils import Cluster

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.dataset.record import LEDGER_LINE, EpisodeRecord
from millrace.engine.errors import GpuLost
from millrace.engine.execution import actors as mixed
from millrace.engine.execution.actors import LOST, Pools, pools, with_sessions
from millrace.engine.execution.workers import Workers
from millrace.engine.layout import LEDGER
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.run import run_plan
from millrace.engine.video.backends import Backends, Gpu
from millrace.engine.video.gpu import hardware
from support.plans import plan_with
from support.synthetic import write_dataset
from support.waylaid import doing, end_node, kill, taken, wait_for

if problem := hardware.torch_problem():
    pytest.skip(f"area means need torch and torchvision: {problem}", allow_module_level=True)

AREA = Backends(resize="area", card="NVIDIA H200", driver="570.86")
NVENC = Backends(resize="area", encoder="h264_nvenc", card="NVIDIA L4", driver="570.86")
ON_TENSORS = Gpu(device="cpu")
NUM_EPISODES = 4
# By default Ray waits 15 seconds before it gives a node up.
NOTICING = {"health_check_period_ms": 500, "health_check_failure_threshold": 6}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workers") / "source"
    write_dataset(root, lengths=(21,) * NUM_EPISODES, cameras=("top", "wrist"))
    return root


@pytest.fixture(scope="module")
def area(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset whose resize a GPU could do, made without one."""
    out = tmp_path_factory.mktemp("area") / "out"
    run(planned(source, AREA), out, LOCAL)
    return files_of(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The driver's node, which has a core."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": NOTICING})
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def raylet(cluster: Cluster) -> Iterator[int]:
    """Ray's process on another node, which has a core and, as far as Ray knows, a GPU."""
    node = cluster.add_node(num_cpus=1, num_gpus=1)
    yield node.all_processes["raylet"][0].process.pid
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


def planned(source: Path, stages: Backends, gpu: Gpu | None = None) -> ConversionPlan:
    recipe = recipe_for(source, robot="aloha", horizon=4, image_size=48)
    return plan_with(recipe, stages, gpu)


def run(plan: ConversionPlan, out: Path, workers: Workers) -> None:
    run_plan(plan, out, workers=workers, started=perf_counter())


def on_cluster(num_workers: int) -> Workers:
    return Workers(num=num_workers, address="auto", gpu_share=1)


def redone(out: Path) -> dict[int, dict[str, str]]:
    """By episode why its clips were not made on a GPU, in that order."""
    lines = map(LEDGER_LINE.validate_json, (out / LEDGER).read_text().splitlines()[1:])
    return dict(sorted((line.index, line.redone) for line in lines if isinstance(line, EpisodeRecord)))


@pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")
def test_both_kinds_of_workers_have_a_part_in_the_dataset_that_cores_alone_make(
    source: Path, area: dict[str, bytes], tmp_path: Path, raylet: int
) -> None:
    """Whoever begins episode 0 goes on only when the other has done one; without a GPU, NVDEC is refused and told."""
    out = tmp_path / "out"
    with doing(source, out, [partial(wait_for, out / LEDGER, 2)]):
        run(planned(source, AREA, Gpu(codecs=("av1",))), out, on_cluster(2))
    assert files_of(out) == area
    assert {bool(why) for why in redone(out).values()} == {True, False}


def test_what_a_worker_with_a_gpu_dies_over_is_left_to_cores(
    source: Path, area: dict[str, bytes], tmp_path: Path, raylet: int
) -> None:
    """A core that is killed over it, too, is replaced."""
    out = tmp_path / "out"
    with doing(source, out, [partial(kill, signal.SIGKILL)] * 2) as done:
        run(planned(source, AREA, ON_TENSORS), out, on_cluster(1))
    assert len(taken(done)) == 2
    assert files_of(out) == area
    first, *others = redone(out).values()
    assert first == dict.fromkeys(("top", "wrist"), LOST)
    assert others == [{}] * (NUM_EPISODES - 1)


def test_a_gpu_whose_node_leaves_midway_is_replaced_by_cores(
    source: Path, area: dict[str, bytes], tmp_path: Path, raylet: int
) -> None:
    """The only worker has the GPU, and goes with it."""
    out = tmp_path / "out"
    with doing(source, out, [partial(end_node, raylet)]) as done:
        run(planned(source, AREA, ON_TENSORS), out, on_cluster(1))
    assert len(taken(done)) == 1
    assert files_of(out) == area
    first, *others = redone(out).values()
    assert first == dict.fromkeys(("top", "wrist"), LOST)
    assert others == [{}] * (NUM_EPISODES - 1)


def test_what_nvenc_began_ends_in_an_error_if_its_node_leaves(source: Path, tmp_path: Path, raylet: int) -> None:
    out = tmp_path / "out"
    told = rf"^{NUM_EPISODES} episodes are left, and no worker .* h264_nvenc \(NVIDIA L4.*Run the same command"
    with doing(source, out, [partial(end_node, raylet)], camera="top"), pytest.raises(GpuLost, match=told):
        run(planned(source, NVENC, ON_TENSORS), out, on_cluster(1))
    assert not (out / "meta").exists()


@ray.remote(num_cpus=0, num_gpus=1)
class Tenant:
    """Has the GPU, as others' work does."""

    def begin(self) -> None:
        """Returns once the GPU is taken."""


def test_a_gpu_that_others_keep_is_not_waited_for_for_ever(
    source: Path, tmp_path: Path, raylet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed, "PLACING_SECONDS", 1.0)
    tenant = Tenant.remote()
    ray.get(tenant.begin.remote())
    with pytest.raises(GpuLost, match=rf"^{NUM_EPISODES} episodes are left, and no worker could have a GPU"):
        run(planned(source, NVENC, ON_TENSORS), tmp_path / "out", on_cluster(1))


@pytest.mark.parametrize(
    ("nodes", "workers", "needs_gpu", "expected"),
    [
        ([{"CPU": 16, "GPU": 1}], Workers(), False, (8, 8)),
        ([{"CPU": 16, "GPU": 1}], Workers(), True, (8, 0)),
        ([{"CPU": 4, "GPU": 2}], Workers(), False, (4, 0)),
        ([{"CPU": 4, "GPU": 1}, {"CPU": 9}], Workers(), False, (4, 9)),
        ([{"CPU": 4, "GPU": 1}, {"CPU": 64}], Workers(), False, (4, 16)),
        ([{"CPU": 16, "GPU": 1}], Workers(num=2, gpu_share=1), False, (1, 1)),
        ([{"CPU": 64, "GPU": 1}], Workers(), False, (8, 12)),
        ([{"CPU": 16, "GPU": 1, "memory": 10 << 30}], Workers(), False, (3, 1)),
        ([{"CPU": 2}], Workers(), False, (0, 2)),
        ([{"CPU": 2, "memory": 1}], Workers(), False, (0, 1)),
        ([{"CPU": 2}], Workers(), True, (0, 0)),
    ],
)
def test_shares_cores_and_memory_of_each_node_bound_the_workers(
    nodes: list[dict[str, float]], workers: Workers, needs_gpu: bool, expected: tuple[int, int]
) -> None:
    assert pools(nodes, workers, num_plans=20, needs_gpu=needs_gpu) == Pools(*expected)


def test_sessions_of_nvenc_bound_the_workers_of_a_card() -> None:
    assert with_sessions(Workers(), None) == with_sessions(Workers(), Gpu(num_sessions=8)) == Workers()
    assert with_sessions(Workers(gpu_share=0.05), Gpu(num_sessions=8)).gpu_share == 0.05, "no bound was found"
    assert with_sessions(Workers(), Gpu(num_sessions=0)).gpu_share == 1
    for num_sessions in range(1, 8):
        bounded = with_sessions(Workers(), Gpu(num_sessions=num_sessions))
        assert bounded.gpu_share * num_sessions <= 1
        assert pools([{"CPU": 16, "GPU": 1}], bounded, num_plans=20, needs_gpu=True) == Pools(num_sessions, 0)
    assert with_sessions(Workers(gpu_share=0.5), Gpu(num_sessions=5)) == Workers(gpu_share=0.5)
