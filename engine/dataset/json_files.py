"""Untrusted JSON files as checked models; what is wrong with one becomes a Problem."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Any, AnyStr, NoReturn

from pydantic import ConfigDict, RootModel

from millrace.engine.dataset.problems import Problem
from millrace.engine.errors import DatasetError
from millrace.engine.sources import why_foreign, why_unreadable
from millrace.engine.sources.json_text import Model, explain_refusals, parse_json, read_text, validate_as
from millrace.engine.sources.lfs import REASON, is_lfs_pointer

# Far above what real files hold, so that a bad one does not fill the memory.
MAX_LINE = 64 << 20


class JsonObject(RootModel[dict[str, Any]]):
    """A JSON object whose content other checks judge."""

    model_config = ConfigDict(frozen=True)


class Unreadable(Exception):
    """A file, or a part of one, that later checks cannot use."""

    def __init__(self, found: Problem) -> None:
        super().__init__(str(found))
        self.problem = found


class _NotFinite(Exception):
    """A NaN or Infinity in JSON."""


def read_json(root: Path, name: str, model: type[Model]) -> Model:
    """A JSON file of the dataset as a model.

    Raises:
        Unreadable: the file is missing or too large, no JSON, not finite, or not what the model demands.
    """
    with report_unreadable(root, name):
        text = read_text(root / name, "")
    return parse_model(text, model, name)


def read_jsonl(root: Path, name: str, model: type[Model]) -> Iterator[Model]:
    """A model for each line that is not blank, read as they are asked for.

    Raises:
        Unreadable: at the first line that is wrong.
    """
    for number, line in read_lines(root, name):
        if line.strip():
            yield parse_model(line, model, name, line=number)


def blank_line_problems(root: Path, name: str) -> Iterator[Problem]:
    """The blank lines of a JSONL file; an unreadable file has none."""
    try:
        blank = [number for number, line in read_lines(root, name) if not line.strip()]
    except Unreadable:
        return
    if blank:
        yield Problem.of("jsonl-blank", name, f"line {blank[0]} is blank ({len(blank)} in all); remove it")


def read_lines(root: Path, name: str) -> Iterator[tuple[int, str]]:
    """A text file's lines with their numbers.

    Raises:
        Unreadable: no such text, or a line too long for this to be metadata.
    """
    with report_unreadable(root, name), (root / name).open(encoding="utf-8") as file:
        if is_lfs_pointer(root / name):
            raise Unreadable(Problem.of("meta-parse", name, REASON))
        yield from ((number, line) for number, _, line in number_lines(file, name))


def number_lines(file: IO[AnyStr], name: str) -> Iterator[tuple[int, int, AnyStr]]:
    """An open file's lines: number from 1, offset of its first byte or character, text.

    Raises:
        Unreadable: a line is too long for this to be metadata.
    """
    number = offset = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise Unreadable(Problem.of("meta-parse", name, f"line {number} is too long to be metadata"))
        yield number, offset, line
        offset += len(line)


@contextmanager
def report_unreadable(root: Path, name: str) -> Iterator[None]:
    """Turn errors while a file of the dataset is read into a problem.

    Raises:
        Unreadable: it must not be opened, the system refuses it, or it is no text.
    """
    if refusal := why_foreign(root / name, root):
        raise Unreadable(Problem.of("meta-parse", name, str(refusal)))
    try:
        with explain_refusals(root / name, ""):
            yield
    except DatasetError as error:
        raise Unreadable(Problem.of("meta-parse", name, str(error))) from error.__cause__ or error


def parse_model(text: str, model: type[Model], name: str, *, line: int | None = None) -> Model:
    """JSON text as a model; see `read_json`."""
    where = "" if line is None else f"line {line}: "
    try:
        return validate_as(parse_json(text, "", on_constant=_reject), model, "")
    except _NotFinite as error:
        raise Unreadable(Problem.of("json-finite", name, f"{where}holds {error}; JSON has no such number")) from error
    except DatasetError as error:
        raise Unreadable(Problem.of("meta-parse", name, f"{where}{error}")) from error


def _reject(constant: str) -> NoReturn:
    raise _NotFinite(constant)


def is_file(path: Path) -> bool:
    """Whether there is such a file, wherever it leads; a name that no file can have is no file."""
    return _why_not(path, S_ISREG) is None


def why_no_file(root: Path, name: Path | str) -> str | None:
    """Why the dataset has no such file: "is missing", or why it is not seen; None where it has."""
    refusal = why_foreign(root / name, root)
    return _why_not(root / name, S_ISREG) if refusal is None else str(refusal)


def why_no_folder(path: Path) -> str | None:
    """Likewise of a folder."""
    if is_file(path):
        return "is a file, not a folder"
    return _why_not(path, S_ISDIR)


def _why_not(path: Path, is_kind: Callable[[int], bool]) -> str | None:
    try:
        return None if is_kind(path.stat().st_mode) else "is missing"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return why_unreadable(path, error)
    except ValueError as error:
        return f"cannot be read ({error})"
