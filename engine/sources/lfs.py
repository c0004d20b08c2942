"""Git LFS pointers: what is left of a large file where `git lfs pull` was not run."""

from pathlib import Path

from millrace.embodiments import Message, Remedy

POINTER = b"version https://git-lfs"
REASON = Message("is a Git LFS pointer, not the file itself; ", Remedy("run `git lfs pull` where it came from"))


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a pointer of some 130 bytes in place of its content."""
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
