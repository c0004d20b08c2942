"""Flags of `millrace convert`, in the groups that its help shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from millrace.commands.print_flags import PrintFlags
from millrace.commands.read_flags import ReadFlags
from millrace.engine.execution.shipping import Ship
from millrace.engine.execution.workers import ExecutorName
from millrace.engine.video.backends import GPU_SHARE, Device
from millrace.train.flag_types import Flag, option


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """Which episodes are converted, and what the robot does there."""

    episodes: Annotated[str | None, option("A:B|LIST")] = None
    """Some episodes only: 0:10, the same as 0-9; -3: for the last three; or a list such as 0,3,10:20."""
    task: Annotated[str | None, option("TEXT")] = None
    """What the robot does in episodes whose source does not say so."""
    task_all: Flag = False
    """The text of --task for all episodes, in place of what the source says."""
    language: Annotated[str | None, option("COLUMN")] = None
    """The column that holds each row's instruction, as text or as a number among the tasks; by default task_index."""
    trim_mismatch: Annotated[int | None, option("FRAMES")] = None
    """Frames or rows that may be dropped at the end of an episode where its rows and videos differ in length."""
    cut_off: Annotated[Literal["keep", "fail"] | None, option("keep|fail")] = None
    """Recordings that were cut off, whose file ends within its rows: convert the whole rows (keep), or leave the
    episode out (fail, the default) and say how many rows are whole."""


@dataclass(frozen=True, kw_only=True)
class CutFlags:
    """Which parts of episodes are left out."""

    trim_idle: Flag = False
    """Cut still stretches at the start and the end of each episode, but for --idle-keep."""
    drop_pauses: Annotated[str | None, option("SECONDS")] = None
    """Cut still stretches within an episode that are longer than this, such as 1.0s, but for --idle-keep."""
    idle_keep: Annotated[str | None, option("SECONDS")] = None
    """How much stays of each still stretch that is cut; 0.2s by default."""
    still: Annotated[tuple[str, ...], option("GROUP=WIDTH ...")] = ()
    """How far joints of a group may stray while they count as still, in the group's unit, such as left_arm=0.02."""


@dataclass(frozen=True, kw_only=True)
class FilterFlags:
    """Which episodes are left out. They are listed, and are no failures."""

    min_length: Annotated[str | None, option("SECONDS")] = None
    """Leave out episodes that are shorter, such as 2s."""
    max_length: Annotated[str | None, option("SECONDS")] = None
    """Leave out episodes that are longer."""
    max_idle: Annotated[str | None, option("SHARE")] = None
    """Leave out episodes in which the robot stands still for a larger share, such as 0.5 or 50%."""
    min_motion: Annotated[tuple[str, ...], option("AMOUNT|GROUP=AMOUNT ...")] = ()
    """Leave out episodes in which no joint goes so far, in its unit, such as 0.1 or left_arm=0.1."""
    max_jerk: Annotated[tuple[str, ...], option("AMOUNT|GROUP=AMOUNT ...")] = ()
    """Leave out episodes in which a joint's jerk is larger (root mean square, in its unit per s³)."""
    tasks: Annotated[tuple[str, ...], option("TEXT|PATTERN ...")] = ()
    """Only episodes of these tasks: a text, a pattern with * and ?, or re: and a regular expression."""
    without_tasks: Annotated[tuple[str, ...], option("TEXT|PATTERN ...")] = ()
    """No episodes of these tasks."""


@dataclass(frozen=True, kw_only=True)
class TargetFlags:
    """What they become: robot, rate, columns."""

    map: Annotated[str | None, option("NAME|FILE")] = None
    """How joints become joints: a shipped map, or a map file of your own; by default the only one that fits."""
    robot: Annotated[str | None, option("NAME|FILE|same")] = None
    """What to convert to: a shipped robot, or a robot file of your own. Data of that robot keeps its joints. With
    "same" any data keeps its robot, and only rate, images, cameras and layout change."""
    fps: Annotated[str | None, option("HZ|source")] = None
    """Target rate: 20 by default, 30000/1001, or "source" to keep the source's."""
    resample: Annotated[Literal["nearest", "linspace"] | None, option("nearest|linspace")] = None
    """The frame nearest in time (default), or the ALOHA guide's stretched choice."""
    action: Annotated[
        Literal["at_frame", "mid_interval", "end_of_interval"] | None, option("at_frame|mid_interval|end_of_interval")
    ] = None
    """Which recorded action a frame has where others are dropped: its own (default), or that in force in the middle or
    at the end of its time; a controller that holds an action follows the recording best with mid_interval."""
    align_action: Annotated[str | None, option("FRAMES|auto")] = None
    """Move actions to later rows by so many frames of the source, to earlier ones if negative, or by the lag that
    `millrace inspect` measures (auto, which reads rows of up to 32 episodes): see docs/resampling.md."""
    horizon: Annotated[int | None, option("STEPS")] = None
    """Steps in an action chunk; by default the robot's."""
    columns: Annotated[str | None, option("NAME,NAME|none")] = None
    """Only these columns beside state and action, such as next.reward, which each source must have; by default all that
    the sources have alike. Rewards are summed over frames that are dropped, and flags are true where any was."""
    without_columns: Annotated[str | None, option("NAME,NAME")] = None
    """Columns beside state and action to leave out."""
    chunks_size: Annotated[int | None, option("EPISODES")] = None
    """Episodes in a folder, 1000 by default."""


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """How frames become the output's images, and of which cameras."""

    image_size: Annotated[str | None, option("PIXELS|WxH|source")] = None
    """Size of the output images: the side of squares, 256 by default; width x height such as 320x180; or "source" to
    keep each camera's own. Sides are even. With --crop none a number is the longer side: 256 makes 640x480 256x192."""
    crop: Annotated[Literal["center", "pad", "none"] | None, option("center|pad|none")] = None
    """How frames come to that size: whole with black bars (pad), as GR00T does with live frames; cropped to its aspect
    (center); or whole without bars (none), so that cameras of different aspect differ in size. By default pad, unless
    the map follows a guide that crops, as aloha_to_gr1 does; with --image-size source, none."""
    camera: Annotated[tuple[str, ...], option("TARGET=SOURCE|-NAME ...")] = ()
    """Cameras by another name than the map's, for example ego_view=cam_high; -NAME skips one."""
    cameras: Annotated[str | None, option("NAME,NAME")] = None
    """Only these cameras of the output, in this order; by default all."""
    gop: Annotated[int | None, option("FRAMES")] = None
    """Frames from key frame to key frame of the output videos, 10 by default."""


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """What is written."""

    holdout: Annotated[str | None, option("SHARE|LIST")] = None
    """Put some episodes into OUT_heldout, for evaluation: a share such as 0.05 or 1/20, or a list such as 3,7."""
    layout: Annotated[str, option("v2.1|v3.0|v2.1,v3.0")] = "v2.1"
    """LeRobot's layout: v2.1, which GR00T reads, v3.0 for LeRobot 0.4 and later, or both, of the same clips; v3.0 then
    goes to OUT_v30."""
    data_file_mb: Annotated[int, arg(metavar="MB")] = 100
    """Size of v3.0's parquet files, at most where they hold several episodes."""
    video_file_mb: Annotated[int, arg(metavar="MB")] = 200
    """Likewise of its videos, none of which is longer than 1024 s."""
    report: Annotated[bool, arg(help_behavior_hint="")] = True
    """Write OUT/report.html, a page to look at: frames and curves before and after, findings. It takes seconds."""


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What does the work."""

    workers: Annotated[int | None, option("CORES")] = None
    """Cores to use; by default all."""
    executor: Annotated[ExecutorName, option("auto|local|ray")] = "auto"
    """What runs the episodes: processes of this machine (local), which start at once, or Ray Data (ray). auto takes Ray
    Data where --address or RAY_ADDRESS names a cluster, and where this machine alone would need more than five
    minutes, at 800 frames a second on each core; GPUs are always used through Ray."""
    address: Annotated[str | None, option("ADDRESS")] = None
    """A running Ray cluster, for example "auto"; OUT must be a folder that all nodes share, or in an object store."""
    ship: Annotated[Ship | None, option("code|libraries")] = None
    """Send this Millrace to the nodes of the cluster, for this run; with "libraries" each node also installs what it
    needs by pip, in this machine's versions. By default the nodes have them."""
    staging: Annotated[Path | None, option("DIR")] = None
    """Where OUT is in an object store: a folder on this machine for its rows and its ledger; by default one among the
    user's caches."""
    device: Annotated[Device | None, option("auto|cpu|cuda")] = None
    """Where frames are decoded, resized and encoded: auto uses a GPU where that helps (see `millrace doctor`), cuda
    requires one. By default what the recipe says, or auto."""
    gpu_share: Annotated[float, arg(metavar="SHARE")] = GPU_SHARE
    """Share of a GPU that each worker takes, if it uses one."""
    cache_gb: Annotated[float | None, option("GB")] = None
    """Size of the cache of each machine for sources in object stores, 50 by default; what was not used for longest is
    deleted."""
    local: Flag = False
    """In this process, for debugging; the same as --executor local --workers 1."""
    dry_run: Flag = False
    """Only say what would be done: frames, bytes, time."""


@dataclass(frozen=True, kw_only=True)
class RerunFlags:
    """How to treat the files of an earlier run, and episodes that cannot be converted."""

    overwrite: Flag = False
    """Delete what an earlier run made in OUT."""
    verify: Flag = False
    """Check files of an earlier run by digest, not only by size."""
    skip_bad: Flag = False
    """Finish without the episodes that cannot be converted; millrace.json lists them. Later runs try these again until
    the dataset is finished; then only those fixed in the source since, or all with --retry-skipped."""
    retry_skipped: Flag = False
    """As --skip-bad, and try the skipped episodes of a finished OUT again."""


@dataclass(frozen=True, kw_only=True)
class RecipeFlags(SourceFlags, ReadFlags, CutFlags, FilterFlags, TargetFlags, ImageFlags):
    """Flags for what a recipe's file says itself; --recipe takes its place."""


@dataclass(frozen=True, kw_only=True)
class ConvertFlags(RecipeFlags, OutputFlags, RunFlags, RerunFlags, PrintFlags):
    """All flags of `millrace convert`."""
