"""What permissions hide is named, with the command that opens it, and no episode is at fault."""

import shutil
from pathlib import Path

import pytest

from conftest import LOCAL, recipe_for
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.dataset.record import EpisodeFailure
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import FaultCode
from millrace.engine.inspection import inspect_dataset
from millrace.engine.sources.row_reader import RowReader
from support.ordinary_user import ordinary_user


@pytest.fixture
def source(aloha: Path, aloha_gr1: Path, shared_folder: Path) -> Path:
    """A dataset that any user may read, once Python has loaded what converts it: another user may not read that."""
    inspect_dataset(aloha)
    return Path(shutil.copytree(aloha, shared_folder / "source"))


@pytest.mark.parametrize("closed", [".", "meta", "meta/info.json", "meta/tasks.jsonl"])
def test_a_dataset_that_may_not_be_read_is_reported(closed: str, source: Path) -> None:
    path = source / closed
    path.chmod(0)
    with ordinary_user():
        inspection = inspect_dataset(source)
    path.chmod(0o755)
    (finding,) = inspection.findings
    assert finding.code == "not-opened"
    assert "cannot be read (Permission denied; " in finding.message
    assert f" {path}`)" in finding.message
    assert f"chmod u+rX {path}`" in finding.message or f"chmod a+rX {path}`" in finding.message


@pytest.mark.parametrize("closed", ["data", "data/chunk-000/episode_000000.parquet", "videos"])
def test_an_episode_that_may_not_be_read_is_never_skipped(closed: str, source: Path, shared_folder: Path) -> None:
    """By what is asked of its rows and video: a code that is not of the data, see `FaultCode.is_of_episode`."""
    plan, path = plan_conversion(recipe_for(source)), source / closed
    shared_folder.chmod(0o777)
    path.chmod(0)
    with ordinary_user():
        failure = convert_episode(plan.episodes[0], plan.job, shared_folder, shared_folder, reader=RowReader())
        findings = inspect_dataset(source).findings
    path.chmod(0o755)
    assert isinstance(failure, EpisodeFailure)
    assert failure.code is FaultCode.UNREADABLE
    assert f"+rX {path}`)" in failure.reason
    assert f"+rX {path}`)" in findings[0].message


def test_a_folder_that_may_not_be_written_is_named(source: Path, shared_folder: Path) -> None:
    out = shared_folder / "out" / "dataset"
    out.parent.mkdir(mode=0o555)
    with ordinary_user(), pytest.raises(MillraceError) as caught:
        convert(recipe_for(source), out, workers=LOCAL)
    assert str(caught.value).startswith(f"{out} cannot be written (Permission denied); name another place, or ")
    assert str(caught.value).endswith(f"+rwX {out.parent}`")
