"""deploy/ as each tool's own schema or linter judges it: `make check-deploy`; skipped, loudly, where one is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

# Not from conftest: the tools have environments of their own, without Millrace.
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CRD = "ray-operator/config/crd/bases/ray.io_rayjobs.yaml"


def lint(tool: str, *arguments: object) -> None:
    """Run a linter of this environment or of the machine; it must find nothing."""
    program = shutil.which(tool, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        pytest.skip(f"NOT CHECKED: {tool} is not installed: make check-deploy")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    lint("hadolint", DEPLOY / "Dockerfile")


def test_shellcheck_finds_nothing_in_the_slurm_script() -> None:
    lint("shellcheck", DEPLOY / "slurm.sh")


def test_shellcheck_finds_nothing_in_the_sky_task(tmp_path: Path) -> None:
    task = yaml.safe_load((DEPLOY / "sky.yaml").read_text(encoding="utf-8"))
    for part in ("setup", "run"):
        (tmp_path / f"{part}.sh").write_text(f"#!/bin/bash\n{task[part]}", encoding="utf-8")
    lint("shellcheck", "--exclude=SC1090,SC1091", tmp_path / "setup.sh", tmp_path / "run.sh")


def test_the_rayjob_fits_kuberay() -> None:
    source = os.environ.get("KUBERAY_SRC")
    if not source:
        pytest.skip("NOT CHECKED: set KUBERAY_SRC to a clone of ray-project/kuberay")
    jsonschema = pytest.importorskip("jsonschema", reason="NOT CHECKED: jsonschema is not installed")
    definition = yaml.load(_read_of(Path(source), CRD), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # a megabyte
    served = {served["name"]: served["schema"]["openAPIV3Schema"] for served in definition["spec"]["versions"]}
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text(encoding="utf-8"))
    judge = jsonschema.Draft7Validator(_closed(served[job["apiVersion"].partition("/")[2]]))
    assert [error.message for error in judge.iter_errors(job)] == []
    for wrong in ({"entrypoint": 1}, {"entryPoint": "x"}, {"rayClusterSpec": {"headGroupSpec": {}}}):
        assert not judge.is_valid({**job, "spec": {**job["spec"], **wrong}}), wrong


def _read_of(folder: Path, path: str) -> str:
    """A file of a clone, whether it has a work tree or not."""
    if (folder / path).is_file():
        return (folder / path).read_text(encoding="utf-8")
    return subprocess.run(
        ["git", "--git-dir", folder, "show", f"HEAD:{path}"], capture_output=True, text=True, check=True
    ).stdout


def _closed(schema: Any) -> Any:
    """The schema with no other properties than those listed: as `kubectl create --validate=strict` judges.

    What Kubernetes takes as a number or a text is either here.
    """
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    if schema.get("type") == "object" and schema.get("properties") == {}:
        closed.pop("additionalProperties")
    return closed


def test_the_task_is_one_for_skypilot() -> None:
    sky = pytest.importorskip("sky", reason="NOT CHECKED: SkyPilot is not installed: make check-deploy")
    task = sky.Task.from_yaml(str(DEPLOY / "sky.yaml"))
    assert (task.name, task.num_nodes) == ("millrace-convert", 4)


def test_the_job_is_one_for_anyscale() -> None:
    models = pytest.importorskip(
        "anyscale.job.models", reason="NOT CHECKED: anyscale is not installed: make check-deploy"
    )
    config = models.JobConfig.from_yaml(str(DEPLOY / "anyscale.yaml"))
    assert config.name == "millrace-convert"
    with pytest.raises(TypeError, match="entry_point"):
        models.JobConfig.from_dict({**config.to_dict(), "entry_point": "x"})
