"""Probe and check the nodes of a Ray cluster, each on the node itself."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.errors import NodesDiffer
from millrace.engine.execution.node import Shared, collect_shared, node_problems
from millrace.engine.execution.ray_session import LACKS
from millrace.engine.planning import EpisodePlan
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.gpu import hardware
from millrace.engine.video.gpu.isolation import LIMIT_SECONDS
from millrace.engine.video.gpu.probe_gpu import probe_gpu
from millrace.engine.video.gpu.report import GpuReport

# A node's libraries may take half a minute to import from a slow disk, and minutes to install where they are sent.
NODE_SECONDS, INSTALL_SECONDS = 120.0, 900.0
# Also within a text that another program quotes.
PIP_ERROR = re.compile(r"ERROR: ([^\n\\]+)")
GPU_IS_LATE = "its GPU is taken, or the driver hangs"


def check_nodes(plans: Sequence[EpisodePlan], scratch: Path, *, timeout_seconds: float = NODE_SECONDS) -> Shared:
    """Check that every node with cores has the driver's sources, output folder and libraries.

    A node that joins later is checked by its workers, with what is returned.

    Args:
        plans: What is to be converted.
        scratch: The run's own folder, below the output.
        timeout_seconds: For all nodes together.

    Raises:
        NodesDiffer: a line for each node that does not, and why.
    """
    nodes = [node for node in alive_nodes() if has(node, "CPU")]
    shared = collect_shared(plans, scratch)
    asked = [ask_node(node, node_problems, shared, has_own_process=False) for node in nodes]
    answers = _answers(asked, timeout_seconds, late="it is overloaded, or one of its disks hangs")
    left = {node["NodeID"] for node in alive_nodes()}
    lines = [
        Message(f"node {_name(node)} ({node['NodeManagerAddress']}) ", problem)
        for node, answer in zip(nodes, answers, strict=True)
        if node["NodeID"] in left  # one that has left meanwhile converts nothing
        for problem in ([answer.why] if isinstance(answer, _NoAnswer) else answer)
    ]
    if lines:
        raise NodesDiffer(lines, ["nothing was converted: fix these nodes, or remove them from the cluster"])
    return shared


@dataclass(frozen=True)
class _NoAnswer:
    """Why a node did not answer."""

    why: str


def probe_nodes(
    settings: VideoSettings, *, gpu_share: float, only_gpus: bool = True, timeout_seconds: float = LIMIT_SECONDS
) -> list[GpuReport]:
    """A report of every node of the Ray that this process is connected to.

    A driver that crashes takes the probe's process with it, not this one.

    Args:
        settings: Of the output.
        gpu_share: Of a GPU, as workers will have it: Ray shows a process no more of the machine.
        only_gpus: Leave out nodes that say of themselves that they have none.
        timeout_seconds: For all nodes together, as a GPU that others have taken may stay taken for days; one that has
            not answered by then is told as such.
    """
    nodes = [node for node in alive_nodes() if not only_gpus or has(node, "GPU")]
    shares = [gpu_share if has(node, "GPU") else 0 for node in nodes]
    asked = [
        ask_node(node, probe_gpu, settings, node=_name(node), num_gpus=share)
        for node, share in zip(nodes, shares, strict=True)
    ]
    answers = _answers(asked, timeout_seconds)
    return [_report(node, answer) for node, answer in zip(nodes, answers, strict=True)]


def _report(node: dict[str, Any], answer: Any) -> GpuReport:
    """Ray's account of a GPU counts: workers go where that has one."""
    if isinstance(answer, _NoAnswer):
        answer = GpuReport(node=_name(node), failed=answer.why)
    report: GpuReport = answer.model_copy(update={"has_gpu": has(node, "GPU")})
    return report


def nodes_torch_problem(*, timeout_seconds: float = LIMIT_SECONDS) -> str | None:
    """The first node that has cores for workers but cannot take area means, and why; None if all can."""
    nodes = [node for node in alive_nodes() if has(node, "CPU")]
    answers = _answers([ask_node(node, hardware.torch_problem) for node in nodes], timeout_seconds)
    for node, answer in zip(nodes, answers, strict=True):
        if answer is not None:
            return f"{_name(node)}: {answer.why if isinstance(answer, _NoAnswer) else answer}"
    return None


def ask_node(
    where: dict[str, Any],
    question: Callable[..., Any],
    *args: Any,
    num_gpus: float = 0,
    has_own_process: bool = True,
    **settings: Any,
) -> Any:
    """Ray's reference to what a function returns there.

    Its own process ends with it, as it may hold memory of a card; else Ray uses that again, which is cheaper.
    """
    there = NodeAffinitySchedulingStrategy(where["NodeID"], soft=False)
    remote = ray.remote(max_calls=1)(question) if has_own_process else ray.remote(question)  # options() would drop it
    task = remote.options(num_cpus=0, num_gpus=num_gpus, max_retries=0, scheduling_strategy=there)
    return task.remote(*args, **settings)


def alive_nodes() -> list[dict[str, Any]]:
    """The live nodes of the Ray cluster that this process is connected to."""
    return [node for node in ray.nodes() if node["Alive"]]


def has(node: dict[str, Any], resource: str) -> bool:
    """Whether a node declares a resource, in use or not."""
    return bool(node["Resources"].get(resource, 0) > 0)


def _name(node: dict[str, Any]) -> str:
    return str(node["NodeManagerHostname"])


def _answers(asked: Sequence[Any], timeout_seconds: float, *, late: str = GPU_IS_LATE) -> list[Any]:
    """What each task returned, or why it did not; late: what keeps one."""
    if not asked:
        return []
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_seconds)
    return [_answer(task, None if task in answered else f"{timeout_seconds:g} s: {late}") for task in asked]


def _answer(task: Any, late: str | None) -> Any:
    if late is not None:
        ray.cancel(task, force=True)
        return _NoAnswer(f"no answer within {late}")
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if lacks := LACKS.search(str(error)):
            package = lacks[1].partition(".")[0]
            return _NoAnswer(Message(f"lacks the Python module {package}: ", _install(package)))
        told = " ".join(str(error.cause).split())
        return _NoAnswer(f"the probe failed with {type(error.cause).__name__}: {told}")
    except ray.exceptions.RuntimeEnvSetupError as error:
        advice = Remedy("install them there by hand, or give the node a package index that pip reaches")
        return _NoAnswer(Message(f"cannot install what was sent along ({_pip_reason(str(error))}): ", advice))
    except ray.exceptions.RayError as error:  # its process died
        return _NoAnswer(f"the probe ended with {type(error).__name__}: the driver or a library is broken")


def _install(package: str) -> Remedy:
    sent = "code" if package == "millrace" else "libraries"
    setting = Setting("ship", sent, call="Workers")
    return Remedy("install the same Millrace on every node, or for a conversion send it along: ", setting)


def _pip_reason(text: str) -> str:
    """What pip says last of what is wrong, or the last line of all."""
    told = PIP_ERROR.findall(text) or [line.strip() for line in text.splitlines() if line.strip()]
    return told[-1][:300] if told else "no reason given"
