"""All error types of the engine. Each message is one line for the user."""

import errno
import mmap
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from millrace.embodiments import FrozenModel, MillraceError
from millrace.embodiments.errors import collect_facts as collect_facts
from millrace.embodiments.errors import error_chain as error_chain
from millrace.embodiments.messages import Message, Remedy, Setting, read_message

SPARE_BYTES = 64 << 20
# No healthy episode needs as much, whatever its pictures.
AMPLE_BYTES = 2 << 30
# More than a few frames are no slip at the end of a recording.
MAX_ADVISED_TRIM = 10
# Errors of a disk, a network, permissions or a machine; no content of a file causes them. Not every system has all.
_OF_SYSTEM = (
    *("EIO", "ESTALE", "ETIMEDOUT", "EACCES", "EPERM", "ENOMEM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EMFILE"),
    *("ENFILE", "ENODEV", "ENXIO", "EBUSY", "EAGAIN", "EINTR", "ENOTCONN", "ECONNRESET", "ECONNABORTED"),
    *("ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "EREMOTEIO", "ENOLINK", "ECOMM"),
    *("EPROTO", "ENOLCK", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EUCLEAN", "ESHUTDOWN", "EBADFD"),
)
OF_SYSTEM = frozenset(number for name in _OF_SYSTEM if (number := getattr(errno, name, None)) is not None)


RUN_ELSEWHERE = Remedy(
    "Run the same command where the GPU works, or pass ", Setting("overwrite", True), " ", Setting("device", "cpu")
)


def system_errno(error: BaseException | None) -> int | None:
    """The number of a system's error that says nothing about a file's content; None for all other errors."""
    number = error.errno if isinstance(error, OSError) else None
    return number if number in OF_SYSTEM else None


class FaultCode(str, Enum):
    """Error codes of failed episodes, as quarantine.jsonl and millrace.json have them."""

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
    STILL = "still"  # a robot that stands still throughout, where still stretches are cut
    FILTERED = "filtered"  # an episode that the recipe's filter leaves out, as it wants
    PICTURE_SIZE = "picture-size"  # pictures that change within a clip
    WORKER_DIED = "worker-died"  # killed, or crashed in a codec, each time
    MEMORY = "memory"  # refused, each time
    INTERNAL = "internal"  # a fault of ours, or of a library
    GPU = "gpu"  # a card or driver that does not encode any more
    HUB = "hub"  # what the Hub refused, or a connection that failed
    STORE = "store"  # likewise an object store
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
    FaultCode.STORE,
    FaultCode.OUTPUT,
)


Text = Annotated[str, PlainValidator(read_message)]  # keeps the settings that a Message names


class Quarantined(FrozenModel):
    """A failed episode, a line of quarantine.jsonl.

    source: the dataset as the recipe names it. episode: its number there. camera None: all of it is concerned.
    reason: what is wrong, and what to do; remedy: the latter alone, empty where nothing is advised.
    """

    code: FaultCode
    source: Path
    episode: int
    camera: str | None
    reason: Text
    remedy: Text = ""


class RecipeError(MillraceError):
    """The command line or the recipe asks for something impossible."""

    exit_code = 2


class CannotUpsample(RecipeError):
    """The target rate exceeds the source's."""


class OtherRecipe(RecipeError):
    """The output folder was created with other settings."""


class OutputExists(RecipeError):
    """The output folder holds something that this run would destroy."""


class OutputBusy(RecipeError):
    """Another run writes to the output folder."""


class OutputFailed(MillraceError):
    """The output folder cannot be written to: the disk is full, or the folder is gone or closed."""


class NoScratchSpace(MillraceError):
    """The machine's folder for temporary files is too small, or cannot be written to."""


class WorkersFailed(MillraceError):
    """Worker processes end before their work is done."""


class ClusterFailed(MillraceError):
    """Ray, or a node of its cluster, cannot do the work."""


class GpuLost(MillraceError):
    """The GPU that a dataset's encoder needs is missing or lost."""


class DatasetError(MillraceError):
    """A source dataset's metadata is missing, malformed or contradicts itself."""


class UnknownLayout(DatasetError):
    """No known LeRobot layout fits the files found."""


class HubError(MillraceError):
    """The Hugging Face Hub refuses a request, lacks a file or repository, or cannot be reached."""


class StoreError(MillraceError):
    """An object store refuses a request, lacks a bucket or object, or cannot be reached.

    kind: of the failure, as `millrace.engine.stores.store_failures` names them.
    """

    def __init__(self, *parts: object, kind: str = "other", **facts: Any) -> None:
        super().__init__(*parts, **facts)
        self.kind = kind


class NotUploadable(MillraceError):
    """A folder that must not be uploaded as it is."""


class EpisodeDataError(MillraceError):
    """Something in one episode's files; code: what kind of fault."""

    code = FaultCode.CORRUPT

    def __init__(self, *parts: object, code: FaultCode | None = None, **facts: Any) -> None:
        super().__init__(*parts, **facts)
        self.code = code or self.code


class VideoError(EpisodeDataError):
    """One video file is missing, unreadable or not what its rows promise."""


class FrameCountMismatch(VideoError):
    """A clip holds another number of frames than its episode has rows."""

    code = FaultCode.FRAME_COUNT


def length_advice(num_rows: int, num_frames: int) -> str:
    """Advice for an episode whose rows and frames, or two counts of either, differ."""
    gap = abs(num_rows - num_frames)
    if gap > MAX_ADVISED_TRIM:
        return Remedy("they must be equal")
    trim = Setting("trim_mismatch", gap)
    return Remedy("they must be equal, unless ", trim, " drops what is too much at the end")


class RowsError(EpisodeDataError):
    """One episode's parquet rows are missing, unreadable or not what the metadata promises."""


class SeveralProblems(MillraceError):
    """Several problems, a line each, then advice for all of them; problems: the same as errors."""

    def __init__(self, problems: Iterable[str | MillraceError], advice: Iterable[str] = ()) -> None:
        own = (one if isinstance(one, MillraceError) else MillraceError(one) for one in problems)
        self.problems: tuple[MillraceError, ...] = tuple(own)
        self.advice = tuple(advice)
        super().__init__("\n".join(self.lines))
        self.args = (self.problems, self.advice)

    @property
    def lines(self) -> list[str]:
        """The message of each problem, and the advice."""
        return [*(problem.message for problem in self.problems), *self.advice]


class NodesDiffer(SeveralProblems):
    """Nodes of a cluster that see other files or have other libraries than the driver, a line each."""


class EpisodesFailed(SeveralProblems):
    """Episodes that could not be converted; quarantined: the same as quarantine.jsonl has them."""

    def __init__(
        self,
        problems: Iterable[str | MillraceError],
        advice: Iterable[str] = (),
        *,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        super().__init__(problems, advice)
        self.quarantined = tuple(quarantined)


class RecipeProblems(SeveralProblems):
    """Everything that is wrong with a recipe and its sources."""

    def __init__(
        self, problems: Iterable[str | MillraceError], advice: Iterable[str] = (), *, exit_code: int = 2
    ) -> None:
        super().__init__(problems, advice)
        self.exit_code = exit_code


class CannotSkip(MillraceError):
    """Failed episodes that skip_bad does not skip."""


class EpisodeError(MillraceError):
    """An error of one episode, and perhaps of one of its cameras; the message names both."""

    def __init__(self, episode: int, camera: str | None, reason: object, **facts: Any) -> None:
        where = f"episode {episode}, camera {camera}: " if camera else f"episode {episode}: "
        super().__init__(where, reason, episode=episode, camera=camera, **facts)
        self.episode, self.camera, self.reason = episode, camera, Message(reason)
        self.args = (episode, camera, self.reason)


def fault_code(error: BaseException) -> FaultCode:
    """The error code for an exception of an episode's conversion."""
    if _is_out_of_memory(error):
        return FaultCode.MEMORY
    if isinstance(error, EpisodeDataError):
        return error.code
    if isinstance(error, HubError):
        return FaultCode.HUB
    if isinstance(error, StoreError):
        return FaultCode.CHANGED if error.kind == "changed" else FaultCode.STORE
    if isinstance(error, OutputFailed):
        return FaultCode.OUTPUT
    if isinstance(error, MillraceError):
        return FaultCode.CORRUPT
    if isinstance(error, FileNotFoundError):
        return FaultCode.MISSING
    return FaultCode.UNREADABLE if isinstance(error, OSError) else FaultCode.INTERNAL


def _is_out_of_memory(error: BaseException) -> bool:
    """Also what says otherwise: a thread that cannot be started, a library that cannot be loaded.

    But not where a damaged file makes libav or pyarrow ask for far more than any healthy one needs.
    """
    if not is_memory_left():
        return True
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOMEM for cause in error_chain(error)):
        return True
    is_refused = any(isinstance(cause, MemoryError) for cause in error_chain(error))
    return is_refused and not (isinstance(error, EpisodeDataError) and is_memory_left(AMPLE_BYTES))


def is_memory_left(num_bytes: int = SPARE_BYTES) -> bool:
    """Whether the system would give some more; nothing of it is used."""
    try:
        mmap.mmap(-1, num_bytes).close()
    except OSError:
        return False
    return True


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and the errors from which or during which it was raised: libraries do not always name the cause."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
