"""Millrace itself: its version, how it is installed, and the environments that its tests run in."""

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

VERSION = "0.1.0"
# The import name and the command are `millrace`; that distribution name belongs to another project.
DISTRIBUTION = "millrace-robotics"
PACKAGES = ("av", "numpy", "pyarrow", "ray", "huggingface_hub")
# Whose code decides an output's bytes, and the files that are code or data of it.
DECIDING_FOLDERS, DECIDING_SUFFIXES = ("embodiments", "engine"), (".py", ".yaml", ".template")


@dataclass(frozen=True)
class Environment:
    """A release of Python (major.minor) with one of PyAV, as `make test-pins` installs them."""

    python: str
    av: str


# The Makefile, the README and the classifiers name the same; a test compares them.
TESTED = (
    Environment("3.10", "15.0.0"),
    Environment("3.10", "16.1.0"),
    Environment("3.11", "18.1.0"),
    Environment("3.12", "19.0.2"),
    Environment("3.13", "19.0.2"),
)


def install_command(extra: str) -> str:
    """The commands that install Millrace with an extra; it is on no package index."""
    return f"pip install '.[{extra}]' in a clone of Millrace, or pip install '{DISTRIBUTION}[{extra}] @ git+URL'"


def installed_version(package: str) -> str | None:
    """The version of an installed package; None: not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment_versions() -> dict[str, str | None]:
    """Millrace, Python and the libraries whose versions matter most; None: not installed."""
    found = {"millrace": VERSION, "python": platform.python_version()}
    return found | {name: installed_version(name) for name in PACKAGES}


def package_folder(name: str) -> Path:
    """Where a package of this process lies, however it is installed."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return Path(next(iter(spec.submodule_search_locations)))


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Eight digits that differ where the code of two Millraces of one version does."""
    digest = hashlib.sha256()
    for name in DECIDING_FOLDERS:
        folder = package_folder(f"millrace.{name}")
        for path in sorted(path for path in folder.rglob("*") if path.suffix in DECIDING_SUFFIXES):
            content = path.read_bytes()
            digest.update(f"{name}/{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:8]


def describe_tested() -> str:
    """All of `TESTED` in one line: "Python 3.10 with PyAV 15.0.0 and 16.1.0, ..."."""
    pythons = dict.fromkeys(environment.python for environment in TESTED)
    return ", ".join(f"Python {python} with PyAV {' and '.join(_av_of(python))}" for python in pythons)


def untested_versions(versions: Mapping[str, str | None]) -> tuple[str, ...]:
    """What differs from all environments that were tested: Python's minor release, or PyAV's major one.

    Args:
        versions: As `environment_versions` gives them.
    """
    python, av = versions.get("python") or "", versions.get("av") or ""
    is_python = any(python.startswith(f"{environment.python}.") for environment in TESTED)
    is_av = any(_major(av) == _major(environment.av) for environment in TESTED)
    return (*(() if is_python else (f"Python {python}",)), *(() if is_av else (f"PyAV {av or 'missing'}",)))


def child_command(module: str, function: str, *arguments: object) -> list[str]:
    """The command of a child process that calls a function with these texts or numbers.

    It has this process's modules, but not its `__main__`, as multiprocessing would have it: that may begin to work.
    """
    called = ", ".join(map(repr, arguments))
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import {function}; {function}({called})"
    return [sys.executable, "-c", code]


def _av_of(python: str) -> list[str]:
    return [environment.av for environment in TESTED if environment.python == python]


def _major(release: str) -> str:
    return release.partition(".")[0]
