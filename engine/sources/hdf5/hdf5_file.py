"""Open HDF5 files, which are not trusted: no link leads to another file, and nothing is read beyond its bounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.embodiments import Message, MillraceError, Remedy
from millrace.engine.about import install_command
from millrace.engine.errors import DatasetError, EpisodeDataError, FaultCode
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.lerobot_metadata import is_unicode

if TYPE_CHECKING:
    import h5py

# What h5py raises for damaged files and wrong keys.
LIBRARY_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, AttributeError)
MAX_SOFT_LINKS = 16
MAX_ATTRIBUTE_BYTES = 16 << 20  # robosuite keeps a whole MuJoCo model in one
# Of an attribute of several texts, of which each may be as long as the file.
MAX_TEXTS_BYTES = 1 << 30


class Hdf5Problem(EpisodeDataError):
    """Something in an HDF5 file that is missing, refused or damaged; the message lacks the file."""


def import_h5py() -> Any:
    """The library.

    Raises:
        DatasetError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DatasetError("HDF5 files need h5py: ", Remedy(install_command("hdf5"))) from error
    return h5py


@contextmanager
def open_hdf5(
    path: Path, root: Path | None = None, *, error: type[EpisodeDataError] = Hdf5Problem
) -> Iterator["h5py.File"]:
    """Open a file to read; errors while it is open name it.

    Args:
        path: The file.
        root: The dataset's folder, which it must lie in; None where that is known.
        error: The type of the errors.

    Raises:
        error: it is no HDF5 file, truncated, or open for writing elsewhere; or reading it failed while it was open.
    """
    h5py = import_h5py()
    if root is not None and (refusal := why_refused(path, root)):
        raise error(f"{path} ", refusal.reason, code=refusal.code, file=path)
    with explain_damage(path, error):
        if not path.is_file():
            raise error(f"there is no file {path}", code=FaultCode.MISSING, file=path)
        with _open(h5py, path) as file:
            yield file


@contextmanager
def explain_damage(path: Path, error: type[EpisodeDataError]) -> Iterator[None]:
    """Turn the library's errors, and problems that do not name the file, into errors that do.

    Raises:
        error: in place of them.
    """
    try:
        yield
    except Hdf5Problem as problem:
        raise error(f"{path}: ", problem, code=problem.code, file=path) from problem
    except MillraceError:
        raise
    except BlockingIOError as problem:
        advice = Remedy("close it there, or wait until the recording has ended")
        raise error(f"{path} is open for writing; ", advice, code=FaultCode.UNREADABLE, file=path) from problem
    except LIBRARY_ERRORS as problem:
        code, what = diagnose_file(path, problem)
        raise error(f"{path} ", what, code=code, file=path) from problem


def _open(h5py: Any, path: Path) -> "h5py.File":
    """A lock shows that someone writes to the file; a file system that has no locks is read without."""
    try:
        return h5py.File(path, "r", locking="best-effort")
    except BlockingIOError:
        raise
    except OSError:
        return h5py.File(path, "r", locking=False)


def find_object(group: "h5py.Group", key: str) -> Any:
    """A group or dataset by its path; links are followed within the file.

    Raises:
        Hdf5Problem: there is none, or a link leads to another file or in a circle.
    """
    h5py = import_h5py()
    here, parts, num_links = group, _parts(key), 0
    while parts:
        name = parts.pop(0)
        if not isinstance(here, h5py.Group) or name not in here:
            raise Hdf5Problem(f"there is no '{key}'{_describe_known(here)}", code=FaultCode.MISSING, got=key)
        link = here.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            num_links += 1
            if num_links > MAX_SOFT_LINKS:
                raise Hdf5Problem(f"the links of '{key}' lead in a circle")
            here = here.file if link.path.startswith("/") else here
            parts = [*_parts(link.path), *parts]
        elif isinstance(link, h5py.HardLink):
            here = here[name]
        else:
            raise Hdf5Problem(f"'{key}' is a link to another file, which is not followed", code=FaultCode.FOREIGN)
    return here


def list_names(group: "h5py.Group", *, strict: bool = False) -> Iterator[str]:
    """The names in a group, without those that are no Unicode, which the library gives as bytes.

    Raises:
        Hdf5Problem: there are such names, and strict is set.
    """
    for name in group:
        if isinstance(name, str) and is_unicode(name):
            yield name
        elif strict:
            raise Hdf5Problem(f"'{group.name}' holds {name!a}, a name that is no Unicode", code=FaultCode.METADATA)


def has_object(group: "h5py.Group", key: str) -> bool:
    """Whether there is such a group or dataset in the file itself."""
    try:
        find_object(group, key)
    except (Hdf5Problem, *LIBRARY_ERRORS):
        return False
    return True


def find_dataset(group: "h5py.Group", key: str) -> "h5py.Dataset":
    """A dataset whose values lie in the file itself.

    Raises:
        Hdf5Problem: there is none, or it is virtual or kept in other files.
    """
    h5py = import_h5py()
    found = find_object(group, key)
    if not isinstance(found, h5py.Dataset):
        raise Hdf5Problem(f"'{key}' is a group, expected values", code=FaultCode.MISSING, got=key)
    created = found.id.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL:  # asked before its shape, which opens the other files
        raise Hdf5Problem(f"'{key}' is a virtual dataset, made of other files: ", COPY, code=FaultCode.FOREIGN)
    if created.get_external_count():
        raise Hdf5Problem(f"the values of '{key}' lie in another file: ", COPY, code=FaultCode.FOREIGN)
    return found


COPY = Remedy("copy it into one file with `h5repack -l CONTI IN.hdf5 OUT.hdf5`")


def read_attribute(group: "h5py.Group", name: str) -> object:
    """An attribute as a text, a number or a list of these; None where there is none.

    Raises:
        Hdf5Problem: it may be larger than MAX_ATTRIBUTE_BYTES, or its texts than MAX_TEXTS_BYTES.
    """
    h5py = import_h5py()
    if name not in group.attrs:
        return None
    opened = h5py.h5a.open(group.id, name.encode("utf-8", "surrogateescape"))
    _check_attribute(name, opened.get_storage_size(), MAX_ATTRIBUTE_BYTES)
    num_values = opened.get_space().get_simple_extent_npoints()
    if opened.dtype.hasobject and num_values > 1:
        # Only references to the texts are counted above, and all may lead to the same long one.
        _check_attribute(name, num_values * group.file.id.get_filesize(), MAX_TEXTS_BYTES)
    value = group.attrs[name]
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _check_attribute(name: str, num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        message = f"attribute '{name}' may take {num_bytes} bytes, at most {limit} are read"
        raise Hdf5Problem(message, code=FaultCode.TOO_LARGE, got=num_bytes, expected=limit)


def find_address(found: Any) -> int:
    """Where a group or dataset lies in its file: the same under all of its names."""
    return int(import_h5py().h5o.get_info(found.id).addr)


def _parts(key: str) -> list[str]:
    return [part for part in key.split("/") if part not in ("", ".")]


def _describe_known(group: Any, limit: int = 20) -> str:
    names = []
    for name in group if hasattr(group, "keys") else ():
        names.append(str(name))
        if len(names) > limit:
            names[-1] = "..."
            break
    return Message(f" in '{group.name}'. Known: {', '.join(names) or 'nothing'}")
