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
from millrace.engine.sources.read_options import ReadOptions
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


def view_episode(
    path: str | Path,
    number: int = 0,
    *,
    save: Path | None = None,
    source: str | Path | None = None,
    source_episode: int | None = None,
    images: bool = False,
    follow_links: bool = False,
    format: str | None = None,
    fps: Fraction | None = None,
    write: Callable[[str], str] = printable,
) -> ViewedEpisode:
    """Show an episode in the rerun viewer, or write it into a file that the viewer opens.

    Cameras, joints by group and tasks lie on the timeline "seconds"; "frame" and "source_frame" have the numbers of
    frames. Only datasets that are named here are opened, whatever a manifest names.

    Args:
        path: Folder of a dataset in any layout, or org/name[@revision] on the Hub.
        number: Of the episode.
        save: The file; None: start the viewer.
        source: The dataset that `path` was made of, to be shown beside it.
        source_episode: Its episode; by default the one that the manifest names.
        images: Log cameras as images, also where the viewer could play their videos.
        follow_links, format, fps: See `open_source`; the last two are of the source, where there is one.
        write: Makes a message a line of text.

    Raises:
        RecipeError: rerun is not installed, there is no such episode, or the file cannot be written.
        MillraceError: a dataset cannot be opened, or nothing of the episode can be shown.
    """
    _check_name(save)
    options, none = ReadOptions(format, fps), ReadOptions()
    dataset = _open(path, options if source is None else none, follow_links=follow_links)
    episode = find_episode(dataset, number)
    lineage = read_lineage(dataset, number)
    sides = [Side(DATASET, dataset, episode, _clock(dataset))]
    notes: list[str] = []
    hint = None
    if source is not None:
        other = _open(source, options, follow_links=follow_links)
        found = find_recording(other, Path(source), lineage, number=source_episode)
        cuts = _find_cuts(lineage, sides[0], other, found)
        notes += [NO_CUTS] if cuts is None else []
        sides.insert(0, Side(SOURCE, other, found, _clock(other, cuts or ()), SOURCE_FRAME))
    elif lineage is not None and lineage.source is not None:
        hint = f"made of episode {lineage.source_episode} of {printable(lineage.source)!r}"
    codecs = CODECS_WITHOUT_FFMPEG if is_h264_player_missing(save) else CODECS
    with create_recording(save) as recording:
        logged = [log_side(recording, side, images=images, codecs=codecs, write=write) for side in sides]
        _check_shown(logged, dataset, number)
        recording.send_views([one.views for one in logged])
    return ViewedEpisode(
        episode=number,
        num_frames=episode.num_frames,
        cameras=logged[-1].views.cameras,
        num_series=logged[-1].num_series,
        source_episode=sides[0].episode.index if source is not None else None,
        notes=(*notes, *(note for one in logged for note in one.notes)),
        hint=hint,
    )


def _open(path: str | Path, options: ReadOptions, *, follow_links: bool) -> SourceDataset:
    return open_source(path, follow_links=follow_links, format=options.format, fps=options.fps)


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
