"""Datasets on the Hub as sources: only what is needed is downloaded, nothing is mixed, and every fault has a remedy."""

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import IMAGE_SIZE, convert_here
from millrace.embodiments.errors import MillraceError
from millrace.engine.errors import DatasetError
from millrace.engine.hub.calls import HubName, explain_hub_error
from millrace.engine.sources import open_source
from millrace.engine.sources.location import locate_source, parse_hub_id, pin_revision, public_name, require_hub_id
from support.hub_client import SECRETS, HubUser, content_of, finish, wait_until
from support.hub_protocol import READ_TOKEN
from support.hub_repository import files_below
from support.hub_server import HubServer
from support.still_stretches import hold
from support.synthetic import edit_json, write_dataset

LENGTHS = (41, 33, 17)
FLAGS = ("--map", "aloha_to_gr1", "--image-size", IMAGE_SIZE, "--local", "--no-report")
TASK = "Pick up the cube."
KINDS = [pytest.param(429, id="429"), pytest.param(500, id="500"), pytest.param(None, id="cut")]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on the Hub; not to be changed."""
    root = tmp_path_factory.mktemp("local") / "aloha"
    write_dataset(root, lengths=LENGTHS, cameras=("top", "wrist"))
    return root


@pytest.fixture(scope="module")
def reference(local: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Its conversion, without what names its source."""
    out = tmp_path_factory.mktemp("reference") / "out"
    convert_here(local, out)
    return content_of(out)


def source_line(hub: HubServer) -> str:
    """What is printed before anything is downloaded."""
    return f"source: org/aloha@{hub.repositories['dataset', 'org/aloha'].branches['main']} on the Hub"


def cached(user: HubUser) -> set[str]:
    """Paths of the source's files that were downloaded."""
    return {path.relative_to(user.snapshots).as_posix().partition("/")[2] for path in user.snapshots.rglob("*.*")}


@pytest.mark.parametrize("version", ["v2.1", "v3.0", "v1.6", "hybrid"])
def test_only_the_wanted_episodes_and_cameras_are_downloaded(
    hub: HubServer, user: HubUser, tmp_path: Path, version: str
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    shared = {"episodes_per_data_file": 1, "episodes_per_video_file": 1} if version == "v3.0" else {}
    write_dataset(source, version=version, lengths=LENGTHS, cameras=("top", "wrist"), **shared)
    convert_here(source, tmp_path / "reference", episodes="0:2", task=TASK)
    commit = hub.add("org/aloha", files_below(source)).branches["main"]
    done = user.run("convert", "org/aloha", out, *FLAGS, "--episodes", "0:2", "--task", TASK, "--task-all")
    assert done.exit_code == 0, done.err
    assert "note: hf://org/aloha: " in done.err
    assert str(user.home / "hub") not in done.out + done.err, "of the cache nobody has heard"
    assert content_of(out) == content_of(tmp_path / "reference")
    videos = [path for path in cached(user) if path.endswith(".mp4")]
    assert len(videos) == 2
    assert not any("wrist" in path for path in videos)
    rows = [path for path in cached(user) if path.startswith("data/")]
    assert len(rows) == (2 if version.startswith(("v2", "v3")) else 1)
    manifest = json.loads((out / "millrace.json").read_text())
    assert manifest["recipe"]["sources"][0]["path"] == f"org/aloha@{commit}"
    assert all(commit in str(episode) for episode in manifest["episodes"])


def test_videos_of_episodes_that_are_left_out_are_not_downloaded(hub: HubServer, user: HubUser, tmp_path: Path) -> None:
    """Number 1 is left out for its rows, 2 by metadata; of the others the rows decide what is cut."""
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=(60, 80, 20, 60))
    hold(source, [(5, 75)], episode=1)
    hold(source, [(0, 20)], episode=3)
    settings = {"filter": {"min_length": "0.5s", "max_idle": 0.8}, "trim_idle": True, "align_action": 2}
    kept = [*FLAGS, "--min-length", "0.5s", "--max-idle", "0.8", "--trim-idle", "--align-action", "2"]
    convert_here(source, tmp_path / "reference", episodes="0,3", **settings)
    hub.add("org/aloha", files_below(source))
    done = user.run("convert", "org/aloha", out, *kept)
    assert done.exit_code == 0, done.err
    assert content_of(out) == content_of(tmp_path / "reference")
    numbers = {
        kind: {Path(path).stem[-1] for path in cached(user) if path.endswith(kind)} for kind in ("parquet", "mp4")
    }
    assert numbers == {"parquet": {"0", "1", "3"}, "mp4": {"0", "3"}}


def test_tokens_are_not_sent_to_the_storage_nor_written_down(
    hub: HubServer, user: HubUser, local: Path, tmp_path: Path
) -> None:
    hub.add("org/aloha", files_below(local), private=True)
    assert user.run("convert", "org/aloha@main", tmp_path / "out", *FLAGS).exit_code == 0
    assert {request.token is None for request in hub.requests if "/lfs/" in request.path} == {True}
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not [secret for secret in SECRETS if secret.encode() in written]


@pytest.mark.parametrize("status", KINDS)
def test_what_passes_is_tried_again(
    hub: HubServer, user: HubUser, local: Path, reference: dict[str, bytes], tmp_path: Path, status: int | None
) -> None:
    hub.add("org/aloha", files_below(local))
    calls = [("GET", "/api/datasets/org/aloha$"), ("GET", "/tree/"), ("GET", "/resolve/"), ("GET", "/lfs/")]
    calls += [] if status is None else [("HEAD", "meta/info.json"), ("HEAD", "episode_000001.mp4")]
    for method, path in calls:
        hub.fail(method, path, status=status, headers={"Retry-After": "1"})
    done = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0
    assert [line for line in done.err.splitlines() if " episodes, " not in line and not line.startswith("note: ")] == [
        source_line(hub)
    ]
    assert [fault for fault in hub.faults if fault.times] == []
    assert content_of(tmp_path / "out") == reference


@pytest.mark.parametrize("status", KINDS)
def test_a_run_that_is_stopped_while_it_waits_goes_on(
    hub: HubServer, user: HubUser, local: Path, reference: dict[str, bytes], tmp_path: Path, status: int | None
) -> None:
    out, ledger = tmp_path / "out", tmp_path / "out/.millrace/ledger.jsonl"
    wanted = hub.add("org/aloha", files_below(local)).files
    name = next(name for name in wanted if name.endswith("top/episode_000001.mp4"))
    large = next(oid for oid, content in hub.objects.items() if content == wanted[name])
    # Longer than `finish` waits.
    hub.fail("GET", large, status=status, times=1000, headers={"Retry-After": "600"})
    with user.start("convert", "org/aloha", out, *FLAGS) as process:
        wait_until(lambda: ledger.is_file() and ledger.read_bytes().count(b"\n") >= 2, process)
        wait_until(lambda: bool(hub.paths("GET", large)), process)
        os.killpg(process.pid, signal.SIGINT)
        stopped = finish(process)
    assert stopped.exit_code == 130
    assert "the same command again continues" in stopped.err
    hub.faults.clear()
    hub.requests.clear()
    done = user.run("convert", "org/aloha", out, *FLAGS)
    assert done.exit_code == 0, done.err
    assert "continuing: 1 of 3 episodes are done" in done.err
    assert not hub.paths("GET", "episode_000000")
    assert not hub.paths("HEAD", "episode_000000")
    assert content_of(out) == reference


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "", "the Hub refuses the token (401, org/aloha)"),
        (403, "GatedRepo", "org/aloha is gated: ask for access at"),
        (404, "EntryNotFound", "lacks videos/chunk-000/observation.images.top/episode_000001.mp4"),
    ],
)
def test_an_episode_that_is_refused_is_named_and_goes_on_later(
    hub: HubServer,
    user: HubUser,
    local: Path,
    reference: dict[str, bytes],
    tmp_path: Path,
    status: int,
    code: str,
    expected: str,
) -> None:
    hub.add("org/aloha", files_below(local))
    hub.fail("HEAD", "top/episode_000001.mp4", status=status, times=1000, headers={"X-Error-Code": code})
    refused = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert refused.exit_code == 1
    assert refused.err.splitlines()[0] == source_line(hub)
    said = [line for line in refused.err.splitlines()[1:] if not line.startswith(("note: ", "trying 1 failed episode"))]
    assert said[0].startswith("episode 1: ")
    assert expected in refused.err
    assert not (tmp_path / "out/meta").exists()
    hub.faults.clear()
    done = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert "continuing: 2 of 3 episodes are done" in done.err
    assert content_of(tmp_path / "out") == reference


@pytest.mark.parametrize("token", [None, READ_TOKEN])
def test_a_gated_dataset_says_where_to_ask(hub: HubServer, tmp_path: Path, local: Path, token: str | None) -> None:
    hub.add("org/aloha", files_below(local), gated=True)
    refused = HubUser(hub, tmp_path / "home", token).run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert refused.exit_code == 1
    assert f"org/aloha is gated: ask for access at {hub.url}/datasets/org/aloha, then log in" in refused.err
    assert ("there is no token" in refused.err) == (token is None)


def test_what_is_nowhere_names_both_places(hub: HubServer, user: HubUser, tmp_path: Path, local: Path) -> None:
    hub.add("org/secret", files_below(local), private=True)
    hub.add("org/other", {"README.md": b"no dataset"})
    hub.add("org/rig", {"README.md": b"recordings", "day_1/episode_0.hdf5": b""})
    hub.add("org/g1", {"episode_0000/data.json": b"{}"})
    hub.add("org/aloha", files_below(local))
    nobody = HubUser(hub, tmp_path / "nobody", token=None)
    expected = [
        (nobody, "org/secret", "the Hub has no dataset org/secret, or it is private: check the name, and log in"),
        (user, "org/typo", "there is no such folder, and the Hub has no dataset org/typo"),
        (user, "org/aloha@v9", "org/aloha on the Hub has no revision 'v9'"),
        (user, "org/other", "org/other on the Hub is no LeRobot dataset: found README.md"),
        (user, "org/rig", "download the dataset org/rig with `hf download` into a folder and name that folder"),
        (user, "org/g1", "recordings are read from folders of this machine alone"),
        (user, "./no/such/folder", "there is no such folder, and it is no Hub id (org/name[@revision])"),
    ]
    for who, source, message in expected:
        refused = who.run("inspect", source)
        assert (refused.exit_code, refused.out) == (1, "")
        assert message in refused.err
        assert len([line for line in refused.err.splitlines() if not line.startswith("source: ")]) == 1


def test_a_token_that_is_wrong_is_told_from_a_wrong_name(hub: HubServer, tmp_path: Path, local: Path) -> None:
    hub.add("org/aloha", files_below(local))
    refused = HubUser(hub, tmp_path / "home", token="hf_expired").run("inspect", "org/aloha")
    assert "the Hub refuses the token (401, org/aloha)" in refused.err
    assert "hf_expired" not in refused.err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to ask it"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub could not be reached for org/aloha"),
    ],
)
def test_without_a_connection_the_reason_is_said(
    hub: HubServer, tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    refused = HubUser(hub, tmp_path / "home", environment=environment).run("inspect", "org/aloha")
    assert (refused.exit_code, hub.requests) == (1, [])
    assert "there is no such folder, and" in refused.err
    assert expected in refused.err


def test_a_folder_of_that_name_is_taken_first(hub: HubServer, user: HubUser, local: Path, tmp_path: Path) -> None:
    hub.add("org/aloha", files_below(local))
    write_dataset(user.home / "org/aloha", lengths=(41,))
    assert user.run("convert", "org/aloha", tmp_path / "out", *FLAGS).exit_code == 0
    assert hub.requests == []
    assert len((tmp_path / "out/meta/episodes.jsonl").read_text().splitlines()) == 1


def test_an_output_may_be_named_as_the_organisation_is(hub: HubServer, user: HubUser, local: Path) -> None:
    hub.add("org/aloha", files_below(local))
    done = user.run("convert", "org/aloha", "org", *FLAGS)
    assert done.exit_code == 0, done.err
    assert (user.home / "org/meta/info.json").is_file()


def test_a_dataset_of_ours_is_copied_from_the_hub_as_from_a_folder(
    hub: HubServer, user: HubUser, aloha_gr1: Path, tmp_path: Path
) -> None:
    flags = ("--robot", "gr1", *FLAGS[2:])
    convert_here(aloha_gr1, tmp_path / "reference", robot="gr1")
    hub.add("org/aloha", files_below(aloha_gr1))
    done = user.run("convert", "org/aloha", tmp_path / "out", *flags)
    assert done.exit_code == 0, done.err
    assert content_of(tmp_path / "out") == content_of(tmp_path / "reference")
    assert "3 copied" in done.out


def test_a_dataset_on_the_hub_is_validated_as_a_whole(
    hub: HubServer, user: HubUser, aloha_gr1: Path, tmp_path: Path
) -> None:
    repository = hub.add("org/aloha", files_below(aloha_gr1))
    done = user.run("validate", "hf://org/aloha", "--deep", "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.out + done.err
    assert "valid: 3 episodes" in done.out
    assert "org/aloha" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert {path for path in repository.files if not path.startswith(".")} <= cached(user)
    name = next(path for path in repository.files if path.endswith("episode_000001.mp4"))
    hub.add("org/broken", {**repository.files, name: repository.files[name][:100]})
    done = user.run("validate", "org/broken", "--json")
    assert done.exit_code == 1
    assert name in {problem["path"] for problem in json.loads(done.out)["problems"]}
    missing = user.run("validate", "org/other")
    assert missing.exit_code == 1
    assert "the Hub has no dataset org/other" in missing.err


def test_a_branch_that_moves_does_not_stop_a_run_and_revisions_are_never_mixed(
    hub: HubServer, user: HubUser, local: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    repository = hub.add("org/aloha", files_below(local))
    begun = repository.branches["main"]
    hub.fail("HEAD", "top/episode_000002.mp4", status=404, times=2, headers={"X-Error-Code": "EntryNotFound"})
    assert user.run("convert", "org/aloha", out, *FLAGS).exit_code == 1
    moved = repository.commit({**repository.files, "README.md": b"news"})
    other = user.run("convert", f"org/aloha@{moved}", out, *FLAGS)
    assert other.exit_code == 2
    assert f"source: org/aloha@{begun} -> org/aloha@{moved}" in other.err
    done = user.run("convert", "org/aloha", out, *FLAGS)
    assert done.exit_code == 0, done.err
    assert "continuing: 2 of 3 episodes are done" in done.err
    assert content_of(out) == reference
    assert moved not in (out / "millrace.json").read_text()


def test_a_finished_dataset_needs_no_network(hub: HubServer, user: HubUser, local: Path, tmp_path: Path) -> None:
    hub.add("org/aloha", files_below(local))
    assert user.run("convert", "org/aloha", tmp_path / "out", *FLAGS).exit_code == 0
    hub.requests.clear()
    offline = HubUser(hub, user.home, environment={"HF_HUB_OFFLINE": "1"})
    for somebody in (user, offline):
        done = somebody.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
        assert done.exit_code == 0, done.err
        assert "is finished already" in done.out
    assert [request.path for request in hub.requests if "aloha" in request.path] == []


def test_an_emptied_cache_undoes_nothing(hub: HubServer, user: HubUser, local: Path, tmp_path: Path) -> None:
    hub.add("org/aloha", files_below(local))
    hub.fail("HEAD", "top/episode_000002.mp4", status=404, times=2, headers={"X-Error-Code": "EntryNotFound"})
    assert user.run("convert", "org/aloha", tmp_path / "out", *FLAGS).exit_code == 1
    done = HubUser(hub, tmp_path / "elsewhere").run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert "continuing: 2 of 3 episodes are done" in done.err
    assert done.exit_code == 0


def test_rows_in_another_file_than_expected_are_found(hub: HubServer, user: HubUser, tmp_path: Path) -> None:
    source, reference, out = tmp_path / "source", tmp_path / "reference", tmp_path / "out"
    write_dataset(source, version="v3.0", lengths=(41, 41, 41), episodes_per_data_file=1)
    first, last = (source / f"data/chunk-000/file-00{number}.parquet" for number in (0, 2))
    first.rename(source / "aside")
    last.rename(first)
    (source / "aside").rename(last)
    convert_here(source, reference, episodes="0:1")
    hub.add("org/aloha", files_below(source))
    done = user.run("convert", "org/aloha", out, *FLAGS, "--episodes", "0:1")
    assert done.exit_code == 0, done.err
    assert content_of(out) == content_of(reference)


def test_a_recipe_mixes_folders_and_the_hub(hub: HubServer, user: HubUser, local: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    write_dataset(folder / "mine", lengths=(20,), cameras=("top",))
    sources = "sources:\n- {path: org/aloha, map: aloha_to_gr1, episodes: '0:1'}\n- {path: ./mine, map: aloha_to_gr1}\n"
    (folder / "both.yaml").write_text(f"image_size: {IMAGE_SIZE}\nhorizon: 4\n{sources}")
    commit = hub.add("org/aloha", files_below(local)).branches["main"]
    done = user.run("convert", "--recipe", folder / "both.yaml", tmp_path / "out", "--local")
    assert done.exit_code == 0, done.err
    episodes = json.loads((tmp_path / "out/millrace.json").read_text())["episodes"]
    assert [episode["source_episode"] for episode in episodes] == [0, 0]
    assert commit in str(episodes[0])
    assert commit not in str(episodes[1])
    card = (tmp_path / "out/README.md").read_text()
    assert f"| [`org/aloha@{commit}`](https://huggingface.co/datasets/org/aloha/tree/{commit}) | 1 |" in card
    assert "| `mine` | 1 |" in card
    assert str(tmp_path) not in card


def test_an_episode_of_two_revisions_is_held_out_of_both(hub: HubServer, user: HubUser, local: Path) -> None:
    repository = hub.add("org/aloha", files_below(local))
    begun = repository.branches["main"]
    moved = repository.commit({**repository.files, "README.md": b"news"})
    spec = "map: aloha_to_gr1, cameras: {ego_view: top}"
    user.home.mkdir(exist_ok=True)
    (user.home / "two.yaml").write_text(
        f"image_size: {IMAGE_SIZE}\nhorizon: 4\nsources:\n"
        f"- {{path: org/aloha@{begun}, {spec}, holdout: 1}}\n- {{path: org/aloha@{moved}, {spec}}}\n"
    )
    done = user.run("convert", "--recipe", "two.yaml", "out", "--local")
    assert done.exit_code == 0, done.err
    for folder, episodes in (("out", [0, 2, 0, 2]), ("out_heldout", [1, 1])):
        lineage = json.loads((user.home / folder / "millrace.json").read_text())["episodes"]
        assert [episode["source_episode"] for episode in lineage] == episodes


def test_inspect_downloads_a_few_episodes(hub: HubServer, user: HubUser, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(20,) * 9)
    edit_json(tmp_path / "source/meta/info.json", lambda info: {**info, "total_episodes": 9})
    (tmp_path / "source/videos/chunk-000/observation.images.top/episode_000004.mp4").unlink()
    hub.add("org/aloha", files_below(tmp_path / "source"))
    shown = user.run("inspect", "org/aloha", "--json")
    assert shown.exit_code == 0, shown.err
    inspection = json.loads(shown.out)
    assert inspection["robot"]["commands"][0].startswith(
        "millrace convert hf://org/aloha OUT --map aloha_to_gr1_rescaled"
    )
    sizes = [path.stat().st_size for path in (tmp_path / "source").rglob("*.mp4")]
    assert (inspection["num_episodes"], inspection["num_inspected"]) == (9, 4)
    assert inspection["num_video_bytes"] == sum(sizes)
    assert [finding["code"] for finding in inspection["findings"] if "missing" in finding["code"]] == ["missing-file"]
    assert len([path for path in cached(user) if path.endswith(".mp4")]) == 4


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("org/name", "org/name", None),
        ("org/name@main", "org/name", "main"),
        ("org/my.data-set_2@refs/pr/1", "org/my.data-set_2", "refs/pr/1"),
    ],
)
def test_hub_ids_are_read(name: str, repo: str, revision: str | None) -> None:
    found = parse_hub_id(name)
    assert found is not None
    assert (found.repo, found.revision, str(found)) == (repo, revision, name)


def test_a_name_with_the_hubs_scheme_is_always_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    for name in ("hf://org/name@main", Path("hf://org/name@main"), locate_source("hf://org/name@main", tmp_path)):
        found = require_hub_id(name)
        assert (found.repo, found.revision) == ("org/name", "main")
    assert pin_revision(Path("hf://org/name"), "0123") == Path("org/name@0123")
    assert public_name(Path("hf://org/name@0123"), "0123") == "org/name@0123"


def test_a_misspelt_folder_is_never_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/aloha_v21").mkdir(parents=True)
    message = r"no dataset at data/aloha_v22: .* Did you mean data/aloha_v21\? For .* write hf://data/aloha_v22"
    with pytest.raises(DatasetError, match=message):
        require_hub_id("data/aloha_v22")
    with pytest.raises(DatasetError, match=r"Folders in data: aloha_v21"):
        require_hub_id("data/x")
    (tmp_path / "data/info.json").write_text("{}")
    with pytest.raises(DatasetError, match="it is a file"):
        require_hub_id("data/info.json")
    assert require_hub_id("org/name").repo == "org/name"


@pytest.mark.parametrize("name", ["name", "/org/name", "./org/name", "../org/name", "a/b/c", "org/name@", "org/na me"])
def test_other_names_are_no_hub_ids(name: str) -> None:
    assert parse_hub_id(name) is None
    assert locate_source(name, Path("/recipes")) == Path("/recipes") / name


def test_a_recipe_means_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere/org/name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    assert require_hub_id(locate_source("org/name", recipes)).repo == "org/name", (
        "the folder of that name is not the recipe's"
    )
    (recipes / "org").mkdir()
    assert locate_source("org/name", recipes) == recipes / "org/name", "misspelt, as org/ is there"
    (recipes / "org/name").mkdir()
    assert locate_source("org/name", recipes) == recipes / "org/name"


def test_a_pinned_name_keeps_its_repository() -> None:
    assert pin_revision(Path("org/name@main"), "0123") == Path("org/name@0123")
    assert pin_revision(Path("org/name"), None) == Path("org/name")


def test_a_disk_that_is_full_stops_downloads_until_it_is_not(
    hub: HubServer, small_disk: Path, local: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    hub.add("org/aloha", files_below(local))
    user = HubUser(hub, small_disk / "home")
    (small_disk / "another").write_bytes(bytes(40 << 10))
    full = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert full.exit_code == 1
    assert {
        line.partition(": ")[2].partition(";")[0] for line in full.err.splitlines() if line.startswith("episode ")
    } == {f"no space is left on the disk of {user.home / 'hub'}"}
    assert not (tmp_path / "out/meta").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = user.run("convert", "org/aloha", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0, done.err
    assert content_of(tmp_path / "out") == reference


def test_a_full_disk_says_which_and_what_to_do() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    message = explain_hub_error(full, HubName("dataset", "org/name"))
    assert message.startswith("no space is left on the disk of ")
    assert "HF_HOME" in message


def test_an_unknown_error_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "token-of-a-company")
    error = ValueError("bad header 'Bearer token-of-a-company' hf_abc for https://host/lfs/1?X-Amz-Signature=abc")
    message = explain_hub_error(error, HubName("dataset", "org/name"))
    assert message == "org/name on the Hub: ValueError: bad header 'Bearer hf_...' hf_... for https://host/lfs/1"


def test_a_missing_folder_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match=r"no such folder, and it is no Hub id \(org/name\[@revision\]\)"):
        open_source(tmp_path / "missing")
