"""A folder of a store through every fault: what passes is tried again, what does not is explained, nothing leaks."""

import hashlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.engine.errors import MillraceError, RecipeError, StoreError
from millrace.engine.stores import filesystem, store_calls
from millrace.engine.stores.address import parse_store_address
from millrace.engine.stores.store import Store
from support.s3_faults import SECRETS, S3Server

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """s3fs does not wait for anything either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystem, "S3_TRIES", 1)
        filesystem.forget_open()
        yield
    filesystem.forget_open()


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A folder with three objects, asked again without waiting."""
    monkeypatch.setattr(store_calls.time, "sleep", lambda seconds: None)
    for name in ("meta/info.json", "videos/a.mp4", "videos/deep/b.mp4"):
        s3.put(f"shelf/lab/aloha/{name}", CONTENT)
    return Store(parse_store_address("s3://shelf/lab/aloha"))


@pytest.fixture
def memory() -> Iterator[Store]:
    """The same without a server: any scheme that fsspec knows will do."""
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("meta/info.json", "videos/a.mp4"):
        system.pipe_file(f"/shelf/lab/aloha/{name}", CONTENT)
    yield Store(parse_store_address("memory://shelf/lab/aloha"))
    system.rm("/shelf", recursive=True)


def test_objects_are_listed_with_size_and_digest(store: Store) -> None:
    found = {stored.name: stored for stored in store.list_objects()}
    assert sorted(found) == ["meta/info.json", "videos/a.mp4", "videos/deep/b.mp4"]
    digest = hashlib.md5(CONTENT).hexdigest()
    assert {(stored.num_bytes, stored.md5, stored.tag) for stored in found.values()} == {(len(CONTENT), digest, digest)}
    assert store.head("videos/a.mp4") == found["videos/a.mp4"]
    assert store.head("videos/none.mp4") is None
    assert store.head("videos") is None
    assert store.list_names() == ["meta", "videos"]


def test_any_scheme_of_fsspec_is_a_store(memory: Store, tmp_path: Path) -> None:
    found = {stored.name: stored for stored in memory.list_objects()}
    assert sorted(found) == ["meta/info.json", "videos/a.mp4"]
    memory.download(found["videos/a.mp4"], tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT
    assert memory.read("meta/info.json", 3, 6) == bytes([3, 4, 5])
    with pytest.raises(StoreError, match="is there already"):
        memory.put(b"other", "meta/info.json", only_new=True)
    memory.delete(["videos/a.mp4", "videos/none.mp4"])
    assert memory.head("videos/a.mp4") is None


def test_ranges_are_read_alone(s3: S3Server, store: Store) -> None:
    assert store.read("videos/a.mp4", 10, 20) == CONTENT[10:20]
    assert store.read("videos/a.mp4") == CONTENT
    last = store.read_through("videos/a.mp4", lambda file: (file.seek(-4, 2), file.read())[1], block_bytes=64)
    assert last == CONTENT[-4:]
    ranges = [request.range for request in s3.requests if request.method == "GET" and "a.mp4" in request.path]
    assert ranges[0] == "bytes=10-19"


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")])
def test_what_passes_is_tried_again(s3: S3Server, store: Store, tmp_path: Path, status: int, code: str) -> None:
    s3.fail("GET", "shelf$", status=status, code=code, times=2)
    s3.fail("GET", "a.mp4", status=status, code=code, times=2)
    s3.fail("PUT", "new.txt", status=status, code=code, times=2)
    s3.fail("HEAD", "new.txt", status=status, code=code)
    stored = next(one for one in store.list_objects() if one.name == "videos/a.mp4")
    store.download(stored, tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT
    store.put(b"new", "new.txt")
    assert store.head("new.txt") is not None
    assert not [fault for fault in s3.faults if fault.times]


@pytest.mark.parametrize("fault", ["cut", "slow", "corrupt"])
def test_a_file_comes_whole_through_a_bad_connection(s3: S3Server, store: Store, tmp_path: Path, fault: str) -> None:
    stored = store.head("videos/a.mp4")
    assert stored is not None
    match fault:
        case "cut":
            s3.cut("GET", "a.mp4", after=3000, times=3)
        case "slow":
            s3.slow("GET", "a.mp4", seconds=0.02)
        case _:
            s3.corrupt("GET", "a.mp4", times=2)
    store.download(stored, tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT


def test_bytes_that_are_wrong_each_time_are_refused(s3: S3Server, store: Store, tmp_path: Path) -> None:
    stored = store.head("videos/a.mp4")
    assert stored is not None
    s3.corrupt("GET", "a.mp4", times=100)
    with pytest.raises(StoreError, match=r"s3://shelf/lab/aloha/videos/a.mp4 arrives with other bytes"):
        store.download(stored, tmp_path / "a.mp4")


def test_an_object_that_was_replaced_is_not_taken(s3: S3Server, store: Store, tmp_path: Path) -> None:
    stored = store.head("videos/a.mp4")
    assert stored is not None
    s3.put("shelf/lab/aloha/videos/a.mp4", CONTENT[::-1])
    with pytest.raises(StoreError, match="was changed since it was listed") as caught:
        store.download(stored, tmp_path / "a.mp4")
    assert caught.value.kind == "changed"


def test_what_must_be_new_is_put_once_though_the_answer_is_lost(s3: S3Server, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "new.mp4"
    file.write_bytes(CONTENT)
    s3.lose("PUT", "new.mp4")
    store.upload(file, "new.mp4", only_new=True)
    assert s3.get("shelf/lab/aloha/new.mp4") == CONTENT
    file.write_bytes(b"other")
    with pytest.raises(StoreError) as caught:
        store.upload(file, "new.mp4", only_new=True)
    assert caught.value.kind == "exists"
    store.upload(file, "new.mp4")
    assert s3.get("shelf/lab/aloha/new.mp4") == b"other"
    store.delete(["new.mp4", "never.mp4"])
    assert store.head("new.mp4") is None


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", "access to s3://shelf/lab/aloha/x is denied (AccessDenied): give credentials"),
        (403, "SignatureDoesNotMatch", "is denied (SignatureDoesNotMatch)"),
        (404, "NoSuchBucket", "there is no bucket shelf (NoSuchBucket): check the name"),
        (404, "NoSuchKey", "there is no s3://shelf/lab/aloha/x (NoSuchKey)"),
        (503, "SlowDown", "the store limits how much it is asked (SlowDown)"),
        (500, "InternalError", "could not be reached (InternalError); the same command goes on later"),
        (400, "".join(SECRETS), "s3://shelf/lab/aloha/x: "),
    ],
)
def test_errors_are_explained_without_the_servers_words(
    s3: S3Server, store: Store, status: int, code: str, message: str
) -> None:
    s3.fail("GET", "/x$", status=status, code=code, times=100)
    with pytest.raises(StoreError) as caught:
        store.read("x", 0, 10)
    told = "".join(traceback.format_exception(caught.value))
    assert message in str(caught.value)
    assert not [secret for secret in SECRETS if secret in told]


def test_a_missing_bucket_is_told(s3: S3Server, store: Store) -> None:
    with pytest.raises(StoreError, match="there is no bucket nowhere") as caught:
        list(Store(parse_store_address("s3://nowhere/aloha")).list_objects())
    assert caught.value.kind == "no-bucket"


def test_without_credentials_public_objects_are_read_and_others_are_explained(
    s3: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3.put("shelf/lab/aloha/public", CONTENT, is_public=True)
    s3.fail("GET", "private", status=403, code="AccessDenied", times=10)
    with pytest.raises(
        StoreError, match=r"there are no credentials for .*: give credentials in the environment: AWS_ACC"
    ):
        store.read("private", 0, 10)
    assert store.read("public", 0, 10) == CONTENT[:10]


def test_a_missing_package_and_an_unknown_scheme_have_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(filesystem.PACKAGES, "tosfs", "tosfs")
    with pytest.raises(StoreError, match="needs a package that is not installed"):
        Store(parse_store_address("tosfs://shelf/aloha")).head("x")
    with pytest.raises(MillraceError, match=r"'s33' is not a scheme of stores\. Did you mean 's3'") as caught:
        Store(parse_store_address("s33://shelf/aloha")).head("x")
    assert isinstance(caught.value, RecipeError)
