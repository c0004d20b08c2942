"""An error of the system at each call in turn: it is named, nothing is lost, and the same command ends the same."""

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from conftest import LOCAL, files_of, recipe_for
from millrace.engine.convert import convert
from millrace.engine.errors import OutputFailed
from millrace.engine.layout import LEDGER, META
from support.synthetic import write_dataset

SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 2, "cameras": []}
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "EINTR")
# How far from one failing call to the next: of the many that are alike, every other one is enough.
STEPS = {"open": 2, "write": 2, "fsync": 2, "replace": 1, "rename": 1, "mkdir": 2, "unlink": 1}
FULL = ("ENOSPC", "EDQUOT")


class WrittenFile:
    """A file of which a write may fail, as one of a stream does that names no file."""

    def __init__(self, file: IO[Any], fail: Callable[[str, object], None]) -> None:
        self._file, self._fail = file, fail

    def write(self, content: Any) -> int:
        self._fail("write", self._file.name)
        return self._file.write(content)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "WrittenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class FailingCall:
    """Fails one call, by its number, of those that concern a folder; hit: the path, once it came to that."""

    def __init__(self, call: str, number: int, error: str, folder: Path) -> None:
        self.call, self.number, self.error, self.folder = call, number, getattr(errno, error), folder
        self.hit: Path | None = None
        self.num_calls = 0

    def fail(self, call: str, where: object) -> None:
        if call != self.call or not isinstance(where, (str, Path, int)):
            return
        path = Path(os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else os.path.abspath(where))
        if path.is_relative_to(self.folder):
            self.num_calls += 1
        if self.num_calls == self.number and self.hit is None:
            self.hit = path
            is_named = call not in ("fsync", "write")
            raise OSError(self.error, os.strerror(self.error), *([str(path)] if is_named else []))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
            patch.setattr(os, name, self._failing(name, getattr(os, name)))
        opened = io.open

        def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            self.fail("open", file)
            found = opened(file, mode, *args, **kwargs)
            return WrittenFile(found, self.fail) if self.call == "write" and set(mode) & set("wax") else found

        patch.setattr(io, "open", open_file)
        patch.setattr(builtins, "open", open_file)

    def _failing(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.fail(name, args[0])
            return work(*args, **kwargs)

        return call


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calls") / "source"
    write_dataset(root, lengths=(3, 4), fps=20, cameras=())
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(recipe_for(source, **SETTINGS), out, workers=LOCAL)
    return files_of(out)


def check_message(message: str, error: str, failing: FailingCall, out: Path) -> None:
    """The error says where, what the system says, and that the same command goes on."""
    assert failing.hit is not None
    assert str(out if error in FULL else failing.hit) in message
    assert os.strerror(failing.error) in message
    assert ("no space is left" if error in FULL else "cannot be") in message or "cannot be read" in message
    assert "the same command goes on where this one stopped" in message


def recorded(out: Path) -> int:
    """Episodes that the ledger has."""
    return (out / LEDGER).read_bytes().count(b'{"kind":"done"') if (out / LEDGER).is_file() else 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name what is synced")
@pytest.mark.parametrize("call", STEPS)
def test_of_every_call(source: Path, undisturbed: dict[str, bytes], tmp_path: Path, call: str) -> None:
    """Each call with one of the errors, the next with the next."""
    recipe, out = recipe_for(source, **SETTINGS), tmp_path.resolve() / "out"
    for attempt in count():
        shutil.rmtree(out, ignore_errors=True)
        error = ERRORS[attempt % len(ERRORS)]
        failing = FailingCall(call, 1 + attempt * STEPS[call], error, out)
        message = None
        with pytest.MonkeyPatch.context() as patch:
            failing.install(patch)
            try:
                convert(recipe, out, workers=LOCAL)
            except OutputFailed as failure:
                message = str(failure)
        if failing.hit is None:
            break
        # All there is to do once meta/ appeared is to see that a power cut does not undo that.
        is_finished, is_last = (out / META).exists(), (call, failing.hit) == ("fsync", out)
        assert is_finished == (message is None) or is_last
        if message is not None:
            check_message(message, error, failing, out)
        num_recorded = recorded(out)
        summary = convert(recipe, out, workers=LOCAL)
        assert summary.was_finished == is_finished
        assert is_finished or summary.num_resumed == num_recorded
        assert files_of(out) == undisturbed
    assert attempt > 0
