"""Whether a gated model of the Hub can be loaded: told before a run, with what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.train.preflight.backbone import why_no_backbone
from support.hub_protocol import READ_TOKEN, TOKEN
from support.hub_server import HubServer

NAME = "nvidia/Cosmos-Reason2-2B"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache: Path, *files: str) -> None:
    root = cache / f"models--{NAME.replace('/', '--')}"
    for file in files:
        (root / "snapshots/0a1b").mkdir(parents=True, exist_ok=True)
        (root / "snapshots/0a1b" / file).touch()
    (root / "refs").mkdir()
    (root / "refs/main").write_text("0a1b")


ASK = """
import json, os
from millrace.train.preflight.backbone import why_no_backbone
told = []
for name, token in json.loads(input()):
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    found = why_no_backbone(name)
    told.append(found and [found.why, found.remedy])
print(json.dumps(told))
"""


def test_the_hub_is_asked_whether_this_user_may_have_the_model(hub: HubServer, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    hub.add(NAME, {"config.json": b"{}", "model.safetensors": b"weights"}, kind="model", gated=True)
    asked = [(NAME, None), (NAME, READ_TOKEN), ("nvidia/none", TOKEN), (NAME, TOKEN)]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(asked),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    nobody, reader, unknown, user = json.loads(answer.stdout.splitlines()[-1])
    accept = f"Accept its licence at {hub.url}/{NAME}"
    assert nobody == [
        f"{NAME} is not in the Hub's cache, it is gated, and there is no token of the Hub",
        f"{accept}, then log in with `hf auth login`, or set HF_TOKEN",
    ]
    assert reader[0].endswith("and the token's user has not accepted its licence")
    assert reader[1] == f"{accept} as the user of the token"
    assert "shows no such model to this user" in unknown[0]
    assert user is None
    assert TOKEN not in answer.stdout + answer.stderr


def test_a_cached_model_needs_neither_token_nor_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = why_no_backbone(NAME)
    assert found is not None
    assert found.why == f"{NAME} is not in the Hub's cache, and HF_HUB_OFFLINE is set"
    assert f"hf download {NAME}" in found.remedy
    put_in_cache(cache, "config.json", "model.safetensors.index.json")
    assert why_no_backbone(NAME) is None


def test_a_cached_config_without_weights_is_not_enough(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    put_in_cache(cache, "config.json")
    assert why_no_backbone(NAME) is not None


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert why_no_backbone(str(tmp_path)) is None
    found = why_no_backbone(str(tmp_path / "none"))
    assert found is not None
    assert found.why == f"there is no folder {tmp_path}/none"
