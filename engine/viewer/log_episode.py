"""Log one episode of one dataset into a rerun recording: cameras, joints, tasks, and what is known of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Message, MillraceError
from millrace.engine.errors import VideoError
from millrace.engine.fps import format_fps
from millrace.engine.inspection.clip_findings import locate_clip
from millrace.engine.inspection.episode_rows import read_values
from millrace.engine.sources import RowReader, SourceDataset, SourceEpisode, camera_name, fetch_images
from millrace.engine.text import code_cell, code_span
from millrace.engine.video.cut import cut_clip
from millrace.engine.video.depth import make_depth_pngs
from millrace.engine.video.whole_frames import make_whole_jpegs
from millrace.engine.viewer.recording_file import FRAME, RerunRecording, Times
from millrace.engine.viewer.shown_joints import ShownGroup, ShownJoints, choose_joints
from millrace.engine.viewer.view_layout import CAMERAS, JOINTS, SideViews

# What the viewer plays; H.264 and HEVC by ffmpeg, which it starts.
CODECS = ("av1", "h264", "hevc")
CODECS_WITHOUT_FFMPEG = ("av1",)
# Of one camera's packets, which are held in memory; larger clips are logged as images, some at a time.
MAX_VIDEO_BYTES = 256 << 20
NUM_IMAGES = 32
TASK, SUBTASK, ABOUT = "task", "subtask", "about"
SUBTASK_COLUMN = "subtask_index"

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Side:
    """A dataset and the episode of it that is shown.

    name: the first part of its entities. clock: seconds, on the time line that all share, of frames, (T,) of each.
    frame_timeline: which has the numbers of its frames.
    """

    name: str
    dataset: SourceDataset
    episode: SourceEpisode
    clock: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    frame_timeline: str = FRAME

    def times(self, num_frames: int) -> Times:
        """When its first frames are shown."""
        frames = np.arange(num_frames, dtype=np.int64)
        return Times(frames, self.clock(frames), self.frame_timeline)


@dataclass(frozen=True)
class LoggedSide:
    """What was logged of one side. notes: what could not be shown, or is shown otherwise, in words."""

    views: SideViews
    num_series: int
    notes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return not self.views.cameras and not self.views.groups


def log_side(
    recording: RerunRecording, side: Side, *, images: bool, codecs: Sequence[str], write: Callable[[str], str]
) -> LoggedSide:
    """Log all of an episode that can be read; what cannot is a note.

    Args:
        recording: Where to.
        side: The episode.
        images: Log cameras as JPEG images, whatever they are stored as.
        codecs: Of videos that may be logged as they are.
        write: Makes a message a line of text.

    Raises:
        HubError, StoreError: files of the episode cannot be had.
    """
    side.episode.fetch(side.dataset.cameras)
    if side.episode.repository is not None:
        fetch_images(side.episode.clips, side.episode.repository)
    joints = choose_joints(side.dataset)
    notes: list[str] = list(joints.notes)
    values = _read(side, joints, notes, write)
    groups = [group for group in joints.groups if _log_group(recording, side, group, values)]
    cameras = list(_log_cameras(recording, side, notes, codecs=() if images else codecs, write=write))
    texts = list(_log_tasks(recording, side, values))
    notes = [f"{side.name}: {note}" for note in notes]
    recording.log_markdown((side.name, ABOUT), "\n".join(_describe(side, joints, notes)))
    titles = tuple((group.name, group.title) for group in groups)
    views = SideViews(side.name, tuple(cameras), titles, (*texts, ABOUT))
    return LoggedSide(views, sum(len(group.state) + len(group.action) for group in groups), tuple(notes))


def _read(side: Side, joints: ShownJoints, notes: list[str], write: Callable[[str], str]) -> Values:
    reader = RowReader()
    try:
        values, findings = read_values(side.episode, joints.columns, reader)
        notes += [finding.message for finding in findings]
        if SUBTASK_COLUMN in side.dataset.features and side.dataset.subtasks:
            _, table = reader.read(side.episode, (SUBTASK_COLUMN,))
            numbers = np.array(table[SUBTASK_COLUMN].to_pylist(), dtype=np.float64)
            return {**values, SUBTASK_COLUMN: numbers.reshape(-1, 1)}
        return values
    except MillraceError as error:
        notes.append(f"no curves: {write(error.message)}")
        return {}


def _log_group(recording: RerunRecording, side: Side, group: ShownGroup, values: Values) -> bool:
    """Log the curves of a group; False where no column of it could be read."""
    is_logged = False
    for vector, joints in (("state", group.state), ("action", group.action)):
        found = [(name, values[column][:, place]) for name, (column, place) in joints if column in values]
        if found:
            names = [name if vector == "state" else f"{name} action" for name, _ in found]
            curves = np.stack([curve for _, curve in found], axis=1)
            entity = (side.name, JOINTS, group.name, vector)
            recording.log_series(entity, names, curves, side.times(len(curves)))
            is_logged = True
    return is_logged


def _log_cameras(
    recording: RerunRecording, side: Side, notes: list[str], *, codecs: Sequence[str], write: Callable[[str], str]
) -> Iterator[str]:
    """Log all cameras, those of depth last; yields which could be shown, and adds notes of the others."""
    depth = (*side.dataset.depth_videos, *_unshown_depth(side.dataset))
    for camera in (*side.dataset.cameras, *depth):
        try:
            if camera in depth:
                _log_depth(recording, side, camera)
            else:
                notes += _log_camera(recording, side, camera, codecs=codecs)
            yield camera
        except (MillraceError, OSError) as error:
            notes.append(f"{'depth ' if camera in depth else ''}camera {camera}: {write(Message(error))}")


def _log_camera(recording: RerunRecording, side: Side, camera: str, *, codecs: Sequence[str]) -> list[str]:
    """Log a camera's video as it is stored, or else its images; returns what is to be said of it."""
    clip = side.episode.clips.get(camera)
    if clip is None:
        reasons = [fault.reason for fault in side.episode.faults if fault.camera in (camera, None)]
        return [f"camera {camera}: {reasons[0] if reasons else 'this episode has no video of it'}"]
    clip = locate_clip(side.episode, clip)
    entity, times = (side.name, CAMERAS, camera), side.times(clip.num_frames)
    if clip.video is not None and codecs:
        cut = cut_clip(clip.video, tuple(codecs), max_bytes=MAX_VIDEO_BYTES)
        if cut is not None and recording.log_video(entity, cut, times):
            return []
    _log_in_batches(make_whole_jpegs(clip), partial(recording.log_images, entity), times)
    return []


def _unshown_depth(dataset: SourceDataset) -> Iterator[str]:
    """Images of depth or of masks that are no videos whose codes have a known meaning."""
    for key, feature in dataset.features.items():
        if feature.content is not None and feature.depth is None:
            yield camera_name(key)


def _log_depth(recording: RerunRecording, side: Side, camera: str) -> None:
    """Log a depth camera's frames.

    Raises:
        VideoError: they cannot be read, or nothing says what they hold.
    """
    feature, clip = side.dataset.depth_videos.get(camera), side.episode.depth.get(camera)
    if feature is None or feature.depth is None:
        raise VideoError("depth and masks are shown where they are videos of 12 bits whose codes info.json explains")
    if clip is None:
        raise VideoError("this episode has no video of it")
    if side.episode.repository is not None:
        side.episode.repository.fetch(clip.paths)
    log = partial(recording.log_depth, (side.name, CAMERAS, camera))
    _log_in_batches(make_depth_pngs(clip, feature.depth), log, side.times(clip.num_frames))


def _log_in_batches(images: Iterator[bytes], log: Callable[[Sequence[bytes], Times], None], times: Times) -> None:
    num_logged = 0
    while batch := list(islice(images, NUM_IMAGES)):
        log(batch, times.select(slice(num_logged, num_logged + len(batch))))
        num_logged += len(batch)


def _log_tasks(recording: RerunRecording, side: Side, values: Values) -> Iterator[str]:
    """Log the texts of tasks and subtasks at the frames from which on they hold; yields which there are."""
    known = {TASK: side.dataset.tasks, SUBTASK: side.dataset.subtasks}
    for entity, column in ((TASK, "task_index"), (SUBTASK, SUBTASK_COLUMN)):
        if column in values and known[entity]:
            numbers = values[column][:, 0]
            starts = np.flatnonzero(np.diff(numbers, prepend=np.nan) != 0)
            texts = [known[entity].get(int(number), f"{number:g}") for number in np.nan_to_num(numbers[starts], nan=-1)]
            recording.log_texts((side.name, entity), texts, side.times(len(numbers)).select(starts))
            yield entity
        elif entity == TASK and side.episode.tasks:
            texts = ["\n".join(side.episode.tasks)]
            recording.log_texts((side.name, entity), texts, side.times(1))
            yield entity


def _describe(side: Side, joints: ShownJoints, notes: Sequence[str]) -> Iterator[str]:
    """What is known of the episode, as Markdown; texts of datasets are code in it."""
    dataset, episode = side.dataset, side.episode
    yield f"# {code_span(dataset.title)}, episode {episode.index}\n"
    yield "| | |\n|---|---|"
    yield f"| layout | {code_cell(dataset.layout)} |"
    yield f"| robot | {code_cell(joints.robot or dataset.robot_type or 'unknown')} |"
    seconds = float(episode.num_frames / dataset.fps)
    yield f"| length | {episode.num_frames} frames at {format_fps(dataset.fps)} Hz, {seconds:.2f} s |"
    yield f"| tasks | {', '.join(map(code_cell, episode.tasks)) or 'none'} |\n"
    yield "| joints | unit | state | action | kind of action |\n|---|---|---|---|---|"
    for group in joints.groups:
        counts = f"{len(group.state)} | {len(group.action)}"
        yield f"| {code_cell(group.name)} | {code_cell(group.unit)} | {counts} | {code_cell(group.action_kind)} |"
    yield ""
    yield from (f"- {code_span(note)}" for note in notes)
