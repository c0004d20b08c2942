"""Which release of GR00T is installed, by files alone: gr00t is not imported, which would take torch along."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.about import install_command
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.releases import RELEASES, Field, GrootChoice, Release, find_release
from millrace.train.errors import GrootMissing

REPOSITORY = "https://github.com/NVIDIA/Isaac-GR00T"
# In the package gr00t: the enum of tags, and the function that deals parts of episodes into shards.
TAGS = ("data/embodiment_tags.py", "EmbodimentTag")
SHARDING, DEALS = "data/dataset/sharded_single_step_dataset.py", "shard_dataset"
STATISTICS = "data/stats.py"


@dataclass(frozen=True)
class Installed:
    """The package gr00t that this Python would import.

    Args:
        folders: Its folders.
        release: None where it is none that Millrace trains.
    """

    folders: tuple[Path, ...]
    release: Release | None

    def has_tag(self, name: str) -> bool:
        """Whether its EmbodimentTag has a member of that name: earlier builds of a release have fewer."""
        return name in self._fields(*TAGS)

    @property
    def caps_shards(self) -> bool:
        """Whether it makes no more shards than there are parts of episodes with steps; earlier builds stop then."""
        functions = [node for file in self._parse(SHARDING) for node in ast.walk(file) if _is_function(node, DEALS)]
        calls = [call.func for function in functions for call in ast.walk(function) if isinstance(call, ast.Call)]
        return any(isinstance(called, ast.Name) and called.id == "min" for called in calls)

    @property
    def has_fingerprints(self) -> bool:
        """Whether it looks for fingerprints beside statistics, and writes them: no version tells."""
        nodes = (node for file in self._parse(STATISTICS) for node in ast.walk(file))
        return any(isinstance(node, ast.Constant) and node.value == FINGERPRINTS for node in nodes)

    def has(self, field: Field) -> bool:
        """Whether one of its config classes has a field."""
        return field.name in self._fields(field.file, field.owner)

    def _fields(self, file: str, owner: str) -> frozenset[str]:
        return frozenset(name for tree in self._parse(file) for name in _declared(tree, owner))

    def _parse(self, file: str) -> Iterator[ast.Module]:
        """A file of the package, where there is one that can be parsed."""
        for folder in self.folders:
            with suppress(OSError, SyntaxError, ValueError):
                yield ast.parse((folder / file).read_bytes())


def find_installed() -> Installed | None:
    """The installed GR00T; None where there is none."""
    spec = find_spec("gr00t")
    if spec is None:
        return None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    found = (one for one in RELEASES if any((folder / one.marker).is_file() for folder in folders))
    return Installed(folders, next(found, None))


def choose_release(choice: GrootChoice) -> Release | None:
    """The release that `--gr00t` asks for: the installed one for "auto"; None where none is installed, then."""
    if choice != "auto":
        return find_release(choice)
    installed = find_installed()
    return None if installed is None else installed.release


def how_to_get(release: Release | None = None) -> str:
    """How to install a release; None: any of them."""
    told = "; ".join(
        f"for {one.name} in a Python {one.pythons[0]} environment: "
        f"git clone --recurse-submodules --branch {one.branch} {REPOSITORY}"
        for one in (RELEASES if release is None else (release,))
    )
    return f"{told[0].upper()}{told[1:]}, install it by its README, then Millrace: {install_command('train')}"


def require_groot(choice: GrootChoice = "auto") -> Release:
    """Make sure that GR00T and what Millrace trains it with are installed; nothing is imported.

    Args:
        choice: As `--gr00t` takes it.

    Returns:
        The installed release.

    Raises:
        GrootMissing: something is not there, or is another release than the one that is asked for.
    """
    asked = None if choice == "auto" else find_release(choice)
    installed = find_installed()
    missing = [package for package in ("gr00t", "torch", "transformers") if find_spec(package) is None]
    if installed is None or missing:
        name = "GR00T" if asked is None else f"GR00T {asked.name}"
        raise _missing(f"{name} cannot be imported: no {', '.join(missing)}", asked)
    where = f"the gr00t in {', '.join(map(str, installed.folders))}"
    if installed.release is None:
        known = " or ".join(one.name for one in RELEASES)
        raise _missing(f"{where} is not {known if asked is None else asked.name}", asked)
    if asked is not None and asked != installed.release:
        raise _missing(f"{where} is {installed.release.name}, not {asked.name}", asked)
    return installed.release


def _missing(problem: str, asked: Release | None) -> GrootMissing:
    return GrootMissing(f"{problem}. ", Remedy(how_to_get(asked)))


def _declared(tree: ast.Module, owner: str) -> Iterator[str]:
    """The names that the body of a class declares or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            targets: list[ast.expr] = [entry.target for entry in node.body if isinstance(entry, ast.AnnAssign)]
            targets += [target for entry in node.body if isinstance(entry, ast.Assign) for target in entry.targets]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_function(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name
