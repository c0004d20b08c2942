"""A dataset in an object store is the one that a folder would hold, is never half there, and tells no secret."""

import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.convert import convert, estimate, plan_conversion
from millrace.engine.dataset.record import EpisodeResult
from millrace.engine.errors import OtherRecipe, OutputBusy, OutputExists, OutputFailed, RecipeError
from millrace.engine.execution.episode_worker import EpisodeWorker
from millrace.engine.execution.node import collect_shared, node_problems
from millrace.engine.output.folder import check_output
from millrace.engine.stored import lease
from millrace.engine.stored.staging import OutputPlace
from millrace.engine.stores import store_calls
from support.processes import start_child
from support.s3_faults import SECRETS, S3Server
from support.stored_output import BUCKET, OUT, PREFIX, SETTINGS, convert_to_store, stored_files

pytest_plugins = ["support.stored_fixtures"]

INFO, MANIFEST = "meta/info.json", "millrace.json"


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are tried again at once."""
    monkeypatch.setattr(store_calls, "time", type("Clock", (), {"sleep": staticmethod(lambda seconds: None)}))


def names(store: S3Server, method: str) -> list[str]:
    """Objects of the dataset that requests concerned, in order, without those of .millrace."""
    paths = [path.removeprefix(f"/{BUCKET}/{PREFIX}") for path in store.paths(method, PREFIX)]
    return [name for name in paths if not name.startswith(".millrace/")]


def test_store_holds_the_bytes_of_a_local_conversion_and_no_secret(
    source: Path, local: Path, store: S3Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_to_store(source, tmp_path)
    put = names(store, "PUT")
    assert len(put) == len(set(put))
    assert put[-2:] == [MANIFEST, INFO]
    assert stored_files(store) == files_of(local)
    assert not list(tmp_path.rglob("*.mp4"))  # clips leave this machine once they are put
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    stored = [store.get(f"{BUCKET}/{key}") for key in store.keys(BUCKET)]
    texts = b"".join((*written, *stored, *(text.encode() for text in capfd.readouterr())))
    assert not any(secret.encode() in texts for secret in SECRETS)
    assert not any(str(tmp_path).encode() in content for content in stored)


def test_held_out_episodes_lie_beside(source: Path, store: S3Server, tmp_path: Path) -> None:
    settings = {**SETTINGS, "holdout": [1]}
    convert_to_store(source, tmp_path / "staging", settings=settings)
    convert(recipe_for(source, **settings), tmp_path / "out", workers=LOCAL)
    assert stored_files(store) == files_of(tmp_path / "out")
    assert stored_files(store, "lab/out_heldout/") == files_of(tmp_path / "out_heldout")


@pytest.mark.parametrize(
    ("killed_at", "where"),
    [("episode_000001.mp4", "here"), (r"ledger-000002\.jsonl", "elsewhere"), (INFO, "elsewhere")],
)
def test_killed_conversion_continues_here_or_elsewhere(
    source: Path,
    local: Path,
    store: S3Server,
    tmp_path: Path,
    killed_at: str,
    where: str,
) -> None:
    held = store.hold("PUT", killed_at)
    child = start_child(recipe_for(source, **SETTINGS), OUT, environment=store.environment, staging=tmp_path / "here")
    assert held.arrived is not None
    assert held.arrived.wait(timeout=60)
    child.kill()
    child.join()
    assert INFO not in stored_files(store)
    store.faults.clear()
    summary = convert_to_store(source, tmp_path / where)
    assert stored_files(store) == files_of(local)
    assert summary.num_resumed == {"episode_000001.mp4": 1, INFO: 3}.get(killed_at, 0)


def test_faults_of_the_store_change_nothing(
    source: Path, local: Path, store: S3Server, tmp_path: Path, no_waits: None
) -> None:
    store.fail("PUT", r"\.mp4$", status=503, code="SlowDown", times=2)
    store.fail("PUT", r"\.parquet$", status=500, times=2)
    store.lose("PUT", r"ledger-", times=2)
    store.lose("PUT", r"lease", times=1)
    store.cut("HEAD", r"\.mp4$", times=1)
    store.fail("GET", r"out/$|prefix", status=503, code="SlowDown", times=2)
    store.lose("PUT", r"info\.json", times=2)
    convert_to_store(source, tmp_path)
    assert stored_files(store) == files_of(local)


def test_store_that_stays_away_stops_the_run_with_a_remedy(
    source: Path, local: Path, store: S3Server, tmp_path: Path, no_waits: None
) -> None:
    """The next run makes again what is gone since."""
    store.fail("PUT", r"episode_000002\.mp4$", status=503, code="SlowDown", times=1000)
    with pytest.raises(OutputFailed, match=r"limits how much it is asked .*same command goes on") as failed:
        convert_to_store(source, tmp_path)
    assert not any(secret in str(failed.value) for secret in SECRETS)
    assert INFO not in stored_files(store)
    store.forget()
    store.delete(f"{BUCKET}/{PREFIX}videos/chunk-000/observation.images.top/episode_000001.mp4")
    assert convert_to_store(source, tmp_path).num_resumed == 1
    assert stored_files(store) == files_of(local)


def test_refused_access_is_told_before_work_begins(source: Path, store: S3Server, tmp_path: Path) -> None:
    store.fail("PUT", "lease", status=403, code="AccessDenied")
    with pytest.raises(OutputFailed, match=r"access to s3://robots/lab/out\S* is denied"):
        convert_to_store(source, tmp_path)
    assert not names(store, "PUT")


def test_second_run_is_refused(source: Path, store: S3Server, tmp_path: Path) -> None:
    refused = []

    def start_another(result: EpisodeResult) -> None:
        for staging in (tmp_path / "here", tmp_path / "elsewhere") if not refused else ():
            with pytest.raises(OutputBusy, match="is being written by another run") as busy:
                convert_to_store(source, staging)
            refused.append(str(busy.value))

    convert_to_store(source, tmp_path / "here", on_result=start_another)
    assert len(refused) == 2
    assert all(text.startswith(OUT) for text in refused)


def test_run_that_is_gone_is_taken_over_from(
    source: Path, local: Path, store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = json.dumps({"host": "another", "pid": 1, "token": "abc"}).encode()
    store.put(f"{BUCKET}/{PREFIX}.millrace/lease.json", other)
    with pytest.raises(OutputBusy, match="process 1 on another, seen"):
        convert_to_store(source, tmp_path)
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.0)
    convert_to_store(source, tmp_path)
    assert stored_files(store) == files_of(local)
    assert not [key for key in store.keys(BUCKET) if "lease" in key or "claim" in key or "clock" in key]


def test_run_that_was_taken_over_from_stops(
    source: Path, store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause of its machine: what it would write next is there, by another run."""

    def take_over(result: EpisodeResult) -> None:
        store.put(f"{BUCKET}/{PREFIX}.millrace/ledger-000002.jsonl", b"{}\n")

    with pytest.raises(OutputBusy, match="took over from this one"):
        convert_to_store(source, tmp_path, on_result=take_over)
    assert INFO not in stored_files(store)


def test_reader_sees_info_json_of_finished_datasets_alone(source: Path, store: S3Server, tmp_path: Path) -> None:
    seen: list[bool] = []
    look = {"on_result": lambda result: seen.append(INFO in stored_files(store))}
    convert_to_store(source, tmp_path / "here", **look)
    store.forget()
    other = {**SETTINGS, "fps": 10}
    convert_to_store(source, tmp_path / "here", settings=other, overwrite=True, **look)
    assert seen == [False] * 6
    assert names(store, "DELETE")[0] == INFO
    store.forget()
    assert convert_to_store(source, tmp_path / "elsewhere", settings=other).was_finished
    assert not store.paths("PUT")
    with pytest.raises(OtherRecipe, match=re.escape(OUT)):
        convert_to_store(source, tmp_path / "here")


def test_skipped_episodes_move_the_others(source: Path, store: S3Server, tmp_path: Path) -> None:
    """Episodes get other numbers within the store, by copies there."""
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    (broken / "videos/chunk-000/observation.images.top/episode_000000.mp4").write_bytes(b"no video")
    convert_to_store(broken, tmp_path / "staging", skip_bad=True)
    convert(recipe_for(broken, **SETTINGS), tmp_path / "out", workers=LOCAL, skip_bad=True)
    assert stored_files(store) == files_of(tmp_path / "out")


def test_foreign_objects_are_kept(source: Path, store: S3Server, tmp_path: Path) -> None:
    store.put(f"{BUCKET}/{PREFIX}thesis.pdf", b"mine")
    with pytest.raises(OutputExists, match=r"holds thesis\.pdf, which Millrace did not make"):
        convert_to_store(source, tmp_path)
    assert stored_files(store) == {"thesis.pdf": b"mine"}


def test_whole_bucket_is_no_dataset(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"s3://robots is a whole bucket: name a folder in it"):
        convert_to_store(source, tmp_path, out="s3://robots")


def test_node_of_a_cluster_needs_no_shared_folder(source: Path, local: Path, store: S3Server, tmp_path: Path) -> None:
    """Another machine has none of the driver's files: it puts what it makes, and keeps nothing of it."""
    folder = OutputPlace.of(OUT, tmp_path / "staging").folder
    (scratch := folder / ".millrace/run-1").mkdir(parents=True)
    plan = plan_conversion(recipe_for(source, **SETTINGS))
    shared = collect_shared(plan.episodes, scratch)
    shutil.rmtree(tmp_path / "staging")
    assert node_problems(shared) == []
    for episode in plan.episodes:
        assert EpisodeWorker(plan.job, folder, scratch).convert(episode).kind == "done"
    expected = {name: content for name, content in files_of(local).items() if name.startswith(("data/", "videos/"))}
    assert stored_files(store) == expected
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".mp4", ".parquet")]
    store.fail("PUT", "probe", status=403, code="AccessDenied")
    shutil.rmtree(tmp_path / "staging")
    (problem,) = node_problems(shared)
    assert problem.startswith("cannot write to the store: access to s3://robots/lab/out/.millrace/")


@pytest.mark.parametrize("source_address", [OUT, f"{OUT}/raw", "s3://robots/lab"])
def test_output_never_overlaps_a_source_in_the_store(tmp_path: Path, source_address: str) -> None:
    folder = OutputPlace.of(OUT, tmp_path).folder
    with pytest.raises(OutputExists, match=r"is the source .* must stay as it is"):
        check_output(folder, [Path(source_address)], overwrite=False)


def test_estimate_counts_the_rows_as_what_stays_here(source: Path, store: S3Server, tmp_path: Path) -> None:
    found = estimate(recipe_for(source, **SETTINGS), OUT, staging=tmp_path)
    assert 0 < found.num_bytes_here < found.num_bytes
    assert not store.keys(BUCKET)
