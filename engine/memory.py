"""Whether this process can have more memory: what fails for want of it is no fault of the data."""

import mmap

SPARE_BYTES = 64 << 20


def is_memory_left() -> bool:
    """Whether the system would give some more; nothing of it is used."""
    try:
        mmap.mmap(-1, SPARE_BYTES).close()
    except OSError:
        return False
    return True
