"""Whether this process can have more memory: what fails for want of it is no fault of the data."""

import mmap

SPARE_BYTES = 64 << 20
# No healthy episode needs as much, whatever its pictures.
AMPLE_BYTES = 2 << 30


def is_memory_left(num_bytes: int = SPARE_BYTES) -> bool:
    """Whether the system would give some more; nothing of it is used."""
    try:
        mmap.mmap(-1, num_bytes).close()
    except OSError:
        return False
    return True
