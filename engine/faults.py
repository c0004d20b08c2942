"""What can be wrong with an episode, in words that stay the same from version to version."""

import errno
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

# Errors of a disk, a network, permissions or a machine; no content of a file causes them. Not every system has all.
_OF_SYSTEM = (
    *("EIO", "ESTALE", "ETIMEDOUT", "EACCES", "EPERM", "ENOMEM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EMFILE"),
    *("ENFILE", "ENODEV", "ENXIO", "EBUSY", "EAGAIN", "EINTR", "ENOTCONN", "ECONNRESET", "ECONNABORTED"),
    *("ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "EREMOTEIO", "ENOLINK", "ECOMM"),
    *("EPROTO", "ENOLCK", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EUCLEAN", "ESHUTDOWN", "EBADFD"),
)
OF_SYSTEM = frozenset(number for name in _OF_SYSTEM if (number := getattr(errno, name, None)) is not None)


def system_errno(error: BaseException | None) -> int | None:
    """The number of a system's error that says nothing about a file's content; None for all other errors."""
    number = error.errno if isinstance(error, OSError) else None
    return number if number in OF_SYSTEM else None


class FaultCode(str, Enum):
    """The kind of a fault; quarantine.jsonl and millrace.json hold these words."""

    MISSING = "missing"  # a file, a column or rows that the metadata names
    TRUNCATED = "truncated"  # a file shorter than it says itself
    CORRUPT = "corrupt"  # a file that cannot be read or decoded
    TOO_LARGE = "too-large"  # rows or metadata that take more memory than one read may
    UNREADABLE = "unreadable"  # a file that the disk, the network or permissions do not let us read
    FOREIGN = "foreign"  # a path that leads out of the dataset, or to no file
    CHANGED = "changed"  # a file that is another than the one planned: changed since, or another on that node
    FRAME_COUNT = "frame-count"  # a clip of more or fewer frames than rows
    ROW_COUNT = "row-count"  # more or fewer rows than the metadata says
    ROW_ORDER = "row-order"  # frame_index does not increase
    NOT_FINITE = "not-finite"  # NaN or infinite joints
    NOT_NUMBERS = "not-numbers"  # nulls, or values of another kind
    WIDTH = "width"  # more or fewer joints a row than the metadata says
    METADATA = "metadata"  # what meta/ says of the episode is missing, malformed or contradicts itself
    PLACE = "place"  # a clip's place in a shared video contradicts its length, or another episode's place
    RATE = "rate"  # metadata, timestamps and video run at different rates
    TASK = "task"  # a task that the metadata does not name
    PICTURE_SIZE = "picture-size"  # pictures that change within a clip
    WORKER_DIED = "worker-died"  # killed, or crashed in a codec, each time
    MEMORY = "memory"  # refused, each time
    INTERNAL = "internal"  # a fault of ours, or of a library
    GPU = "gpu"  # a card or driver that does not encode any more
    HUB = "hub"  # what the Hub refused, or a connection that failed
    OUTPUT = "output"  # the output folder cannot be written to

    @property
    def is_of_episode(self) -> bool:
        """Whether the episode's data is to blame; another run meets the same fault until the data is fixed."""
        return self not in NOT_OF_DATA


# Of disk, network, memory, machines, or our own: the episode may be as good as any.
NOT_OF_DATA = (
    FaultCode.UNREADABLE,
    FaultCode.CHANGED,
    FaultCode.WORKER_DIED,
    FaultCode.MEMORY,
    FaultCode.INTERNAL,
    FaultCode.GPU,
    FaultCode.HUB,
    FaultCode.OUTPUT,
)


class Quarantined(BaseModel):
    """An episode that was set aside, a line of quarantine.jsonl.

    source: the dataset as the recipe names it. episode: its number there. camera None: all of it is concerned.
    """

    model_config = ConfigDict(frozen=True)

    code: FaultCode
    source: Path
    episode: int
    camera: str | None
    reason: str
