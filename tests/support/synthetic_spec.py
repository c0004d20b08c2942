"""What a synthetic dataset holds: its shape, and the known value of every joint in every row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from support.synthetic_video import LEROBOT_VIDEO, SyntheticVideo

ALOHA_JOINTS = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
)
DEFAULT_TASK = "Pick up the cube with the right arm and transfer it to the left arm."


def expected_state(episode: int, frames: Sequence[int] | NDArray[np.int64], width: int = 14) -> NDArray[np.float32]:
    """Rows of `observation.state`, (T, width).

    All values lie in [0, 1), a valid position for any joint or gripper. No two are equal among the states and actions
    of 128 episodes of up to 1024 frames and 64 joints; neighbouring frames and joints differ widely.
    """
    return _known_values(episode, frames, width=width, is_action=False)


def expected_action(episode: int, frames: Sequence[int] | NDArray[np.int64], width: int = 14) -> NDArray[np.float32]:
    """Rows of `action`, (T, width); see `expected_state`."""
    return _known_values(episode, frames, width=width, is_action=True)


def _known_values(
    episode: int, frames: Sequence[int] | NDArray[np.int64], *, width: int, is_action: bool
) -> NDArray[np.float32]:
    if width > 64:
        raise ValueError(f"{width} joints: beyond 64 the values would repeat")
    rows = (episode * 1024 + np.asarray(frames, np.int64))[:, None]
    codes = (rows * 64 + np.arange(width)) * 2 + is_action + 1
    # An odd factor permutes the 24 bits that a float32 holds exactly; 2**24 / golden ratio spreads neighbours.
    return ((codes * 10368889 % 2**24) / 2**24).astype(np.float32)


@dataclass(frozen=True)
class ExtraColumn:
    """One more column. `values(episode, frames)` gives its T rows: (T,) for shape (1,), else (T, shape[0])."""

    values: Callable[[int, NDArray[np.int64]], Any]
    dtype: str = "float32"
    shape: tuple[int, ...] = (1,)
    names: Any = None


@dataclass(frozen=True)
class SyntheticDataset:
    """Everything that `write_dataset` can be asked for.

    Attributes:
        version: "hybrid" is the ALOHA guide's tree, which no LeRobot release wrote; "v1.6" the Hub's tree of 2024;
            "frames" images beside rows, "act" HDF5.
        lengths: Frames of each episode.
        cameras: Short names; the feature key is "observation.images." + name, the barcode carries the position.
        tasks: One string for all, or one entry an episode: a string, or several that share its frames evenly, in order.
            v1.6 and hybrid store none.
        chunks_size: Episodes (v2) or files (v3.0) per chunk folder.
        names: How info.json holds the joint names: "motors" is {"motors": [...]}, "nested" [[...]], "flat" [...];
            anything else stands there as given, for both state and action.
        state_width, action_width: Joints of `observation.state` and `action`; action_width None means the same.
        parts: Per-part columns instead of these two: column -> joint names. Columns named action* are slices of
            `expected_action`, the others of `expected_state`, each kind counted through in the order given.
        list_type: "fixed" is the fixed-size list that LeRobot writes, "variable" what other writers make of it.
        images_as: "image" stores pictures inside the parquet files and no mp4.
        picture_format: Of these pictures.
        image_shape: Order of the camera's shape and names in info.json.
        info_overrides: Merged into info.json's top level.
        episodes_per_data_file, episodes_per_video_file, episodes_per_meta_file: v3.0, None for one file with all;
            for videos also by camera.
        rows_per_data_file: v3.0: data files are cut every so many rows instead, through episodes.
        video_lead_frames: v3.0, by camera: frames of no episode (barcode: `NO_EPISODE`) at the start of every mp4.
        num_shards: v1.6 and hybrid: parquet files, cut evenly by rows as the Hub does, through episodes.
        rows_as: frames: the kind of file that holds rows.
    """

    version: Literal["v2.1", "v2.0", "v3.0", "v1.6", "hybrid", "frames", "act", "xr_teleoperate"] = "v2.1"
    lengths: Sequence[int] = (20, 13, 16)
    fps: Fraction | int = 50
    cameras: Sequence[str] = ("top",)
    video: SyntheticVideo = LEROBOT_VIDEO
    tasks: str | Sequence[str | Sequence[str]] = DEFAULT_TASK
    chunks_size: int = 1000
    robot_type: str | None = "aloha"
    names: Any = "motors"
    state_width: int = 14
    action_width: int | None = None
    parts: Mapping[str, Sequence[str]] | None = None
    extra_columns: Mapping[str, ExtraColumn] = field(default_factory=dict)
    list_type: Literal["fixed", "variable"] = "fixed"
    images_as: Literal["video", "image"] = "video"
    picture_format: Literal["png", "jpeg"] = "png"
    image_shape: Literal["hwc", "chw"] = "hwc"
    info_overrides: Mapping[str, Any] = field(default_factory=dict)
    episodes_per_data_file: int | None = None
    episodes_per_video_file: int | Mapping[str, int] | None = None
    episodes_per_meta_file: int | None = None
    rows_per_data_file: int | None = None
    video_lead_frames: Mapping[str, int] = field(default_factory=dict)
    num_shards: int = 1
    rows_as: Literal["csv", "parquet"] = "csv"

    def __post_init__(self) -> None:
        if not isinstance(self.tasks, str) and len(self.tasks) != len(self.lengths):
            raise ValueError(f"{len(self.tasks)} tasks for {len(self.lengths)} episodes")

    @property
    def camera_keys(self) -> dict[str, str]:
        """Short name -> feature key."""
        return {camera: f"observation.images.{camera}" for camera in self.cameras}

    @property
    def fps_number(self) -> int | float:
        """The rate as info.json holds it."""
        fps = Fraction(self.fps)
        return fps.numerator if fps.denominator == 1 else float(fps)

    @property
    def task_list(self) -> list[str]:
        """Every task in order of first appearance: its place is its task_index."""
        return list(dict.fromkeys(task for episode in range(len(self.lengths)) for task in self.episode_tasks(episode)))

    def episode_tasks(self, episode: int) -> list[str]:
        tasks = self.tasks if isinstance(self.tasks, str) else self.tasks[episode]
        return [tasks] if isinstance(tasks, str) else list(tasks)

    def first_row(self, episode: int) -> int:
        """The episode's first row of the whole dataset."""
        return sum(self.lengths[:episode])


def joint_names(width: int) -> list[str]:
    """ALOHA's where the width is ALOHA's."""
    return list(ALOHA_JOINTS) if width == len(ALOHA_JOINTS) else [f"joint_{joint}" for joint in range(width)]


def stored_names(names: list[str], shape: Any) -> Any:
    """Joint names in one of the shapes found in info.json files, or `shape` itself."""
    known = {"motors": {"motors": names}, "nested": [names], "flat": names}
    return known[shape] if isinstance(shape, str) else shape


def groups(num_episodes: int, size: int | None) -> Iterator[range]:
    """Consecutive episodes, `size` at a time."""
    size = size or num_episodes
    return (range(start, min(start + size, num_episodes)) for start in range(0, num_episodes, size))
