"""Training on datasets in object stores: each node fetches them, and an unfinished one is refused."""

import shutil
from pathlib import Path

import pytest
import tyro

from conftest import files_of
from millrace import cli
from millrace.commands.finetune import Finetune
from millrace.engine.errors import DatasetError
from millrace.train.errors import SettingsError
from millrace.train.settings import FinetuneSettings
from millrace.train.stored_datasets import fetch_on_node
from support.s3_faults import SECRETS, S3Server
from support.stored_output import BUCKET, OUT, PREFIX

pytest_plugins = ["support.stored_fixtures"]


@pytest.fixture
def stored(store: S3Server, local: Path) -> S3Server:
    """The store with a finished dataset."""
    store.put_folder(f"{BUCKET}/{PREFIX.rstrip('/')}", local)
    return store


def settings(*arguments: str) -> FinetuneSettings:
    return tyro.cli(Finetune, args=[*arguments, "--base-model-path", "base"]).settings()


def test_datasets_are_fetched_before_anything_is_checked(stored: S3Server, local: Path, tmp_path: Path) -> None:
    stored.put_folder(f"{BUCKET}/lab/out_heldout", local)
    found = settings(OUT, str(tmp_path), "--eval-dataset", f"{OUT}_heldout")
    fetched, folder = found.datasets
    assert folder == tmp_path
    assert found.eval_dataset is not None
    assert (fetched.name, found.eval_dataset.name) == ("out", "out_heldout")
    assert files_of(fetched) == files_of(found.eval_dataset) == files_of(local)
    assert found.stored == {str(fetched): OUT, str(found.eval_dataset): f"{OUT}_heldout"}


def test_node_fetches_what_it_lacks_and_notices_a_change(stored: S3Server, local: Path, tmp_path: Path) -> None:
    found = settings(OUT)
    shutil.rmtree(tmp_path / "cache")
    fetch_on_node(found.stored)
    assert files_of(found.datasets[0]) == files_of(local)
    stored.put(f"{BUCKET}/{PREFIX}README.md", b"another")
    with pytest.raises(SettingsError, match="was changed since the run began"):
        fetch_on_node(found.stored)


def test_unfinished_dataset_is_refused_by_every_reader(
    stored: S3Server, local: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored.put(f"{BUCKET}/{PREFIX}.millrace/ledger-000001.jsonl", b"{}\n")
    assert cli.main(["validate", OUT]) == 0
    stored.delete(f"{BUCKET}/{PREFIX}meta/info.json")
    with pytest.raises(DatasetError, match=r"s3://robots/lab/out is unfinished, as meta/info\.json is its last object"):
        settings(OUT)
    for command in (["validate", OUT], ["inspect", OUT]):
        assert cli.main(command) == 1
    told = "".join(capfd.readouterr())
    assert told.count("is unfinished") == 2
    assert not any(secret in told for secret in SECRETS)
