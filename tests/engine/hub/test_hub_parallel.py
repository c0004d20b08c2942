"""Workers of Ray convert what is there of a dataset on the Hub while they download the rest."""

import json
from pathlib import Path

import pytest

from conftest import IMAGE_SIZE, convert_here
from support.hub_client import HubUser, content_of, finish, wait_until
from support.hub_protocol import Hold
from support.hub_repository import files_below, oid
from support.hub_server import HubServer
from support.synthetic import write_dataset

LENGTHS = (41, 33, 17)
FLAGS = ("--map", "aloha_to_gr1", "--image-size", IMAGE_SIZE, "--workers", "2", "--no-report")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on the Hub; not to be changed."""
    root = tmp_path_factory.mktemp("local") / "aloha"
    write_dataset(root, lengths=LENGTHS)
    return root


@pytest.fixture(scope="module")
def reference(local: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Its conversion, without what names its source."""
    out = tmp_path_factory.mktemp("reference") / "out"
    convert_here(local, out)
    return content_of(out)


def hold_videos(hub: HubServer) -> dict[int, Hold]:
    """Each episode's video waits."""
    files = hub.repositories["dataset", "org/aloha"].files
    videos = sorted(path for path in files if path.endswith(".mp4"))
    return {episode: hub.hold(oid(path, files[path])) for episode, path in enumerate(videos)}


def recorded(ledger: Path) -> list[int]:
    """Episodes that are done."""
    lines = ledger.read_text().splitlines()[1:] if ledger.is_file() else []
    return [json.loads(line)["source_episode"] for line in lines]


def test_an_episode_is_converted_while_another_is_downloaded(
    hub: HubServer, tmp_path: Path, local: Path, reference: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    hub.add("org/aloha", files_below(local))
    holds = hold_videos(hub)
    user = HubUser(hub, tmp_path / "home", environment={"HF_HUB_DOWNLOAD_TIMEOUT": "300"})

    def waiting() -> list[int]:
        return [episode for episode, hold in holds.items() if hold.arrived.is_set() and not hold.released.is_set()]

    with user.start("convert", "org/aloha", out, *FLAGS) as process:
        try:
            wait_until(lambda: len(waiting()) == 2, process)
            first, second = waiting()
            holds[first].released.set()
            wait_until(lambda: recorded(out / ".millrace/ledger.jsonl") == [first], process)
            assert second in waiting()  # its download had begun before, and is not done yet
        finally:
            for hold in holds.values():
                hold.released.set()
        assert finish(process).exit_code == 0
    assert content_of(out) == reference


def test_workers_of_ray_download_what_they_convert(
    hub: HubServer, user: HubUser, local: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    hub.add("org/aloha", files_below(local))
    done = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0, done.err
    assert content_of(tmp_path / "out") == reference
    assert "download" in done.out
