"""`millrace upload`: all of a finished folder arrives, nothing else, and a stopped upload goes on."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from conftest import files_of
from millrace.embodiments.errors import MillraceError
from millrace.engine.errors import RecipeError
from millrace.engine.hub.folder_upload import FILES_PER_COMMIT as SIZE
from millrace.engine.hub.folder_upload import split_commits
from millrace.engine.layout import REPORT
from millrace.engine.output.upload import check_uploadable, upload_folder
from millrace.engine.packing import pack_dataset
from support.hub_client import HubUser, finish, wait_until
from support.hub_protocol import READ_TOKEN
from support.hub_repository import is_large, oid
from support.hub_server import HubServer

KINDS = [pytest.param(429, id="429"), pytest.param(500, id="500"), pytest.param(None, id="cut")]
CALLS = [("POST", "/api/repos/create"), ("POST", "/preupload/"), ("POST", "objects/batch"), ("PUT", "/lfs/")]
CALLS += [("POST", "/commit/"), ("GET", "/tree/"), ("GET", "/refs"), ("POST", "/tag/")]


@pytest.fixture
def dataset(aloha_gr1: Path, tmp_path: Path) -> Path:
    """A converted dataset, and our notes beside it."""
    shutil.copytree(aloha_gr1, tmp_path / "dataset")
    (tmp_path / "dataset/.millrace").mkdir(exist_ok=True)
    (tmp_path / "dataset/.millrace/ledger.jsonl").write_text("ours")
    return tmp_path / "dataset"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint."""
    folder = tmp_path / "checkpoint-10"
    (folder / "experiment_cfg").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "experiment_cfg/metadata.json"):
        (folder / name).write_text(f"content of {name}")
    return folder


def uploaded(hub: HubServer, name: str = "org/new", kind: str = "dataset") -> dict[str, bytes]:
    """What a repository holds, but for what the Hub puts there."""
    files = hub.repositories[kind, name].files
    return {path: content for path, content in sorted(files.items()) if path != ".gitattributes"}


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_dataset_arrives_with_its_card_and_nothing_else(hub: HubServer, user: HubUser, dataset: Path) -> None:
    content = files_of(dataset)
    (dataset / REPORT).write_text("frames as they were before they were cropped")
    before = entries(dataset)
    done = user.run("upload", dataset, "org/new", "--private")
    assert done.exit_code == 0, done.err
    assert done.out == f"{hub.url}/datasets/org/new\n"
    assert uploaded(hub) == content
    assert "README.md" in uploaded(hub)
    assert hub.repositories["dataset", "org/new"].private
    assert entries(dataset) == before
    assert {request.token for request in hub.requests if request.path.startswith("/lfs/")} == {None}


def test_with_json_the_pages_alone_are_printed(hub: HubServer, user: HubUser, dataset: Path) -> None:
    done = user.run("upload", "org/new", dataset, "--json")
    page = f"{hub.url}/datasets/org/new"
    assert (done.exit_code, json.loads(done.out)) == (
        0,
        {"uploads": [{"folder": str(dataset), "repo": "org/new", "page": page}]},
    )


def test_the_same_again_changes_nothing(hub: HubServer, user: HubUser, dataset: Path) -> None:
    assert user.run("upload", dataset, "org/new").exit_code == 0
    num_commits = len(hub.repositories["dataset", "org/new"].commits)
    assert user.run("upload", dataset, "org/new").exit_code == 0
    assert len(hub.repositories["dataset", "org/new"].commits) == num_commits


def test_lerobot_finds_the_tag_of_the_version_that_was_uploaded_last(
    hub: HubServer, user: HubUser, dataset: Path
) -> None:
    first = user.run("upload", dataset, "org/new")
    assert first.err.startswith(f"uploading {dataset} to org/new: ")
    repository = hub.repositories["dataset", "org/new"]
    assert repository.tags == {"v2.1": repository.branches["main"]}
    repository.commit({**repository.files, "README.md": b"by hand"})
    for status in (None, 500):
        hub.fail("DELETE", "/tag/v2.1", status=status)
    assert user.run("upload", dataset, "org/new").exit_code == 0
    assert repository.tags == {"v2.1": repository.branches["main"]}
    assert len(set(repository.commits)) > 1


def test_a_later_upload_replaces_the_files_of_an_earlier_one(hub: HubServer, user: HubUser, dataset: Path) -> None:
    """LeRobot reads every parquet file below data/, so none of another dataset may be left there."""
    strays = {"data/chunk-000/file-007.parquet": b"rows", "meta/tasks.parquet": b"tasks", "report.html": b"frames"}
    earlier = {**strays, "notes.txt": b"mine"}
    repository = hub.add("org/new", earlier)
    repository.tags["v3.0"] = repository.branches["main"]
    for status in (None, 500):  # the first commit arrives, and its answer is lost
        hub.fail("POST", "/commit/", status=status)
    done = user.run("upload", dataset, "org/new")
    assert done.exit_code == 0, done.err
    paths = [request.path for request in hub.requests]
    first = next(place for place, path in enumerate(paths) if "/commit/" in path)
    # The repository is listed for the message and for the upload, and not again until a commit is tried again.
    assert sum("/tree/" in path for path in paths[:first]) == 2
    assert "3 files of an earlier upload will be deleted there" in done.err
    assert uploaded(hub) == {**files_of(dataset), "notes.txt": b"mine"}
    assert repository.commits[repository.tags["v3.0"]] == earlier
    assert repository.tags["v2.1"] == repository.branches["main"]


def test_v3_arrives_beside_v2(hub: HubServer, user: HubUser, dataset: Path) -> None:
    missing = user.run("upload", dataset, "org/new", "--with-v30")
    assert (
        f"{dataset} has no LeRobot v3.0 beside it, in {dataset}_v30; convert it with --layout v2.1,v3.0" in missing.err
    )
    packed = dataset.with_name("dataset_v30")
    pack_dataset(dataset, packed)
    done = user.run("upload", dataset, "org/new", "--with-v30", "--private")
    assert done.exit_code == 0, done.err
    assert done.out.splitlines() == [f"{hub.url}/datasets/org/new", f"{hub.url}/datasets/org/new_v30"]
    for folder, name, version in ((dataset, "org/new", "v2.1"), (packed, "org/new_v30", "v3.0")):
        assert uploaded(hub, name) == files_of(folder)
        repository = hub.repositories["dataset", name]
        assert repository.private
        assert repository.tags == {version: repository.branches["main"]}


def test_nothing_is_sent_before_both_layouts_are_valid(hub: HubServer, user: HubUser, dataset: Path) -> None:
    packed = dataset.with_name("dataset_v30")
    pack_dataset(dataset, packed)
    rows = packed / "data/chunk-000/file-000.parquet"
    rows.write_bytes(rows.read_bytes()[:-10])
    refused = user.run("upload", dataset, "org/new", "--with-v30")
    assert (refused.exit_code, hub.repositories) == (1, {})
    assert f"{packed} is not valid, as `millrace validate {packed}` shows" in refused.err
    (dataset / "millrace.json").write_text("{}")
    refused = user.run("upload", dataset, "org/new", "--with-v30")
    assert f"{packed} was not made of {dataset} as it is now" in refused.err


def test_v3_alone_resumes_where_it_was_stopped(hub: HubServer, user: HubUser, dataset: Path) -> None:
    packed = dataset.with_name("dataset_v30")
    pack_dataset(dataset, packed)
    hub.fail("POST", "/commit/", status=403)
    assert user.run("upload", packed, "org/new").exit_code == 1
    hub.requests.clear()
    assert user.run("upload", packed, "org/new").exit_code == 0
    assert hub.paths("PUT") == []
    assert uploaded(hub) == files_of(packed)


def test_swapped_words_are_named(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    dataset.rename(tmp_path / "out/gr1")
    with pytest.raises(MillraceError, match=r"Did you mean `millrace upload out/gr1 me/gr1`\?"):
        upload_folder("me/gr1", "out/gr1")


def test_a_checkpoint_arrives_as_a_model(hub: HubServer, user: HubUser, checkpoint: Path) -> None:
    done = user.run("upload", checkpoint, "org/policy", "--kind", "model")
    assert (done.exit_code, done.out) == (0, f"{hub.url}/org/policy\n")
    assert uploaded(hub, "org/policy", "model") == files_of(checkpoint)
    assert not hub.repositories["model", "org/policy"].private


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_what_only_resuming_needs_stays_here_unless_asked_for(
    hub: HubServer, user: HubUser, checkpoint: Path, with_optimizer: bool
) -> None:
    """Of N1.6 it is 13 to 26 GB beside weights of 6.5."""
    for_use = files_of(checkpoint)
    state = (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state_0.pth",
        "global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt",
    )
    for name in (*state, "latest", "zero_to_fp32.py"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text(f"content of {name}")
    flags = ("--with-optimizer",) if with_optimizer else ()
    done = user.run("upload", checkpoint, "org/policy", "--kind", "model", *flags)
    assert done.exit_code == 0, done.err
    assert uploaded(hub, "org/policy", "model") == (files_of(checkpoint) if with_optimizer else for_use)
    assert ("stay here, --with-optimizer sends them" in done.err) is not with_optimizer


@pytest.mark.parametrize("status", KINDS)
def test_what_passes_is_tried_again(hub: HubServer, user: HubUser, dataset: Path, status: int | None) -> None:
    for method, path in CALLS:
        hub.fail(method, path, status=status, headers={"Retry-After": "1"})
    done = user.run("upload", dataset, "org/new")
    assert done.exit_code == 0, done.err
    assert [fault for fault in hub.faults if fault.times] == []
    assert uploaded(hub) == files_of(dataset)


@pytest.mark.parametrize("status", KINDS)
def test_xet_is_used_where_huggingface_hub_has_it(
    hub: HubServer, tmp_path: Path, dataset: Path, status: int | None
) -> None:
    user = HubUser(hub, tmp_path / "home", environment={"HF_HUB_DISABLE_XET": "0"})
    hub.announced = {oid(path, content): content for path, content in files_of(dataset).items() if is_large(path)}
    for method, path in (("POST", "/xet/v1/xorbs"), ("POST", "/preupload/"), ("POST", "/commit/")):
        hub.fail(method, path, status=status)
    done = user.run("upload", dataset, "org/new")
    assert done.exit_code == 0, done.err
    assert uploaded(hub) == files_of(dataset)
    assert hub.paths("POST", "/xet/v1/xorbs") or hasattr(HfApi, "upload_large_folder")  # before 2.0, if it likes


@pytest.mark.parametrize("status", KINDS)
def test_a_stopped_upload_sends_the_rest_only(hub: HubServer, user: HubUser, dataset: Path, status: int | None) -> None:
    hub.fail("POST", "/commit/", status=status, times=1000)
    with user.start("upload", dataset, "org/new") as process:
        wait_until(lambda: bool(hub.paths("POST", "/commit/")), process)
        os.killpg(process.pid, signal.SIGINT)
        stopped = finish(process)
    assert stopped.exit_code == 130
    assert stopped.err.splitlines()[-1] == "stopped; the same command continues where this one stopped"
    hub.faults.clear()
    hub.requests.clear()
    done = user.run("upload", dataset, "org/new")
    assert done.exit_code == 0, done.err
    assert hub.paths("PUT") == []
    assert uploaded(hub) == files_of(dataset)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_upload_ends_at_once_within_a_file(hub: HubServer, user: HubUser, dataset: Path, by: signal.Signals) -> None:
    """Without its own process Python would wait for the threads that send files."""
    held = hub.hold("/lfs/", method="PUT")
    with user.start("upload", dataset, "org/new") as process:
        wait_until(held.arrived.is_set, process)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(process.pid, by)
        stopped = finish(process)
    while Path(f"/proc/{child}/cmdline").is_file() and Path(f"/proc/{child}/cmdline").read_bytes():
        time.sleep(0.01)
    held.released.set()
    assert stopped.exit_code == (-signal.SIGKILL if by == signal.SIGKILL else 130)
    assert "meta/info.json" not in uploaded(hub)


def test_meta_comes_whole_with_the_last_commit() -> None:
    names = [f"meta/{number}.json" for number in range(8)] + [f"z/{number:04d}" for number in range(2 * SIZE + 5)]
    first, second, third = split_commits(names, "meta")
    assert (len(first), len(second), len(third)) == (SIZE, SIZE, 13)
    assert sorted(first + second + third) == sorted(names)
    assert third[-8:] == names[:8]
    assert list(split_commits(names[:9], "meta")) == [names[8:9] + names[:8]]


def test_a_stopped_upload_does_not_count_for_another_repository(hub: HubServer, user: HubUser, dataset: Path) -> None:
    hub.fail("GET", "/tree/", status=404, times=1)
    assert user.run("upload", dataset, "org/first").exit_code == 1
    assert user.run("upload", dataset, "org/second").exit_code == 0
    assert uploaded(hub, "org/second") == files_of(dataset)


@pytest.mark.parametrize(
    ("status", "path", "expected"),
    [
        (401, "/commit/", "the Hub refuses the token (401, org/new); log in with a token that may"),
        (403, "/preupload/", "the Hub does not allow this with org/new (403)"),
        (404, "/commit/", "the Hub has no dataset org/new, or it is private"),
    ],
)
def test_what_does_not_pass_is_said_at_once(
    hub: HubServer, user: HubUser, dataset: Path, status: int, path: str, expected: str
) -> None:
    hub.fail("POST", path, status=status, times=1000)
    refused = user.run("upload", dataset, "org/new")
    assert (refused.exit_code, refused.out) == (1, "")
    assert refused.err.splitlines()[-1].startswith(expected)
    assert len([line for line in refused.err.splitlines() if not line.startswith("uploading ")]) == 1
    hub.faults.clear()
    assert user.run("upload", dataset, "org/new").exit_code == 0
    assert uploaded(hub) == files_of(dataset)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, "cannot upload to org/new: log in, as there is no token: `hf auth login`, or set HF_TOKEN"),
        (READ_TOKEN, "the Hub does not allow this with org/new (403)"),
        ("hf_expired", "the Hub refuses the token (401, org/new)"),
    ],
)
def test_a_token_that_may_not_write_is_said(
    hub: HubServer, tmp_path: Path, dataset: Path, token: str | None, expected: str
) -> None:
    refused = HubUser(hub, tmp_path / "home", token).run("upload", dataset, "org/new")
    assert refused.exit_code == 1
    assert refused.err.startswith(expected)
    assert hub.repositories == {}


def test_a_file_that_did_not_arrive_is_noticed(hub: HubServer, user: HubUser, dataset: Path) -> None:
    (dataset / "notes").mkdir()
    (dataset / "notes/.gitignored").write_text("kept by the Hub's rules")
    refused = user.run("upload", dataset, "org/new")
    assert refused.exit_code == 1
    assert f"1 files are not in {hub.url}/datasets/org/new, such as notes/.gitignored" in refused.err


def test_an_unfinished_folder_is_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match=r"it has no meta/\. For a checkpoint say kind='model'"):
        check_uploadable(checkpoint, "dataset")
    with pytest.raises(MillraceError, match=r"is no checkpoint: it has no config\.json\. Found: "):
        check_uploadable(dataset, "model")
    with pytest.raises(MillraceError, match="there is no folder"):
        check_uploadable(tmp_path / "missing", "dataset")
    shutil.rmtree(dataset / "meta")
    with pytest.raises(MillraceError, match=r"is no finished dataset: it has no meta/\. Finish it first"):
        check_uploadable(dataset, "dataset")


def test_an_invalid_dataset_is_refused(dataset: Path) -> None:
    (dataset / "meta/tasks.jsonl").unlink()
    with pytest.raises(MillraceError, match=r"is not valid, as `millrace validate .*` shows: .*tasks\.jsonl"):
        check_uploadable(dataset, "dataset")


def test_links_out_of_the_folder_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("mine")
    (checkpoint / "inner.json").symlink_to("config.json")
    check_uploadable(checkpoint, "model")
    (checkpoint / "outer.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(MillraceError, match=r"outer\.txt is a link out of the folder, to .*private\.txt"):
        check_uploadable(checkpoint, "model")


@pytest.mark.parametrize("repo", ["name", "org/name/more", "org/name@main", "./name"])
def test_a_wrong_name_is_a_wrong_command(dataset: Path, repo: str) -> None:
    with pytest.raises(RecipeError, match="are named org/name, not"):
        upload_folder(dataset, repo)
