"""A rerun recording, written to a file or shown in the viewer: series, cameras and texts on two timelines."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.engine.about import install_command
from millrace.engine.errors import RecipeError
from millrace.engine.sources import why_unwritable
from millrace.engine.video.cut import CutClip
from millrace.engine.viewer.view_layout import SideViews, arrange_views

APPLICATION = "millrace"
SECONDS, FRAME = "seconds", "frame"
NANOSECONDS = 1e9
JPEG, PNG = "image/jpeg", "image/png"
# The end of a complete file; a disk with less free space than FULL_BYTES counts as full.
FOOTER, FOOTER_BYTES, FULL_BYTES = b"FOOT", 64, 1 << 20
# On Linux the viewer needs a desktop.
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


Entity = Sequence[str]


@dataclass(frozen=True, eq=False)
class Times:
    """When something was recorded.

    frames: numbers in the episode, (T,). seconds: on the time line that all share, (T,). frame_timeline: its name.
    """

    frames: NDArray[np.int64]
    seconds: NDArray[np.float64]
    frame_timeline: str = FRAME

    def select(self, places: slice | NDArray[np.int64]) -> "Times":
        """Some of them."""
        return replace(self, frames=self.frames[places], seconds=self.seconds[places])


def import_rerun() -> Any:
    """The library of rerun.

    Raises:
        RecipeError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise RecipeError("to view an episode, rerun is needed: ", Remedy(install_command("view"))) from error
    return rerun


class RerunRecording:
    """An open recording. Entities are named by parts, which may be any text."""

    def __init__(self) -> None:
        self.rerun = import_rerun()
        self.rerun.set_strict_mode(True)  # or else what it does not understand is a warning, and left out
        self.stream = self.rerun.RecordingStream(APPLICATION)

    def log_series(self, entity: Entity, names: Sequence[str], values: NDArray[np.float64], times: Times) -> None:
        """Log curves of several joints; values: (T, D)."""
        path = self._path(entity)
        self.stream.log(path, self.rerun.SeriesLines(names=list(names)), static=True)
        self.stream.send_columns(path, self._index(times), self.rerun.Scalars.columns(scalars=values))

    def log_video(self, entity: Entity, clip: CutClip, times: Times) -> bool:
        """Log an mp4 and which of its frames is shown when; False where rerun does not find the same frames in it."""
        video = self.rerun.AssetVideo(contents=clip.content, media_type="video/mp4")
        try:
            stored = np.sort(np.asarray(video.read_frame_timestamps_nanos(), dtype=np.int64))
        except (RuntimeError, ValueError):
            return False
        if len(stored) != clip.num_stored:
            return False
        path = self._path(entity)
        self.stream.log(path, video, static=True)
        shown = self.rerun.VideoFrameReference.columns_nanos(stored[clip.places])
        self.stream.send_columns(path, self._index(times), shown)
        return True

    def log_images(self, entity: Entity, images: Sequence[bytes], times: Times) -> None:
        """Log JPEG files, one at each time."""
        kinds = [JPEG] * len(images)
        columns = self.rerun.EncodedImage.columns(blob=list(images), media_type=kinds)
        self.stream.send_columns(self._path(entity), self._index(times), columns)

    def log_depth(self, entity: Entity, images: Sequence[bytes], times: Times) -> None:
        """Log depth as PNG files of millimetres, for which rerun takes whole numbers, one at each time."""
        columns = self.rerun.EncodedDepthImage.columns(blob=list(images), media_type=[PNG] * len(images))
        self.stream.send_columns(self._path(entity), self._index(times), columns)

    def log_texts(self, entity: Entity, texts: Sequence[str], times: Times) -> None:
        """Log texts, each from its time on."""
        columns = self.rerun.TextDocument.columns(text=list(texts))
        self.stream.send_columns(self._path(entity), self._index(times), columns)

    def log_markdown(self, entity: Entity, text: str) -> None:
        """Log a text for all times."""
        document = self.rerun.TextDocument(text, media_type=self.rerun.MediaType.MARKDOWN)
        self.stream.log(self._path(entity), document, static=True)

    def send_views(self, views: Sequence[SideViews]) -> None:
        """Lay out the viewer: the sides beside each other, cameras above curves."""
        self.stream.send_blueprint(arrange_views(self.rerun.blueprint, views, self._path))

    def close(self, path: Path) -> None:
        """End the recording in a file.

        Raises:
            OSError: it is not complete; rerun itself prints why.
        """
        try:
            self.stream.flush()
            self.stream.disconnect()
        except RuntimeError as error:
            raise _write_error(path) from error
        with path.open("rb") as file:
            file.seek(-min(FOOTER_BYTES, path.stat().st_size), os.SEEK_END)
            if FOOTER not in file.read() and shutil.disk_usage(path.parent).free < FULL_BYTES:
                raise _write_error(path)

    def _path(self, entity: Entity) -> str:
        return str(self.rerun.new_entity_path(list(entity)))

    def _index(self, times: Times) -> list[Any]:
        nanoseconds = np.round(times.seconds * NANOSECONDS).astype("timedelta64[ns]")
        return [
            self.rerun.TimeColumn(SECONDS, duration=nanoseconds),
            self.rerun.TimeColumn(times.frame_timeline, sequence=times.frames),
        ]


@contextmanager
def create_recording(save: Path | None) -> Iterator[RerunRecording]:
    """Open a recording: a file, which appears when it is complete, or None for the viewer, which is started.

    Raises:
        RecipeError: rerun is not installed, its viewer has no screen, or the file cannot be written.
    """
    recording = RerunRecording()
    if save is None:
        _check_screen()
        recording.stream.spawn()
        yield recording
        recording.stream.flush()
        return
    unfinished = save.with_name(f".{save.name}.{uuid4().hex[:8]}.part")  # not one that others can foresee
    try:
        unfinished.touch(exist_ok=False)
        recording.stream.save(unfinished)
        yield recording
        recording.close(unfinished)
        unfinished.replace(save)
    except OSError as error:
        raise RecipeError(f"{save} ", why_unwritable(save, error), file=save) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write_error(path: Path) -> OSError:
    """The most likely reason why rerun could not write a file, as it keeps its own to itself."""
    code = errno.ENOSPC if shutil.disk_usage(path.parent).free < FULL_BYTES else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def is_h264_player_missing(save: Path | None) -> bool:
    """Whether the viewer of this machine cannot play H.264 and HEVC, for which it starts ffmpeg."""
    return save is None and shutil.which("ffmpeg") is None


def _check_screen() -> None:
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in DISPLAYS):
        advice = Remedy("write a file and open it elsewhere: ", Setting("save", "FILE.rrd"))
        raise RecipeError("the viewer of rerun needs a desktop, and there is none here; ", advice)
