"""An opened source dataset: all that a conversion needs to know before it reads rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path

from millrace.embodiments import Message, Remedy, Setting
from millrace.embodiments.robot import ActionKind
from millrace.engine.errors import DatasetError
from millrace.engine.layout import CAMERA_PREFIX
from millrace.engine.sources.depth_scale import DepthScale
from millrace.engine.sources.episode import BadEpisode, SourceEpisode
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.image_columns import Content
from millrace.engine.sources.location import HUB
from millrace.engine.sources.read_options import ReadOptions

PICTURES = ("video", "image")
# Of a column or picture: lists of names are made for what the metadata says.
MAX_SIZE = 1 << 20
NUMBERS = re.compile(r"(torch\.|np\.|numpy\.)?(float|double|half|u?int|bool)", re.IGNORECASE)


@dataclass(frozen=True)
class Feature:
    """A column or camera as the metadata describes it.

    shape: of a row; 0: a size that the metadata does not tell. names: of its values, as far as they were understood;
    None: it names none. unread_names: what stands in place of
    names that were not understood, as JSON. content: what pictures show that is no colour; None: colours, or no
    pictures. depth: of a depth video whose codes v3.0 can keep, what these mean. kinds: of an action, what each value
    is, None for one that may be a step without that the files tell; empty: as the robot has it.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    unread_names: str | None = None
    content: Content | None = None
    depth: DepthScale | None = None
    kinds: tuple[ActionKind | None, ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= size <= MAX_SIZE for size in self.shape):
            message = f"a feature has the shape {list(self.shape)}, expected sizes of 0 to {MAX_SIZE}"
            raise DatasetError(message, got=list(self.shape), expected=f"sizes of 0 to {MAX_SIZE}")

    @property
    def is_camera(self) -> bool:
        """Whether it holds images of a camera, not numbers, depth or masks."""
        return self.dtype in PICTURES and self.content is None

    @property
    def is_numbers(self) -> bool:
        """Whether each row holds numbers, truth values among them: one, a list, or lists of lists."""
        return NUMBERS.match(self.dtype) is not None and 0 < self.num_values <= MAX_SIZE

    @property
    def num_values(self) -> int:
        """Values a row; those of lists of lists lie one list after the other."""
        return prod(self.shape)

    @property
    def stated_names(self) -> tuple[str, ...]:
        """Names of its values as stated, understood or not."""
        return self.names or (() if self.unread_names is None else (self.unread_names,))


@dataclass(frozen=True)
class SourceDataset:
    """A dataset whose layout version no longer matters; layout is for display only.

    tasks: text by task index. Cameras are named by their feature without "observation.images.".
    revision: which state of the dataset this is, where its name has several. files: wherever they lie.
    bad: episodes that cannot be read, by number; none of them is among the episodes.
    hub_id: org/name[@revision] of one on the Hub. store: address of one in a store; root is in a cache for both.
    splits: episodes by the name of a split, where the dataset has lists of them. file: the one file that it is read
    from, where a file is named in place of a folder.
    task_problems: lines of the list of tasks that are malformed or contradict each other; tasks lacks them.
    subtasks: text by number of the column subtask_index, where the dataset tells them. tools: that its language columns
    may call, each as JSON.
    default_tasks: texts that a recorder writes where nobody says what the robot does.
    notes: what the user should know of the files, such as what of them is not used. options: what it was opened with.
    """

    root: Path
    layout: str
    fps: Fraction
    robot_type: str | None
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    episodes: Sequence[SourceEpisode]
    revision: str | None = None
    files: SourceFiles = LOCAL
    bad: tuple[BadEpisode, ...] = ()
    task_problems: tuple[str, ...] = ()
    subtasks: Mapping[int, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    hub_id: str | None = None
    store: str | None = None
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    file: Path | None = None
    default_tasks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    options: ReadOptions = ReadOptions()

    @property
    def address(self) -> str:
        """What a command calls it: its folder or file, hf://org/name[@revision], or its address in a store."""
        here = self.store or str(self.file or self.root)
        return here if self.hub_id is None else f"{HUB}{self.hub_id}"

    @property
    def title(self) -> str:
        """What a page calls it: org/name[@revision], its address in a store, or its folder's name."""
        return self.hub_id or self.store or self.root.name

    @property
    def is_remote(self) -> bool:
        """Whether its files are fetched from elsewhere when they are needed."""
        return self.hub_id is not None or self.store is not None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, each once, in the order of the metadata."""
        return tuple(self.camera_features)

    @property
    def camera_features(self) -> dict[str, tuple[str, ...]]:
        """The features of each camera's name; more than one where names differ by "observation.images." only."""
        found: dict[str, tuple[str, ...]] = {}
        for key, feature in self.features.items():
            if feature.is_camera:
                found[camera_name(key)] = (*found.get(camera_name(key), ()), key)
        return found

    @property
    def depth_videos(self) -> dict[str, Feature]:
        """Depth cameras that v3.0 can keep, by name; none that is called as another camera."""
        found = {camera_name(key): feature for key, feature in self.features.items() if feature.depth is not None}
        return {name: feature for name, feature in found.items() if name not in self.camera_features}

    def why_ambiguous(self, camera: str) -> str | None:
        """Why a camera cannot be told from another, and what to do; None where it can."""
        keys = self.camera_features.get(camera, ())
        if len(keys) < 2:
            return None
        return Message(
            f"the features {' and '.join(map(repr, keys))} are both camera {camera!r}, and their videos cannot be "
            "told apart. ",
            Remedy(
                "Rename one in meta/info.json and videos/, or leave both out: ", Setting("without_cameras", [camera])
            ),
        )


def camera_name(key: str) -> str:
    """A camera's name from its feature key; datasets of one camera may call it observation.image."""
    return "image" if key == "observation.image" else key.removeprefix(CAMERA_PREFIX)
