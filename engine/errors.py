"""What can be wrong with a recipe, a dataset or an episode. Each message is one line for the user."""

from embodiments.errors import MillraceError


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


class DatasetError(MillraceError):
    """A source dataset's metadata is missing, malformed or contradicts itself."""


class UnknownLayout(DatasetError):
    """No known LeRobot layout fits the files found."""


class VideoError(MillraceError):
    """One video file is missing, unreadable or not what its rows promise."""


class FrameCountMismatch(VideoError):
    """A clip holds another number of frames than its episode has rows."""


class RowsError(MillraceError):
    """One episode's parquet rows are missing, unreadable or not what the metadata promises."""


class EpisodesFailed(MillraceError):
    """Episodes that could not be converted, a line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


class EpisodeError(MillraceError):
    """Something that concerns one episode, and perhaps one of its cameras; the message says which."""

    def __init__(self, episode: int, camera: str | None, reason: str) -> None:
        super().__init__(episode, camera, reason)
        self.episode, self.camera, self.reason = episode, camera, reason

    def __str__(self) -> str:
        camera = f", camera {self.camera}" if self.camera else ""
        return f"episode {self.episode}{camera}: {self.reason}"
