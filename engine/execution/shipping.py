"""Send this Millrace to the nodes of a cluster for the length of a run, through Ray's runtime environments."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from millrace.engine.about import installed_version, package_folder

Ship = Literal["code", "libraries"]
"""What is sent along: Millrace itself, or also the versions of its libraries, which each node then installs by pip."""

NAME = "millrace"
# What pyproject.toml asks for, but for Ray, which every node has; a test compares.
LIBRARIES = ("av", "fsspec", "huggingface_hub", "jinja2", "numpy", "pyarrow", "pydantic", "pyyaml", "rich", "tyro")
# Of extras, what workers use where this machine has it.
OPTIONAL_LIBRARIES = ("gcsfs", "h5py", "s3fs")
FOLDERS = ("commands", "embodiments", "engine", "train")


@contextmanager
def runtime_environment(ship: Ship | None) -> Iterator[dict[str, Any]]:
    """Arguments that make a connection to Ray send this process's Millrace along; none where nothing is to be sent.

    Ray uploads the code as it connects, once for each content. Workers see it before what their node has installed.
    """
    if ship is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        environment: dict[str, Any] = {"py_modules": [str(copy_code(Path(folder) / NAME))]}
        if ship == "libraries":
            environment["pip"] = pinned_libraries()
        yield {"runtime_env": environment}


def copy_code(target: Path) -> Path:
    """Copy this process's Millrace, however it is installed, as one importable folder; returns the folder."""
    for name in (NAME, *(f"{NAME}.{folder}" for folder in FOLDERS)):
        ignored = shutil.ignore_patterns("__pycache__", *(FOLDERS if name == NAME else ()))
        target_folder = target.joinpath(*name.split(".")[1:])
        shutil.copytree(package_folder(name), target_folder, ignore=ignored, dirs_exist_ok=True)
    return target


def pinned_libraries() -> list[str]:
    """The libraries that Millrace needs, in the versions that this process has, as pip takes them."""
    found = {name: installed_version(name) for name in (*LIBRARIES, *OPTIONAL_LIBRARIES)}
    return [f"{name}=={version}" for name, version in found.items() if version is not None]
