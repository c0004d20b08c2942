"""An error of the system, once: no good episode is ever missing from a finished dataset, and a rerun ends the same."""

import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq
import pytest

from conftest import LOCAL, files_of, recipe_for, video_path
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import Summary, convert, plan_conversion
from millrace.engine.dataset.record import EpisodeFailure
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import EpisodesFailed, FaultCode, VideoError, fault_code
from millrace.engine.execution.executor import Folders
from millrace.engine.execution.retry import retry
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.sources.damage import diagnose_file, find_unreadable
from millrace.engine.sources.episode import SourceFault
from support.synthetic import SyntheticVideo, truncate_file, write_dataset, write_video

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2}
# Where this process asks the system, by itself or through a library.
CALLS = {
    "open": (io, "open"),
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "rows opened": (pq, "ParquetFile"),
    "rows written": (pq, "write_table"),
    "video opened": (av, "open"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("system") / "source"
    write_dataset(root, lengths=(6, 8), fps=20, video=SMALL)
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert_all(source, out)
    return files_of(out)


def convert_all(source: Path, out: Path) -> Summary:
    return convert(recipe_for(source, **SETTINGS), out, workers=LOCAL, skip_bad=True)


def error_of(source: Path, out: Path) -> str | None:
    try:
        convert_all(source, out)
    except (MillraceError, OSError) as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Fault:
    """One call that fails as the system fails it. number: of the call, from 0. error: an errno."""

    call: str
    number: int
    error: int

    def __str__(self) -> str:
        return f"{self.call}-{self.number}-{errno.errorcode[self.error]}"

    def befall(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
        """Fail that call, of those that concern a folder; returns whether it came to that."""
        owner, name = CALLS[self.call]
        work, count = getattr(owner, name), 0

        def failing(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            where = f"/proc/self/fd/{args[0]}" if name == "fsync" else args[0 if name != "write_table" else 1]
            is_path = isinstance(where, (str, Path))
            count += Path(os.path.realpath(where)).is_relative_to(folder) if is_path else 0
            if count == self.number + 1:
                count += 1
                filename = [str(where)] if name in ("open", "replace") else []
                raise OSError(self.error, os.strerror(self.error), *filename)
            return work(*args, **kwargs)

        monkeypatch.setattr(owner, name, failing)
        return lambda: count > self.number + 1


OF_OUTPUT = [
    *(Fault(call, number, errno.EIO) for call in ("open", "fsync", "replace") for number in (0, 1, 2, 5)),
    *(Fault(call, 0, error) for call in ("fsync", "rows written") for error in (errno.ESTALE, errno.ENOMEM)),
    *(Fault("video opened", number, errno.EIO) for number in (1, 3)),
]
OF_SOURCE = [
    Fault("rows opened", 0, errno.EIO),
    Fault("video opened", 1, errno.ESTALE),
    Fault("video opened", 0, errno.EIO),
]


@pytest.mark.parametrize("fault", OF_OUTPUT, ids=str)
def test_of_the_output(
    fault: Fault, source: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path.resolve() / "out"
    with monkeypatch.context() as patch:
        has_failed = fault.befall(out, patch)
        message = error_of(source, out)
        assert has_failed()
    assert message is None or str(out) in message
    assert message is None or not (out / "meta").exists()
    assert len(convert_all(source, out).quarantined) == 0
    assert files_of(out) == undisturbed


@pytest.mark.parametrize("fault", OF_SOURCE, ids=str)
def test_of_the_source(
    fault: Fault, source: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_failed = fault.befall(source.resolve(), monkeypatch)
    convert_all(source, tmp_path / "out")
    assert has_failed()
    assert files_of(tmp_path / "out") == undisturbed


def test_what_the_system_never_gives_is_not_skipped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, opened = video_path(source, 1), io.open

    def refusing(file: Any, *args: Any, **kwargs: Any) -> Any:
        if file == video and 0 in args:  # not buffered, as one reads that only asks whether a disk gives it
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(file, *args, **kwargs)

    content = video.read_bytes()
    # libav takes what a disk does not give for the end of the file.
    write_video(video, num_frames=5, fps=20, episode=1, video=SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", refusing)
        with pytest.raises(EpisodesFailed) as caught:
            convert_all(source, tmp_path / "out")
    video.write_bytes(content)
    (failure,) = caught.value.quarantined
    assert (failure.code, failure.episode) == (FaultCode.UNREADABLE, 1)
    assert failure.reason == f"{video} cannot be read (Input/output error)"
    assert "1 of these failures do not come from the data (unreadable): once the cause is fixed" in str(caught.value)
    assert "nothing was skipped: episode 1 failed, but not for its data (unreadable)" in str(caught.value)


def test_a_library_that_says_eio_of_a_whole_file_means_its_content(source: Path) -> None:
    path = video_path(source, 0)
    eio = OSError(errno.EIO, "Input/output error")
    assert diagnose_file(path, eio)[0] is FaultCode.UNREADABLE
    assert diagnose_file(path, eio, certain=()) == (FaultCode.CORRUPT, "is truncated or corrupt (Input/output error)")
    refused = OSError(errno.EACCES, "Permission denied")
    assert diagnose_file(path, refused) == (FaultCode.UNREADABLE, "cannot be read (Permission denied)")


def test_memory_that_a_damaged_file_asks_for_in_vain_is_the_files_fault() -> None:
    error = VideoError("a.mp4 is truncated or corrupt")
    error.__cause__ = MemoryError("malloc of 1 PiB failed")
    assert fault_code(error) is FaultCode.CORRUPT
    assert fault_code(MemoryError()) is FaultCode.MEMORY
    error.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert fault_code(error) is FaultCode.MEMORY


def test_what_was_skipped_is_tried_again_and_forgotten_once_it_converts(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The file looks as it did: a mount that was stale for a while."""
    video, out = video_path(source, 0), tmp_path / "out"
    content, state = video.read_bytes(), video.stat()

    try:
        video.write_bytes(bytes(len(content)))
        os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))
        convert_all(source, out)
        (out / "meta").rename(tmp_path / "meta")  # as if it had been killed just before
    finally:
        video.write_bytes(content)
        os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert convert_all(source, out).quarantined == ()
    assert files_of(out) == undisturbed


@pytest.fixture
def truncated(source: Path, tmp_path: Path) -> tuple[ConversionPlan, EpisodeFailure]:
    """A plan whose second episode cannot be converted, and its failure."""
    root = Path(shutil.copytree(source, tmp_path / "source"))
    truncate_file(video_path(root, 1), 0.5)
    plan = plan_conversion(recipe_for(root, **SETTINGS))
    failure = convert_episode(plan.episodes[1], plan.job, tmp_path / "out", tmp_path)
    assert isinstance(failure, EpisodeFailure)
    return plan, failure


@pytest.mark.parametrize("is_known", [False, True], ids=["by data", "by metadata"])
def test_a_retry_reads_each_file_once_and_none_for_what_metadata_shows(
    truncated: tuple[ConversionPlan, EpisodeFailure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    plan, failure = truncated
    planned = plan.episodes[1]
    if is_known:
        fault = SourceFault(FaultCode.METADATA, "no length")
        planned = replace(planned, episode=replace(planned.episode, faults=(fault,)))
    read: list[Path] = []
    monkeypatch.setattr("millrace.engine.execution.retry.find_unreadable", read.extend)
    out, episodes = tmp_path / "out", (plan.episodes[0], planned)
    results = list(retry([failure, failure, failure], episodes, plan.job, Folders(out, tmp_path), is_inline=True))
    assert results == [failure, failure, failure]
    assert read == ([] if is_known else list(planned.episode.paths))


def test_holes_of_a_sparse_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mp4"
    with path.open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 40)  # a terabyte: hours to read
        file.seek(1 << 39)
        file.write(b"middle")
    assert find_unreadable([path]) is None
