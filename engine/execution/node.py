"""What a node of a cluster must share with the driver: the sources, OUT, and the libraries that decide bytes."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from millrace.engine.about import VERSION
from millrace.engine.errors import StoreError
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
    python = ".".join(map(str, sys.version_info[:3]))
    return {"millrace": f"{VERSION} (output {OUTPUT_VERSION})", "python": python, **byte_versions()}


def node_problems(shared: Shared) -> list[str]:
    """What this machine lacks, or has otherwise than the driver."""
    own = node_versions()
    other = [
        f"{name} {own.get(name)}, not {wanted}" for name, wanted in shared.versions.items() if own.get(name) != wanted
    ]
    problems = [f"has {', '.join(other)}"] if other else []
    problems += list(_folder_problems(shared))[:1]
    return problems + list(_file_problems(shared.files))[:1]


def _output_of(folder: Path) -> Path:
    """The output folder of a run's own, OUT/.millrace/run-..."""
    return folder.parent.parent


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
            yield f"does not see {path}, which the driver does; sources must be at the same path on all nodes"
    yield from filter(None, [why_changed(files)])
