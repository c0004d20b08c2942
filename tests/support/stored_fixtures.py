"""A dataset that is converted into an object store, for tests that name this module as a plugin of pytest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import convert_here
from support.s3_faults import S3Server
from support.stored_output import BUCKET, SETTINGS
from support.synthetic import SyntheticVideo, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)


@pytest.fixture
def store(s3: S3Server) -> Iterator[S3Server]:
    """The S3 server with an empty bucket."""
    s3.add_bucket(BUCKET)
    yield s3
    s3.forget()
    for key in s3.keys(BUCKET):
        s3.delete(f"{BUCKET}/{key}")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored") / "source"
    write_dataset(root, lengths=(12, 8, 10), fps=20, cameras=("top",), video=SMALL)
    return root


@pytest.fixture(scope="session")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conversion into a folder; not to be changed."""
    out = tmp_path_factory.mktemp("local") / "out"
    convert_here(source, out, **SETTINGS)
    return out
