"""Git LFS pointers: what is left of a large file where `git lfs pull` was not run."""

from pathlib import Path

POINTER = b"version https://git-lfs"
ADVICE = "is a Git LFS pointer, not the file itself; run `git lfs pull` where it came from"


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a pointer of some 130 bytes in place of its content."""
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
