"""Facts that an inspection states about a dataset, and how metadata and files give them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from millrace.embodiments import FrozenModel
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.row_facts import EpisodeFacts, JointFacts
from millrace.engine.planning.robot_guess import RobotGuess
from millrace.engine.sources import LAYOUTS, SourceDataset, SourceFiles, check_own_path, why_unreadable
from millrace.engine.sources.lerobot_metadata import read_source_json
from millrace.engine.text import format_count

# Of the episodes that the task of the median episode has.
RARE_SHARE = 0.2


@dataclass(frozen=True)
class FeatureFacts:
    """A column or camera as the metadata describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class CameraFacts:
    """One camera's videos, by the first that can be read; None where unknown.

    codec "image": pictures within the rows. gop: most frames from key frame to key frame.
    """

    name: str
    codec: str | None = None
    pix_fmt: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    gop: int | None = None
    color_range: str | None = None
    bytes_per_frame: float | None = None


@dataclass(frozen=True)
class TaskFacts:
    """A task and how many episodes are of it."""

    task: str
    num_episodes: int


@dataclass(frozen=True)
class MotionFacts:
    """How the robot moves in the episodes inspected; None where that cannot be told.

    lag_frames: by how much the state follows the action. lag_correlation: how sure that is, up to 1.
    idle_share: of all frames. still_within: how far joints may stray while they count as still, by joint group, such as
    "0.01 rad"; empty where no robot is known, and a hundredth of each joint's usual range counts.
    """

    lag_frames: int | None = None
    lag_seconds: float | None = None
    lag_correlation: float | None = None
    idle_share: float | None = None
    still_within: dict[str, str] = field(default_factory=dict)

    @property
    def still_text(self) -> str:
        """What counts as still, in words."""
        bands = ", ".join(f"{group} {width}" for group, width in self.still_within.items())
        return bands or "1% of each joint's usual range"


@dataclass(frozen=True)
class FileFacts:
    """Files of one suffix, ".mp4", with the bytes of all of them."""

    suffix: str
    num_files: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that `inspect_dataset` finds out.

    num_inspected: episodes whose rows and video headers were read. num_watched: those of them of whose
    videos some frames were decoded. fps: None where is_open is False: the folder cannot be opened as a
    dataset, and files and next_step are all that is known beside the finding that says why. episodes: those whose rows
    were read. address: what a command calls the dataset, where that is not its folder.
    """

    root: Path
    layout: str
    codebase_version: str | None
    robot_type: str | None = None
    robot: RobotGuess
    fps: float | None = None
    num_episodes: int = 0
    num_frames: int = 0
    duration_seconds: float = 0.0
    shortest_frames: int = 0
    longest_frames: int = 0
    num_rows_bytes: int
    num_video_bytes: int
    features: tuple[FeatureFacts, ...] = ()
    cameras: tuple[CameraFacts, ...] = ()
    tasks: tuple[TaskFacts, ...] = ()
    motion: MotionFacts = MotionFacts()
    episodes: tuple[EpisodeFacts, ...] = ()
    joints: tuple[JointFacts, ...] = ()
    num_inspected: int = 0
    num_watched: int = 0
    findings: tuple[Finding, ...]
    files: tuple[FileFacts, ...] = ()
    is_open: bool = True
    next_step: str | None = None
    address: str | None = None

    def to_json(self) -> str:
        """All of it as JSON, ASCII only."""
        return json.dumps(asdict(self), default=str, indent=2, allow_nan=False)


class Claims(FrozenModel):
    """What info.json says of the whole dataset; often wrong or missing."""

    codebase_version: object = None
    total_episodes: object = None
    total_frames: object = None


def read_claims(root: Path, bounds: Path | None = None) -> Claims:
    """Read info.json's claims, which must lie within `bounds`, by default the dataset's folder."""
    paths = [root / folder / "info.json" for folder in ("meta_data", "meta")]
    return next(
        (read_source_json(check_own_path(path, bounds or root), Claims) for path in paths if path.is_file()), Claims()
    )


def claim_findings(dataset: SourceDataset, claims: Claims) -> Iterator[Finding]:
    """Where info.json contradicts the files."""
    fitting = (layout.__name__.rpartition(".")[2] for layout, _ in LAYOUTS if layout.fits(dataset.root))
    layout = next(fitting, dataset.layout)
    version = claims.codebase_version
    if version is not None and not str(version).startswith(layout):
        yield make_finding("version-mismatch", f"info.json says {version}, but the files are laid out as {layout}")
    totals = {"total_episodes": len(dataset.episodes) + len(dataset.bad)}
    if not dataset.bad:  # whose lengths are not known
        totals["total_frames"] = sum(episode.num_frames for episode in dataset.episodes)
    for name, number in totals.items():
        claimed = getattr(claims, name)
        if claimed is not None and claimed != number:
            yield make_finding("total-mismatch", f"info.json says {name} is {claimed}, but there are {number}")
    if not dataset.episodes and not dataset.bad:
        yield make_finding("no-episode", "the dataset has no episode")


def metadata_findings(dataset: SourceDataset) -> Iterator[Finding]:
    """Findings about cameras and episodes that metadata alone shows to be wrong."""
    for camera in dataset.cameras:
        if reason := dataset.why_ambiguous(camera):
            yield make_finding("bad-metadata", reason, camera=camera)
    for problem in dataset.task_problems:
        yield make_finding("bad-metadata", problem)
    for bad in dataset.bad:
        yield make_finding("bad-metadata", bad.fault.reason, episode=bad.index, camera=bad.fault.camera)
    for episode in dataset.episodes:
        for fault in episode.faults:
            yield make_finding("bad-metadata", fault.reason, episode=episode.index, camera=fault.camera)


def task_findings(dataset: SourceDataset) -> Iterator[Finding]:
    """Episodes of which nothing says what the robot does."""
    silent = [episode.index for episode in dataset.episodes if not episode.tasks and not dataset.tasks]
    if silent:
        advice = "give one: millrace convert SOURCE OUT --task 'Pick up the cube.'"
        yield make_finding("no-task", f"{len(silent)} of {len(dataset.episodes)} episodes name no task; {advice}")
    named = {*dataset.tasks.values(), *(task for episode in dataset.episodes for task in episode.tasks)}
    num_empty = sum(not task.strip() for task in named)
    if num_empty:
        yield make_finding("empty-task", f"{num_empty} of {len(named)} tasks are an empty text")


def rare_task_findings(tasks: Sequence[TaskFacts]) -> Iterator[Finding]:
    """Tasks with few episodes beside others with many."""
    numbers = np.array([task.num_episodes for task in tasks], dtype=np.int64)
    usual = float(np.median(np.repeat(numbers, numbers))) if numbers.any() else 0.0
    for task in tasks:
        if 0 < task.num_episodes <= RARE_SHARE * usual:
            number = format_count(task.num_episodes, "episode")
            yield make_finding("rare-task", f"{task.task!r} has {number}, the task of most episodes {usual:,.0f}")


def count_tasks(dataset: SourceDataset) -> tuple[TaskFacts, ...]:
    """Every task with its episodes, the most frequent first."""
    counts = Counter(dict.fromkeys(dataset.tasks.values(), 0))
    counts.update(task for episode in dataset.episodes for task in dict.fromkeys(episode.tasks))
    return tuple(TaskFacts(task, number) for task, number in counts.most_common())


@dataclass(frozen=True)
class EpisodeFiles:
    """The files that the episodes need: bytes of those that exist, and those that do not."""

    num_rows_bytes: int
    num_video_bytes: int
    missing: frozenset[Path]
    findings: tuple[Finding, ...]


def measure_files(dataset: SourceDataset) -> EpisodeFiles:
    """Sum the sizes of all files, each once, and find missing ones; nothing is opened."""
    rows = ((part.path, episode.index) for episode in dataset.episodes for part in episode.rows)
    num_rows_bytes, missing = _measure(dataset.files, rows)
    findings = list(_missing_findings(missing, None))
    num_video_bytes, everything = 0, set(missing)
    for camera in dataset.cameras:
        clips = ((episode.clips[camera], episode.index) for episode in dataset.episodes if camera in episode.clips)
        paths = ((path, index) for clip, index in clips for path in clip.paths)
        num_bytes, missing = _measure(dataset.files, paths)
        num_video_bytes += num_bytes
        findings += _missing_findings(missing, camera)
        everything.update(missing)
    return EpisodeFiles(num_rows_bytes, num_video_bytes, frozenset(everything), tuple(findings))


def _measure(files: SourceFiles, paths: Iterable[tuple[Path, int]]) -> tuple[int, dict[Path, int]]:
    """Bytes of the files that exist, and the first episode of each that does not."""
    seen: set[Path] = set()
    missing: dict[Path, int] = {}
    num_bytes = 0
    for path, episode in paths:
        if path in seen:
            continue
        seen.add(path)
        size = files.size(path)
        if size is None:
            missing[path] = episode
        num_bytes += size or 0
    return num_bytes, missing


def _missing_findings(missing: dict[Path, int], camera: str | None) -> Iterator[Finding]:
    for path, episode in list(missing.items())[:1]:
        rest = f", and {len(missing) - 1} more files" if len(missing) > 1 else ""
        yield make_finding(
            "missing-file", f"{path} {_why_missing(path)}{rest}", episode=episode, camera=camera, path=path
        )


def _why_missing(path: Path) -> str:
    try:
        path.lstat()
    except PermissionError as error:  # its folder may not be entered
        return why_unreadable(path, error)
    except (OSError, ValueError):  # ValueError: no path at all, by its characters
        pass
    return "is missing"
