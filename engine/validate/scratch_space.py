"""Is there room for what is kept of the rows while statistics are compared?"""

import shutil
from pathlib import Path

from rich.filesize import decimal

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import NoScratchSpace

OTHER_FOLDER = Remedy("name another folder with ", Setting("scratch", "DIR"), ", or in the environment as TMPDIR")


def check_scratch_space(scratch: Path, needed: int, num_rows: int) -> None:
    """Check the folder for temporary files, of `needed` bytes to compare `num_rows` rows.

    Raises:
        NoScratchSpace: it cannot be used, or has too little room.
    """
    try:
        free = shutil.disk_usage(scratch).free
    except OSError as error:
        problem = f"the temporary folder {scratch} cannot be used ({error.strerror}); "
        raise NoScratchSpace(problem, OTHER_FOLDER, file=scratch) from error
    if needed > free:
        problem = f"the temporary folder {scratch} has {decimal(free)} free, but comparing statistics of "
        rows = f"{num_rows:,} rows needs {decimal(needed)}; "
        raise NoScratchSpace(problem, rows, OTHER_FOLDER, file=scratch, got=free, expected=needed)


def cannot_keep(scratch: Path, error: OSError) -> NoScratchSpace:
    """The error where the folder is full all the same, as others fill it meanwhile."""
    problem = f"statistics cannot be computed in {scratch} ({error.strerror or error}); "
    return NoScratchSpace(problem, OTHER_FOLDER, file=scratch)
