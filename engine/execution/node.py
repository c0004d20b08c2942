"""What a node of a cluster must share with the driver: the sources, OUT, and the libraries that decide bytes."""

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.about import VERSION, code_digest, installed_version
from millrace.engine.errors import NodesDiffer, StoreError
from millrace.engine.layout import OUTPUT_VERSION, WORK
from millrace.engine.output.versions import byte_versions
from millrace.engine.planning import EpisodePlan
from millrace.engine.sources import FileState
from millrace.engine.sources.file_state import is_missing, why_changed
from millrace.engine.stored import find_store_address
from millrace.engine.stored.objects import Objects
from millrace.engine.stored.store_mark import mark_folder
from millrace.engine.stores.address import StoreAddress

TOKEN = "token"
# Of the sources, looked at on each node before work; each worker looks at all files of each episode that it gets.
MAX_SAMPLED_EPISODES = 16
# Libraries that pip installs in a version; FFmpeg's come with PyAV.
PIP_LIBRARIES = ("av", "numpy", "pyarrow")


@dataclass(frozen=True)
class Shared:
    """What the driver has.

    versions: by library. files: some of the sources'. folder: the run's, which holds token. store: where the dataset
    lies for which the output folder stands, if it does.
    """

    versions: Mapping[str, str | None]
    files: tuple[tuple[Path, FileState], ...]
    folder: Path
    token: str
    store: StoreAddress | None = None


def collect_shared(plans: Sequence[EpisodePlan], folder: Path) -> Shared:
    """What this process has; writes a token into the run's own folder."""
    step = -(-len(plans) // MAX_SAMPLED_EPISODES)
    sampled = [*plans[::step], plans[-1]]
    files = {path: state for plan in sampled for path, state in zip(plan.episode.paths, plan.states, strict=False)}
    token = uuid4().hex
    (folder / TOKEN).write_text(token)
    return Shared(node_versions(), tuple(files.items()), folder, token, find_store_address(_output_of(folder)))


def node_versions() -> dict[str, str | None]:
    """Whatever code takes part in an output's bytes, and Python, as results are pickled between processes."""
    python = ".".join(map(str, sys.version_info[:2]))
    code = f"{VERSION} (output {OUTPUT_VERSION}, code {code_digest()})"
    return {"millrace": code, "python": python, "av": installed_version("av"), **byte_versions()}


def node_problems(shared: Shared) -> list[str]:
    """What this machine lacks, or has otherwise than the driver."""
    problems: list[str] = [*_version_problems(shared.versions)]
    problems += list(_folder_problems(shared))[:1]
    return problems + list(_file_problems(shared.files))[:1]


def _output_of(folder: Path) -> Path:
    """The output folder of a run's own, OUT/.millrace/run-..."""
    return folder.parent.parent


def check_this_node(shared: Shared) -> None:
    """Check the machine of a worker, which may have joined the cluster after all others were checked.

    A file that is missing may have been deleted meanwhile, which its episode says; all of them are a disk.

    Raises:
        NodesDiffer: its results would be other bytes, or go elsewhere.
    """
    problems = [*_version_problems(shared.versions)] or list(_folder_problems(shared))[:1]
    seen = [path for path, state in shared.files if state.is_seen]
    if not problems and seen and all(map(is_missing, seen)):
        problems = [_does_not_see(seen[0])]
    if problems:
        where = f"node {socket.gethostname()}, which joined during the run, "
        advice = Remedy("fix this node, or remove it from the cluster; then the same command continues")
        raise NodesDiffer([Message(where, problem) for problem in problems], [advice])


def _version_problems(expected: Mapping[str, str | None]) -> Iterator[Message]:
    """What has another version here, in one message with what to do."""
    own = node_versions()
    other = [name for name, version in expected.items() if own.get(name) != version]
    codecs = set(own) - {"millrace", "python", *PIP_LIBRARIES}
    told = [name for name in other if name not in codecs or "av" not in other]  # another PyAV has other codecs
    if told:
        have = ", ".join(f"{name} {own.get(name)}, not {expected[name]}" for name in told)
        yield Message(f"has {have}: ", _version_remedy(told, expected))


def _version_remedy(other: Sequence[str], expected: Mapping[str, str | None]) -> Remedy:
    pins = [f"{name}=={expected[name]}" for name in PIP_LIBRARIES if name in other and expected[name] is not None]
    steps = [f"start its Ray with Python {expected['python']}"] if "python" in other else []
    steps += ["install the same Millrace there"] if "millrace" in other else []
    steps += [f"run `pip install {' '.join(pins)}` there"] if pins else []
    if not steps:
        return Remedy("install the same build of PyAV there")
    if "python" in other:
        return Remedy(" and ".join(steps))
    setting = Setting("ship", "libraries" if pins else "code", call="Workers")
    return Remedy(" and ".join(steps), ", or send it along: ", setting)


def _folder_problems(shared: Shared) -> Iterator[str]:
    """Whether OUT is the same folder, or stands for the same dataset in a store, and may be written to."""
    folder = shared.folder
    if shared.store is not None and not (folder / TOKEN).is_file():
        yield from _store_problems(folder, shared.store)
        return
    try:
        if (folder / TOKEN).read_text() != shared.token:
            yield f"sees another folder at {folder} than the driver"
            return
        probe = folder / f"{uuid4().hex}.probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield f"cannot use the output folder ({error.strerror}: {folder}); it must be shared by all nodes"


def _store_problems(folder: Path, address: StoreAddress) -> Iterator[str]:
    """Make a folder of this node stand for the dataset, and see whether objects can be put and deleted here."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark_folder(_output_of(folder), address, keeps_rows=False)
        probe = f"{WORK}/{uuid4().hex}.probe"
        Objects(address).put(b"", probe)
        Objects(address).delete([probe])
    except OSError as error:
        yield f"cannot use a folder of its own ({error.strerror}: {folder})"
    except StoreError as error:
        yield f"cannot write to the store: {error}"


def _file_problems(files: Sequence[tuple[Path, FileState]]) -> Iterator[str]:
    for path, state in files:
        if state.is_seen and is_missing(path):
            yield _does_not_see(path)
    yield from filter(None, [why_changed(files)])


def _does_not_see(path: Path) -> str:
    return f"does not see {path}, which the driver does; sources must be at the same path on all nodes"
