"""Untrusted JSON, read within limits and checked by models, for sources and for datasets under judgement.

Each function takes `where`: what errors name first, such as the file and line; "" where the caller names it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from millrace.engine.errors import DatasetError
from millrace.engine.sources.access import why_unreadable
from millrace.engine.sources.lfs import POINTER, REASON

# Far above what real files hold, so that a bad one does not fill the memory.
MAX_BYTES = 256 << 20
# Of files that are read line by line; one of episodes.jsonl takes 150 bytes.
MAX_LINES_BYTES = 4 << 30

Model = TypeVar("Model", bound=BaseModel)


def read_text(path: Path, where: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a metadata file; encoding, errors: as `open` takes them.

    Raises:
        DatasetError: it is missing, not text, too large or an LFS pointer, or the system refuses it.
    """
    with explain_refusals(path, where):
        _check_size(path.stat().st_size, path, where, limit=MAX_BYTES)
        text = path.read_text(encoding=encoding, errors=errors)
    _check_pointer(text, path, where)
    return text


def read_text_lines(path: Path, where: str, *, encoding: str = "utf-8", errors: str = "strict") -> Iterator[str]:
    """The lines of a metadata file without their ends, one in memory at a time; see `read_text`."""
    with explain_refusals(path, where):
        _check_size(path.stat().st_size, path, where, limit=MAX_LINES_BYTES)
        with path.open(encoding=encoding, errors=errors) as file:
            while line := file.readline(MAX_BYTES):
                _check_size(len(line), path, where, limit=MAX_BYTES - 1)
                _check_pointer(line, path, where)
                yield line.removesuffix("\n")


def _check_size(num_bytes: int, path: Path, where: str, *, limit: int) -> None:
    if num_bytes > limit:
        message = f"{where} is {num_bytes} bytes, too large to be metadata".lstrip()
        raise DatasetError(message, file=path, got=num_bytes, expected=limit)


def _check_pointer(text: str, path: Path, where: str) -> None:
    if text.startswith(POINTER.decode()):
        raise DatasetError(f"{where} ".lstrip(), REASON, file=path)


@contextmanager
def explain_refusals(path: Path, where: str) -> Iterator[None]:
    """Turn what keeps a text file from being read into one error in words.

    Raises:
        DatasetError: in place of an OSError or UnicodeDecodeError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"{where} is missing".lstrip(), file=path) from error
    except OSError as error:
        raise DatasetError(f"{where} ".lstrip(), why_unreadable(path, error), file=path) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} cannot be read ({error})".lstrip(), file=path) from error


def parse_json(text: str, where: str, *, on_constant: Callable[[str], object] | None = None) -> object:
    """The value that a text holds; on_constant: called with NaN and Infinity, which pass without it.

    Raises:
        DatasetError: it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=on_constant)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is not JSON ({error})".lstrip()) from error


def validate_as(values: object, model: type[Model], where: str) -> Model:
    """Values as a model.

    Raises:
        DatasetError: names the first field that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the value"
        message = first["msg"].removeprefix("Value error, ")
        raise DatasetError(f"{where}: {field}: {message}".removeprefix(": "), got=first["input"]) from error
