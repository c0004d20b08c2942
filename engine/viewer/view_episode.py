"""Show one episode of a dataset in the rerun viewer, or write it into a file: its source beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy
from millrace.engine.dataset.manifest import Lineage
from millrace.engine.dataset.record import Cut
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.sources import SourceDataset, SourceEpisode, open_source
from millrace.engine.text import printable
from millrace.engine.viewer.compared_episode import find_episode, find_recording, fit_cuts, read_lineage
from millrace.engine.viewer.log_episode import CODECS, CODECS_WITHOUT_FFMPEG, LoggedSide, Side, log_side
from millrace.engine.viewer.recording_file import create_recording, is_h264_player_missing

DATASET, SOURCE, SOURCE_FRAME = "dataset", "source", "source_frame"
SUFFIX = ".rrd"
NO_CUTS = "source: frames were cut, and which of these cannot be told: both sides start together, and part later"


@dataclass(frozen=True)
class ViewedEpisode:
    """What was shown. source_episode: number of the recording beside it; None: none. hint: what else could be shown.

    notes: what could not be shown, or is shown otherwise.
    """

    episode: int
    num_frames: int
    cameras: tuple[str, ...]
    num_series: int
    source_episode: int | None
    notes: tuple[str, ...]
    hint: str | None = None


@dataclass(frozen=True)
class ViewOptions:
    """What of an episode is shown, and how.

    source: the dataset that it was made of, to be shown beside it. source_episode: its episode; by default the one that
    the manifest names. images: log cameras as images, also where the viewer could play their videos. follow_links,
    format, fps: see `open_source`; the last two are of the source, where there is one. write: makes a message a line.
    """

    source: str | Path | None = None
    source_episode: int | None = None
    images: bool = False
    follow_links: bool = False
    format: str | None = None
    fps: Fraction | None = None
    write: Callable[[str], str] = printable

    def open(self, path: str | Path, *, is_recording: bool) -> SourceDataset:
        """Open a dataset; is_recording: the options say how it is read."""
        read = (self.format, self.fps) if is_recording else (None, None)
        return open_source(path, follow_links=self.follow_links, format=read[0], fps=read[1])


def view_episode(
    path: str | Path, number: int = 0, *, save: Path | None = None, options: ViewOptions = ViewOptions()
) -> ViewedEpisode:
    """Show an episode in the rerun viewer, or write it into a file that the viewer opens.

    Cameras, joints by group and tasks lie on the timeline "seconds"; "frame" and "source_frame" have the numbers of
    frames. Only datasets that are named here are opened, whatever a manifest names.

    Args:
        path: Folder of a dataset in any layout, or org/name[@revision] on the Hub.
        number: Of the episode.
        save: The file; None: start the viewer.
        options: What of it is shown.

    Raises:
        RecipeError: rerun is not installed, there is no such episode, or the file cannot be written.
        MillraceError: a dataset cannot be opened, or nothing of the episode can be shown.
    """
    _check_name(save)
    dataset = options.open(path, is_recording=options.source is None)
    made = Side(DATASET, dataset, find_episode(dataset, number), _clock(dataset))
    lineage = read_lineage(dataset, number)
    beside, notes = (None, ()) if options.source is None else _find_source(options, options.source, made, lineage)
    codecs = CODECS_WITHOUT_FFMPEG if is_h264_player_missing(save) else CODECS
    with create_recording(save) as recording:
        logged = [
            log_side(recording, side, images=options.images, codecs=codecs, write=options.write)
            for side in (beside, made)
            if side is not None
        ]
        _check_shown(logged, dataset, number)
        recording.send_views([one.views for one in logged])
    return ViewedEpisode(
        episode=number,
        num_frames=made.episode.num_frames,
        cameras=logged[-1].views.cameras,
        num_series=logged[-1].num_series,
        source_episode=None if beside is None else beside.episode.index,
        notes=(*notes, *(note for one in logged for note in one.notes)),
        hint=_hint(lineage) if beside is None else None,
    )


def _find_source(
    options: ViewOptions, path: str | Path, made: Side, lineage: Lineage | None
) -> tuple[Side, tuple[str, ...]]:
    """The recording that an episode was made of, and what is to be said of its time."""
    source = options.open(path, is_recording=True)
    recording = find_recording(source, Path(path), lineage, number=options.source_episode)
    cuts = _find_cuts(lineage, made, source, recording)
    side = Side(SOURCE, source, recording, _clock(source, cuts or ()), SOURCE_FRAME)
    return side, (NO_CUTS,) if cuts is None else ()


def _hint(lineage: Lineage | None) -> str | None:
    """What could be shown beside an episode."""
    if lineage is None or lineage.source is None:
        return None
    return f"made of episode {lineage.source_episode} of {printable(lineage.source)!r}"


def _find_cuts(
    lineage: Lineage | None, made: Side, source: SourceDataset, recording: SourceEpisode
) -> tuple[Cut, ...] | None:
    """The frames of a recording that the episode made of it lacks; None where they cannot be told."""
    return fit_cuts(
        () if lineage is None else lineage.cuts,
        num_frames=recording.num_frames,
        num_made=made.episode.num_frames,
        source_fps=source.fps,
        fps=made.dataset.fps,
    )


def _clock(dataset: SourceDataset, cuts: Sequence[Cut] = ()) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Seconds from an episode's first frame, at a dataset's rate; frames that were cut out take no time."""
    step = np.float64(1 / dataset.fps)

    def tell(frames: NDArray[np.int64]) -> NDArray[np.float64]:
        lacking = sum((np.clip(frames - cut.start, 0, cut.num_frames) for cut in cuts), np.zeros_like(frames))
        return (frames - lacking).astype(np.float64) * step

    return tell


def _check_name(save: Path | None) -> None:
    if save is not None and save.suffix != SUFFIX:
        advice = Remedy(f"name it {save.with_suffix(SUFFIX)}")
        raise RecipeError(f"{save}: a recording of rerun is a file {SUFFIX}; ", advice, got=str(save))


def _check_shown(logged: list[LoggedSide], dataset: SourceDataset, number: int) -> None:
    """Check that there is something to see.

    Raises:
        DatasetError: neither a camera nor a curve of the dataset's episode could be read.
    """
    if logged[-1].is_empty:
        why = "; ".join(logged[-1].notes) or "it has neither cameras nor columns of joints"
        raise DatasetError(f"{dataset.address}, episode {number}: nothing can be shown: {why}", episode=number)
