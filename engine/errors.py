"""What can be wrong with a recipe, a dataset or an episode. Each message is one line for the user."""

import errno
from collections.abc import Iterator, Sequence

from embodiments.errors import MillraceError
from engine.faults import FaultCode, Quarantined
from engine.memory import AMPLE_BYTES, is_memory_left

# More than a few frames are no slip at the end of a recording.
MAX_ADVISED_TRIM = 10


class RecipeError(MillraceError):
    """The command line or the recipe asks for something impossible."""

    exit_code = 2


class CannotUpsample(RecipeError):
    """The target rate exceeds the source's."""


class OtherRecipe(RecipeError):
    """The output folder was begun with other settings."""


class OutputExists(RecipeError):
    """The output folder holds something that this run would destroy."""


class OutputBusy(RecipeError):
    """Another run writes to the output folder."""


class OutputFailed(MillraceError):
    """The output folder cannot be written to: the disk is full, or the folder is gone or closed."""


class NoScratchSpace(MillraceError):
    """The machine's folder for temporary files is too small, or cannot be written to."""


class ClusterFailed(MillraceError):
    """Ray, or a node of its cluster, cannot do the work."""


class GpuLost(MillraceError):
    """No GPU is there, or none any more, that a dataset's encoder needs."""


class DatasetError(MillraceError):
    """A source dataset's metadata is missing, malformed or contradicts itself."""


class UnknownLayout(DatasetError):
    """No known LeRobot layout fits the files found."""


class HubError(MillraceError):
    """The Hugging Face Hub refuses something, lacks it, or cannot be reached."""


class NotPublishable(MillraceError):
    """A folder that must not be uploaded as it is."""


class EpisodeDataError(MillraceError):
    """Something in one episode's files; code: what kind of fault."""

    code = FaultCode.CORRUPT

    def __init__(self, message: str, code: FaultCode | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class VideoError(EpisodeDataError):
    """One video file is missing, unreadable or not what its rows promise."""


class FrameCountMismatch(VideoError):
    """A clip holds another number of frames than its episode has rows."""

    code = FaultCode.FRAME_COUNT


def why_unequal(num_rows: int, num_frames: int) -> str:
    """What to do about rows and frames, or two counts of either, that differ."""
    gap = abs(num_rows - num_frames)
    if gap > MAX_ADVISED_TRIM:
        return "they must be equal"
    return f"they must be equal, unless --trim-mismatch {gap} drops what is too much at the end"


class RowsError(EpisodeDataError):
    """One episode's parquet rows are missing, unreadable or not what the metadata promises."""


class SeveralProblems(MillraceError):
    """Several things that are wrong, a line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


class NodesDiffer(SeveralProblems):
    """Nodes of a cluster that see other files or have other libraries than the driver, a line each."""


class EpisodesFailed(SeveralProblems):
    """Episodes that could not be converted; quarantined: the same as quarantine.jsonl has them."""

    def __init__(self, lines: list[str], quarantined: Sequence[Quarantined] = ()) -> None:
        super().__init__(lines)
        self.quarantined = tuple(quarantined)


class RecipeProblems(SeveralProblems):
    """All that is wrong with a recipe and its sources."""

    def __init__(self, lines: list[str], exit_code: int = 2) -> None:
        super().__init__(lines)
        self.exit_code = exit_code


class CannotSkip(MillraceError):
    """Failed episodes that --skip-bad does not leave out."""


class EpisodeError(MillraceError):
    """Something that concerns one episode, and perhaps one of its cameras; the message says which."""

    def __init__(self, episode: int, camera: str | None, reason: str) -> None:
        super().__init__(episode, camera, reason)
        self.episode, self.camera, self.reason = episode, camera, reason

    def __str__(self) -> str:
        camera = f", camera {self.camera}" if self.camera else ""
        return f"episode {self.episode}{camera}: {self.reason}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__


def fault_code(error: BaseException) -> FaultCode:
    """What kind of fault an error of an episode's conversion is."""
    if _is_for_want_of_memory(error):
        return FaultCode.MEMORY
    if isinstance(error, EpisodeDataError):
        return error.code
    if isinstance(error, HubError):
        return FaultCode.HUB
    if isinstance(error, OutputFailed):
        return FaultCode.OUTPUT
    if isinstance(error, MillraceError):
        return FaultCode.CORRUPT
    if isinstance(error, FileNotFoundError):
        return FaultCode.MISSING
    return FaultCode.UNREADABLE if isinstance(error, OSError) else FaultCode.INTERNAL


def _is_for_want_of_memory(error: BaseException) -> bool:
    """Also what says otherwise: a thread that cannot be started, a library that cannot be loaded.

    But not where a damaged file makes libav or pyarrow ask for far more than any healthy one needs.
    """
    if not is_memory_left():
        return True
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOMEM for cause in causes(error)):
        return True
    is_refused = any(isinstance(cause, MemoryError) for cause in causes(error))
    return is_refused and not (isinstance(error, EpisodeDataError) and is_memory_left(AMPLE_BYTES))
