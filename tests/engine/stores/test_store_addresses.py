"""Addresses in stores: what they mean, and that none with credentials is taken or repeated."""

from pathlib import Path

import pytest

from millrace.engine.errors import RecipeError
from millrace.engine.stores.address import StoreAddress, is_store_address, local_path, parse_store_address


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("s3://robots/aloha", "s3://robots/aloha"),
        ("s3:/robots/aloha", "s3://robots/aloha"),  # as a Path writes it
        ("S3://robots/aloha//v2/", "s3://robots/aloha/v2"),
        ("s3a://robots", "s3://robots"),
        ("gcs://robots/aloha", "gs://robots/aloha"),
        ("abfs://container@account.dfs.core.windows.net/aloha", "abfs://container@account.dfs.core.windows.net/aloha"),
    ],
)
def test_an_address_is_read_as_it_is_written(written: str, meant: str) -> None:
    assert str(parse_store_address(written)) == meant
    assert str(parse_store_address(Path(written))) == meant


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:hunter2@robots/aloha",
        "s3://hunter2@robots/aloha",
        "sftp://me:hunter2@host/aloha",
        "s3://AKIA:hunt/er2@robots/aloha",
        "s3://robots/aloha?secret=hunter2",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(RecipeError, match="environment") as caught:
        parse_store_address(address)
    assert "hunt" not in str(caught.value) + repr(caught.value.facts)


def test_a_web_address_is_refused_with_what_to_write() -> None:
    with pytest.raises(RecipeError, match="hf://ORG/NAME") as caught:
        parse_store_address("https://host/aloha?X-Amz-Signature=hunter2")
    assert "hunter2" not in str(caught.value) + repr(caught.value.facts)


def test_a_port_and_a_name_with_colons_are_no_credentials() -> None:
    assert str(parse_store_address("sftp://host:22/data")) == "sftp://host:22/data"
    access_point = "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/robots"
    assert str(parse_store_address(access_point)) == access_point


@pytest.mark.parametrize("address", ["s3://", "s3:///aloha/..", "s3://robots/../other"])
def test_an_address_that_names_no_folder_is_refused(address: str) -> None:
    with pytest.raises(RecipeError):
        parse_store_address(address)


@pytest.mark.parametrize("name", ["data/aloha", "/data/s3:/x", "hf://org/name", "org/name", "C:/data", "file:///data"])
def test_other_names_are_no_addresses_in_stores(name: str) -> None:
    assert not is_store_address(name)


@pytest.mark.parametrize("name", ["file:///data/my%20robot", "file:/data/my robot", "file://localhost/data/my robot"])
def test_a_file_address_is_a_folder(name: str) -> None:
    assert local_path(name) == Path("/data/my robot")


def test_parts_of_an_address() -> None:
    address = StoreAddress("s3", "robots", "lab/aloha")
    assert (address.name, str(address.parent), str(address.join("meta"))) == (
        "aloha",
        "s3://robots/lab",
        "s3://robots/lab/aloha/meta",
    )
    assert (StoreAddress("s3", "robots").name, str(StoreAddress("s3", "robots").join(""))) == ("robots", "s3://robots")
