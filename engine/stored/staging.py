"""The folder here that stands for a dataset in an object store while it is made, and the store's name in messages."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.errors import RecipeError, SeveralProblems
from millrace.engine.stored.store_mark import mark_folder
from millrace.engine.stores.address import StoreAddress, is_store_address, local_path, parse_store_address

NUM_DIGITS = 16


@dataclass(frozen=True)
class OutputPlace:
    """Where a conversion writes. folder: the dataset, or what stands for it here; address: of the latter."""

    folder: Path
    address: StoreAddress | None = None

    @classmethod
    def of(cls, out: str | Path, staging: str | Path | None = None) -> "OutputPlace":
        """The place that a name means: a folder's path, or an address such as s3://bucket/folder.

        Args:
            out: The name.
            staging: Where folders lie that stand for datasets in stores; None: in the user's folder of caches.

        Raises:
            RecipeError: it is no address of a folder in a bucket.
        """
        if str(out).startswith("hf:/"):  # a Path keeps only one of the two slashes
            raise RecipeError(f"{out} is on the Hub: ", Remedy("convert into a folder, then upload that"), got=str(out))
        if not is_store_address(out):
            return cls(local_path(out) or Path(out))
        address = parse_store_address(out)
        if not address.prefix:
            example = address.join("NAME")
            raise RecipeError(f"{address} is a whole bucket: ", Remedy(f"name a folder in it, such as {example}"))
        digest = hashlib.sha256(str(address).encode()).hexdigest()[:NUM_DIGITS]
        folder = Path(staging or default_staging()).absolute() / digest / address.name
        mark_folder(folder, address)
        return cls(folder, address)

    def __str__(self) -> str:
        return str(self.address or self.folder)

    @contextmanager
    def name_errors(self) -> Iterator[None]:
        """Have errors name the store's address, not the folder that stands for it."""
        try:
            yield
        except MillraceError as error:
            if self.address is not None and not isinstance(error.__cause__, OSError):  # of this machine's disk
                _rename(error, str(self.folder), str(self.address))
            raise


def name_output(out: str | Path) -> str:
    """A place to write to as its user would name it; a Path keeps only one slash of an address."""
    return str(parse_store_address(out) if is_store_address(out) else local_path(out) or out)


def default_staging() -> Path:
    """A folder of the user's for what stands for datasets in stores; a cache that deletes files is no place for it."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "millrace-staging"


def _rename(error: MillraceError, folder: str, address: str) -> None:
    error.message = _replace(error.message, folder, address)
    if isinstance(error, SeveralProblems):
        error.advice = tuple(_replace(text, folder, address) for text in error.advice)
        for problem in error.problems:
            _rename(problem, folder, address)
    if error.facts.file is not None:
        error.facts = replace(error.facts, file=Path(str(error.facts.file).replace(folder, address)))


def _replace(text: str, folder: str, address: str) -> str:
    """A text, with its settings, in which an address stands for a folder."""
    if not isinstance(text, Message):
        return text.replace(folder, address)
    return type(text)(*(part if isinstance(part, Setting) else _replace(part, folder, address) for part in text.parts))
