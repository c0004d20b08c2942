"""Write small files that a program could not do without: as a whole, or not at all."""

import os
from pathlib import Path


def replace_file(path: Path, content: str) -> None:
    """Write a file; if that fails, as on a full disk, what was there before stays.

    Raises:
        OSError: it cannot be written.
    """
    written = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        written.write_text(content, encoding="utf-8")
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
