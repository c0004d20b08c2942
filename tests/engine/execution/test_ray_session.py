"""One Ray session for conversion and training."""

import os
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.engine.errors import ClusterFailed
from millrace.engine.execution import ray_session
from millrace.engine.execution.ray_session import explain

PACKAGES = ("millrace", "embodiments", "engine", "train", "commands")


def test_ray_is_started_and_stopped_in_one_place() -> None:
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    found = [path for path in paths if "ray.init" in path.read_text() or "ray.shutdown" in path.read_text()]
    assert found == [REPOSITORY / "engine/execution/ray_session.py"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "\x1b[36mray::Map\x1b[39m\n  at\nModuleNotFoundError: No module named 'millrace.engine.execution.ray_data'",
            "module millrace:",
        ),
        ("ray::f()\n  at line 3\nOSError: it broke", "Ray stopped with RuntimeError: OSError: it broke"),
    ],
)
def test_errors_of_ray_are_one_line_by_cause(text: str, told: str) -> None:
    line = explain(RuntimeError(text))
    assert told in line
    assert "\n" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("has_token", [True, False])
def test_a_token_that_ray_has_is_used_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_token: bool
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "")
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    if has_token:
        (tmp_path / "token").write_text("secret")
    ray_session._use_token()
    assert os.environ.get("RAY_AUTH_MODE") == ("token" if has_token else None)
    message = ray_session._unreachable("192.0.2.2:6399", ConnectionError("Failed to connect.\nmore"))
    assert "no Ray cluster can be used at 192.0.2.2:6399 (Failed to connect); check that Ray" in message
    assert (f"copy {tmp_path / 'token'} from the cluster's head" in message) is not has_token


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.60.0
    Python: 3.12.1
This process on 192.0.2.7 was started with:
    Ray: 2.55.1
    Python: 3.11.7
"""


def test_a_cluster_of_another_python_or_ray_is_told_by_both_versions() -> None:
    assert ray_session._unreachable("192.0.2.2:6399", RuntimeError(MISMATCH)) == (
        "the cluster at 192.0.2.2:6399 has Ray 2.60.0 and Python 3.12.1, this machine Ray 2.55.1 and Python 3.11.7: "
        "run the command, and start every node, with the same Python and Ray"
    )


LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@pytest.mark.parametrize("failures", [[LATE], [LATE, LATE], ["no space for /dev/shm"]])
def test_a_ray_that_does_not_come_up_is_tried_once_more_and_named(
    monkeypatch: pytest.MonkeyPatch, failures: list[str]
) -> None:
    left, started = list(failures), []

    def init(*args: object, **settings: object) -> None:
        started.append(settings)
        if left:
            raise Exception(left.pop(0))

    monkeypatch.setattr(ray_session.ray, "init", init)
    monkeypatch.setattr(ray_session, "ENVIRONMENT", {})
    if failures == [LATE]:
        ray_session._connect(2, None)
        assert [settings["num_cpus"] for settings in started] == [2, 2]
        return
    with pytest.raises(Exception, match=r"^Ray did not start within|^no space for /dev/shm$") as caught:
        ray_session._connect(2, None)
    assert len(started) == len(failures)
    assert isinstance(caught.value, ClusterFailed) == (LATE in failures)
    assert "run the same command again, or without Ray" in str(caught.value) or LATE not in failures
