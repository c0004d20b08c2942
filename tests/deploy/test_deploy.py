"""deploy/: each file is what its tool reads, its commands are ours, and it installs what the tests run on."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import REPOSITORY
from millrace import cli
from millrace.commands.convert import Convert
from millrace.engine.about import DISTRIBUTION, TESTED, VERSION

DEPLOY = REPOSITORY / "deploy"
PAGE = (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")
FILES = sorted(path for path in DEPLOY.iterdir() if path.suffix != ".dockerignore")
# A line that goes on behind a backslash, or deeper, is one.
CONTINUED = re.compile(r"\\\n\s*|\n\s+(?=--)")
COMMAND = re.compile(r"\bmillrace convert [^\n#`]+")
PINS = re.compile(r"\b(av|ray)(?:\[default\])?==([\d.]+)|ARG (AV|RAY)=([\d.]+)")
VALUES = {"MAP": "aloha_to_gr1_rescaled"}


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def load(name: str) -> Any:
    return yaml.safe_load(read(name))


def commands() -> Iterator[tuple[str, str]]:
    """Every `millrace convert` in deploy/, as a shell has it, by file."""
    for path in FILES:
        for found in COMMAND.finditer(CONTINUED.sub(" ", path.read_text(encoding="utf-8"))):
            yield path.name, found[0]


def test_every_command_is_one_that_we_have() -> None:
    found = list(commands())
    assert {name for name, _ in found} == {"anyscale.yaml", "rayjob.yaml", "sky.yaml", "slurm.sh"}
    for name, text in found:
        command = re.sub(r"\$(\w+)", lambda variable: VALUES.get(variable[1], variable[1]), text)
        words = ["IN", "OUT"] if '"$@"' in text else []
        words += [word for word in shlex.split(command) if word != "$@"][1:]
        words = words if words[0] == "convert" else ["convert", *words[:2], *words[3:]]
        parsed = cli._parse(words)
        assert isinstance(parsed, Convert), name
        assert parsed.address, f"{name} uses the cluster"


def test_the_words_given_to_slurm_are_those_of_convert() -> None:
    (words,) = re.findall(r"^#   sbatch deploy/slurm.sh (.*)$", read("slurm.sh"), re.MULTILINE)
    assert isinstance(cli._parse(["convert", *shlex.split(words)]), Convert)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_says_the_command_that_uses_it_and_the_page_has_it(path: Path) -> None:
    said = re.findall(rf"^#   (\S.*deploy/{path.name}\b.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert said
    assert all(command in PAGE for command in said), said


def test_pins_are_what_the_tests_run_on() -> None:
    found = [(path.name, *parts) for path in FILES for parts in PINS.findall(path.read_text(encoding="utf-8"))]
    pins = [tuple(filter(None, parts)) for parts in found]
    assert {name for name, *_ in pins} == {"Dockerfile", "anyscale.yaml", "sky.yaml"}
    of_python = {environment.python: environment.av for environment in TESTED}
    (python,) = re.findall(r"^ARG PYTHON=(.*)$", read("Dockerfile"), re.MULTILINE)
    assert {pin for _, package, pin in pins if package.lower() == "av"} == {of_python[python]}
    rays = {pin for _, package, pin in pins if package.lower() == "ray"}
    rays |= set(re.findall(r"anyscale/ray:([\d.]+)-slim-py" + python.replace(".", ""), read("anyscale.yaml")))
    assert len(rays) == 1
    assert version("ray").split(".")[0] == rays.pop().split(".")[0]


def test_the_image_holds_every_package() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    folders = set(re.findall(r'^"?millrace[\w.]*"? = "(\w+)"$', project, re.MULTILINE))
    copied = set(re.findall(r"^COPY (\w+) \1$", read("Dockerfile"), re.MULTILINE))
    assert copied == folders
    kept = {line[1:] for line in read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    others = re.findall(r"^COPY ([^\n]*) \./$", read("Dockerfile"), re.MULTILINE)
    assert kept == copied | set(others[0].split())
    extras = {extra for found in re.findall(r'"\.\[([\w,]+)\]"', read("Dockerfile")) for extra in found.split(",")}
    assert extras <= set(re.findall(r"^(\w+) = \[", project, re.MULTILINE))


def test_the_wheel_has_the_name_that_the_job_installs() -> None:
    wheels = [text for text in load("anyscale.yaml")["requirements"] if text.endswith(".whl")]
    assert [Path(wheel).name for wheel in wheels] == [f"{DISTRIBUTION.replace('-', '_')}-{VERSION}-py3-none-any.whl"]


def test_all_pods_have_one_image_and_the_same_volume_at_the_same_path() -> None:
    cluster = load("rayjob.yaml")["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    assert all(container["volumeMounts"] == containers[0]["volumeMounts"] for container in containers)
    assert all(pod["volumes"] == pods[0]["volumes"] for pod in pods)
    source = cli._parse(shlex.split(load("rayjob.yaml")["spec"]["entrypoint"])[1:])
    mounts = [mount["mountPath"] for mount in containers[0]["volumeMounts"]]
    assert all(any(path.is_relative_to(mount) for mount in mounts) for path in (source.source, source.out))
