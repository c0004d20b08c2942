"""Sources in object stores: the same bytes as from a folder, through every fault, and nothing secret anywhere."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import IMAGE_SIZE, convert_here, files_of, recipe_for
from millrace import cli
from millrace.engine.convert import Workers, convert
from millrace.engine.errors import DatasetError, EpisodesFailed, FaultCode, MillraceError, StoreError
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import read_recipe
from millrace.engine.sources import fetch_dataset, open_source
from millrace.engine.sources.location import locate_source, public_name
from millrace.engine.stores import filesystem, store_calls
from support.processes import start
from support.s3_faults import SECRETS, S3Server
from support.synthetic import write_dataset

LENGTHS = (41, 33, 17)
FLAGS = ("--map", "aloha_to_gr1", "--image-size", str(IMAGE_SIZE), "--crop", "center", "--local", "--no-report")
NAMING_SOURCES = ("millrace.json", "README.md")
PLACE = "robots/lab/aloha"
ADDRESS = f"s3://{PLACE}"
VIDEO = "videos/chunk-000/observation.images.top/episode_000001.mp4"
ROWS = "data/chunk-000/episode_000001.parquet"
TASK = {"task": "Pick up the cube."}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits before it tries again."""
    monkeypatch.setattr(store_calls.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(filesystem, "S3_TRIES", 1)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies in the store; not to be changed."""
    root = tmp_path_factory.mktemp("local") / "aloha"
    write_dataset(root, lengths=LENGTHS, cameras=("top", "wrist"))
    return root


@pytest.fixture(scope="module")
def reference(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its conversion."""
    out = tmp_path_factory.mktemp("reference") / "out"
    convert_here(local, out)
    return out


@pytest.fixture
def stored(s3: S3Server, local: Path) -> str:
    """Its address."""
    for key in s3.keys("robots", PLACE) if "robots" in s3.buckets() else ():
        s3.delete(f"robots/{key}")
    return s3.put_folder(PLACE, local)


def content_of(out: Path) -> dict[str, bytes]:
    """All files but those that say where the source lies."""
    return {name: content for name, content in files_of(out).items() if name not in NAMING_SOURCES}


def leaks(*texts: str | bytes) -> list[str]:
    """Secrets that texts hold."""
    joined = b"".join(text if isinstance(text, bytes) else text.encode() for text in texts)
    return [secret for secret in SECRETS if secret.encode() in joined]


def contents(folder: Path) -> bytes:
    """All bytes of all files, and their names."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in paths)


def run(capfd: pytest.CaptureFixture[str], words: Sequence[object]) -> tuple[int, str, str]:
    """`millrace WORDS` in this process: exit code and what it printed, no secret among it."""
    code = cli.main([str(word) for word in words])
    printed = capfd.readouterr()
    assert not leaks(printed.out, printed.err)
    return code, printed.out, printed.err


@pytest.mark.parametrize("version", ["v3.0", "v1.6", "frames"])
def test_every_layout_gives_the_same_bytes_as_from_a_folder(s3: S3Server, tmp_path: Path, version: str) -> None:
    source = tmp_path / "aloha"
    write_dataset(source, version=version, lengths=LENGTHS[:2], cameras=("top",))
    address = s3.put_folder(f"robots/{version}/aloha", source)
    for place, out in ((source, "here"), (Path(address), "there")):
        convert_here(place, tmp_path / out, **TASK)
    assert content_of(tmp_path / "there") == content_of(tmp_path / "here")


def test_lineage_names_the_address_and_nothing_else_differs(stored: str, reference: Path, tmp_path: Path) -> None:
    convert_here(Path(stored), tmp_path / "out")
    manifest, before = (json.loads((out / "millrace.json").read_text()) for out in (tmp_path / "out", reference))
    assert manifest["recipe"]["sources"][0]["path"] == ADDRESS
    assert {episode["source"] for episode in manifest["episodes"]} == {ADDRESS}
    told = {(out / "README.md").read_text().replace(ADDRESS, "aloha") for out in (tmp_path / "out", reference)}
    assert len(told) == 1
    for one in (manifest, before):
        assert one.pop("files")  # README.md among them
    assert json.dumps(manifest).replace(ADDRESS, "aloha") == json.dumps(before)


def test_only_the_wanted_episodes_and_cameras_are_downloaded(s3: S3Server, stored: str, tmp_path: Path) -> None:
    convert_here(Path(stored), tmp_path / "out", episodes="0")
    fetched = {path for path in s3.paths("GET", PLACE) if path.endswith((".mp4", ".parquet"))}
    assert fetched == {f"/{PLACE}/{name.replace('01.', '00.')}" for name in (VIDEO, ROWS)}
    s3.forget()
    convert_here(Path(stored), tmp_path / "again", episodes="0")
    assert not [path for path in s3.paths("GET", PLACE) if path != "/robots"], "all is in the cache"


def test_a_conversion_survives_every_fault(s3: S3Server, stored: str, reference: Path, tmp_path: Path) -> None:
    for part in ("robots$", "info.json", r"000000\.parquet", r"000000\.mp4"):
        s3.fail("GET", part, status=500)
        s3.fail("GET", part, status=503, code="SlowDown")
    for part in ("episodes.jsonl", r"000001\.parquet", r"000001\.mp4"):
        s3.cut("GET", part, after=500)
        s3.corrupt("GET", part)
    s3.slow("GET", r"000002\.mp4", seconds=0.01)
    s3.fail("HEAD", "", status=500)
    convert_here(Path(stored), tmp_path / "out")
    assert content_of(tmp_path / "out") == content_of(reference)
    assert not [fault for fault in s3.faults if fault.times and fault.method == "GET"]


def test_workers_share_a_cache_that_is_too_small(s3: S3Server, stored: str, reference: Path, tmp_path: Path) -> None:
    largest = max(len(s3.get(f"{PLACE}/{name}")) for name in (VIDEO, ROWS))
    recipe = recipe_for(Path(stored), cache_gb=1.2 * largest / 1e9)
    convert(recipe, tmp_path / "out", workers=Workers(num=2, executor="local"))
    assert content_of(tmp_path / "out") == content_of(reference)
    assert len(list((tmp_path / "cache").rglob("*.mp4"))) < len(LENGTHS)
    header = json.loads((tmp_path / "out/.millrace/ledger.jsonl").read_text().splitlines()[0])
    assert "cache_gb" not in header


def test_a_run_that_was_killed_in_mid_download_goes_on(
    s3: S3Server, stored: str, reference: Path, tmp_path: Path
) -> None:
    hold = s3.hold("GET", VIDEO)
    assert hold.arrived is not None
    assert hold.released is not None
    with start("convert", stored, tmp_path / "out", *FLAGS) as process:
        assert hold.arrived.wait(timeout=120)
        os.killpg(process.pid, signal.SIGKILL)
    hold.released.set()
    s3.forget()
    assert list((tmp_path / "cache/millrace-stores/unfinished").iterdir())
    convert_here(Path(stored), tmp_path / "out")
    assert content_of(tmp_path / "out") == content_of(reference)
    assert not list((tmp_path / "cache/millrace-stores/unfinished").iterdir())
    assert not s3.paths("GET", "episode_000000.mp4"), "it was converted before"


def test_a_changed_object_is_noticed(s3: S3Server, stored: str, tmp_path: Path) -> None:
    convert_here(Path(stored), tmp_path / "out")
    s3.forget()
    s3.put(f"{PLACE}/notes.txt", b"of the lab")  # not of the dataset's content
    convert_here(Path(stored), tmp_path / "out")
    assert not [path for path in s3.paths("GET") if path.endswith((".mp4", ".parquet", ".json", ".jsonl"))]
    s3.put(f"{PLACE}/{VIDEO}", s3.get(f"{PLACE}/{VIDEO.replace('01.', '00.')}"))
    with pytest.raises(MillraceError, match="changed"):
        convert_here(Path(stored), tmp_path / "out")


def test_a_change_during_the_run_fails_the_episode(s3: S3Server, stored: str, tmp_path: Path) -> None:
    recipe = recipe_for(Path(stored))

    def change(*_: object) -> None:
        s3.put(f"{PLACE}/{VIDEO}", b"another video")

    with pytest.raises(EpisodesFailed, match=f"{ADDRESS}/{VIDEO} was changed since it was listed") as caught:
        convert(recipe, tmp_path / "out", workers=Workers(local=True), on_plan=change)
    assert [one.code for one in caught.value.quarantined] == [FaultCode.CHANGED]


def test_what_cannot_be_had_is_named(s3: S3Server, stored: str, tmp_path: Path) -> None:
    s3.delete(f"{PLACE}/{VIDEO}")
    s3.fail("GET", r"000002\.mp4", status=403, code="AccessDenied", times=1000)
    with pytest.raises(EpisodesFailed) as caught:
        convert_here(Path(stored), tmp_path / "out")
    missing, denied = caught.value.quarantined
    assert (missing.code, missing.episode, missing.camera) == (FaultCode.MISSING, 1, "top")
    assert VIDEO in missing.reason
    assert (denied.code, denied.episode) == (FaultCode.STORE, 2)
    assert "000002.mp4 is denied (AccessDenied)" in denied.reason
    assert ADDRESS in str(caught.value)
    assert not leaks(contents(tmp_path / "out"), str(caught.value))


def test_a_dataset_that_is_not_there_has_a_remedy(s3: S3Server, stored: str) -> None:
    with pytest.raises(StoreError, match="there is no bucket nowhere"):
        open_source("s3://nowhere/aloha")
    with pytest.raises(
        DatasetError, match="there is nothing at s3://robots/lab/alhoa: did you mean s3://robots/lab/aloha"
    ):
        open_source("s3://robots/lab/alhoa")
    with pytest.raises(DatasetError, match="s3://robots/lab is no LeRobot dataset: found aloha"):
        open_source("s3://robots/lab")
    s3.fail("GET", "robots$", status=403, code="AccessDenied", times=1000)
    with pytest.raises(StoreError, match="access to s3://robots/lab/aloha is denied") as caught:
        open_source(stored)
    assert caught.value.facts.dataset == ADDRESS


def test_commands_take_addresses_and_show_no_secret(
    s3: S3Server,
    stored: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, _ = run(capfd, ["inspect", stored, "--json"])
    assert code == 0
    assert json.loads(out)["address"] == ADDRESS
    assert run(capfd, ["convert", stored, tmp_path / "out", *FLAGS])[0] == 0
    made = s3.put_folder("robots/made", tmp_path / "out")
    assert run(capfd, ["validate", made])[0] == 0
    assert run(capfd, ["report", made, "--out", tmp_path / "report.html", "--episodes", "0"])[0] == 0
    for part in (r"000001\.mp4", "robots$"):
        s3.fail("GET", part, status=500, times=1000)
        monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / f"cache of {part[:3]}"))
        code, _, err = run(capfd, ["convert", stored, tmp_path / part[:3], *FLAGS])
        assert (code, "could not be reached (InternalError)" in err) == (1, True)
    assert not leaks(contents(tmp_path))


def test_credentials_in_an_address_are_not_repeated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"s3://{SECRETS[0]}:{SECRETS[1]}@robots/lab/aloha"
    for words in (["inspect", address], ["convert", address, tmp_path / "out", *FLAGS], ["validate", address]):
        code, _, err = run(capfd, words)
        assert (code, "holds credentials" in err) == (2, True)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"sources:\n  - path: {address}\n    map: aloha_to_gr1\n")
    code, _, err = run(capfd, ["convert", "--recipe", recipe, tmp_path / "out", "--local"])
    assert (code, "holds credentials" in err) == (2, True)


def test_recipes_take_addresses(stored: str, local: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"sources:\n  - path: {stored}\n    map: aloha_to_gr1\n  - path: file://{local}\n    map: aloha_to_gr1\n"
    )
    recipe = read_recipe(file)
    assert recipe.sources[1].path == local
    made = convert(recipe.model_copy(update={"image_size": IMAGE_SIZE}), tmp_path / "out", workers=Workers(local=True))
    assert made.num_episodes == 2 * len(LENGTHS)
    origins = [one["source"] for one in json.loads((tmp_path / "out/millrace.json").read_text())["episodes"]]
    assert origins == [ADDRESS] * 3 + ["aloha"] * 3
    assert Recipe.single(open_source(stored)).sources[0].path == Path(stored)


def test_any_store_of_fsspec_is_a_source(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("memory").put(str(local), "/shelf/aloha", recursive=True)
    source = open_source("memory://shelf/aloha")
    assert len(source.episodes) == len(LENGTHS)
    source.episodes[1].fetch(("top",))
    assert (source.root / VIDEO).read_bytes() == (local / VIDEO).read_bytes()
    assert files_of(fetch_dataset("memory://shelf/aloha")) == files_of(local)


def test_names_of_places(tmp_path: Path) -> None:
    (tmp_path / "s3:/robots").mkdir(parents=True)
    assert locate_source("s3://robots", tmp_path).is_absolute(), "a folder that is there goes first"
    assert locate_source("s3://other", tmp_path) == Path("s3://other")
    assert locate_source("file:///data/my%20robot", Path("elsewhere")) == Path("/data/my robot")
    assert public_name(Path("s3://robots/lab/aloha"), None) == ADDRESS
