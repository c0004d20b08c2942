"""Find the recording that an episode of a converted dataset was made of, in a dataset that the user names.

What a manifest names is never opened by itself: whoever made the dataset may have written it.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset import Origin
from millrace.engine.dataset.json_files import Unreadable, is_file
from millrace.engine.dataset.manifest import Lineage, parse_episode, read_manifest_episodes
from millrace.engine.dataset.record import Cut
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.layout import MANIFEST
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.planning.lineage import episode_origins
from millrace.engine.planning.resample import Resampler
from millrace.engine.sources import SourceDataset, SourceEpisode, public_name
from millrace.engine.text import printable


def find_episode(dataset: SourceDataset, number: int, *, setting: str = "episode") -> SourceEpisode:
    """An episode of a dataset by its number.

    Raises:
        RecipeError: there is none; says which there are.
        DatasetError: its metadata cannot be read.
    """
    found = next((episode for episode in dataset.episodes if episode.index == number), None)
    if found is not None:
        return found
    bad = next((one for one in dataset.bad if one.index == number), None)
    if bad is not None:
        raise DatasetError(f"{dataset.address}, episode {number}: ", bad.fault.reason, episode=number)
    if not dataset.episodes:
        raise DatasetError(f"{dataset.address} has no episodes")
    indices = [episode.index for episode in dataset.episodes]
    there = f"it has {len(indices)}, {min(indices)} to {max(indices)}"
    raise RecipeError(Setting(setting, number), f": {dataset.address} has no episode {number}; {there}", episode=number)


def read_lineage(dataset: SourceDataset, number: int) -> Lineage | None:
    """What the manifest of a converted dataset says of an episode; None where it says nothing that can be read."""
    if not is_file(dataset.root / MANIFEST):
        return None
    try:
        lines = (parse_episode(text, Lineage) for text in read_manifest_episodes(dataset.root))
        return next((line for line in lines if line.episode_index == number), None)
    except Unreadable:
        return None


def find_recording(
    source: SourceDataset, path: Path, lineage: Lineage | None, *, number: int | None = None
) -> SourceEpisode:
    """The episode of a source that a converted episode was made of, directly or by conversions in between.

    Args:
        source: The dataset that the user names.
        path: As it was named.
        lineage: Of the converted episode.
        number: Of the source's episode, where the user says it.

    Raises:
        RecipeError: it cannot be told, or it is another dataset.
    """
    if number is not None:
        return find_episode(source, number, setting="source_episode")
    advice = Remedy("say which episode it is: ", Setting("source_episode", "N"))
    if lineage is None:
        raise RecipeError("nothing says which recording the episode was made of; ", advice)
    origins = episode_origins(path, source)
    same = next((index for index, origin in origins.items() if _is_same(origin, lineage.origin)), None)
    if same is None and _is_named(source, path, lineage):  # its metadata changed since
        same = lineage.source_episode
    if same is None:
        made = f"it was made of episode {lineage.source_episode} of {printable(lineage.source)!r}"
        raise RecipeError(f"{source.address} does not hold the recording of the episode: {made}; ", advice)
    return find_episode(source, same, setting="source_episode")


def fit_cuts(
    cuts: Sequence[Cut], *, num_frames: int, num_made: int, source_fps: Fraction, fps: Fraction
) -> tuple[Cut, ...] | None:
    """The frames of a recording that a converted episode lacks; None where its manifest says it of another one.

    A manifest names frames of the dataset that was converted, which may itself have been made of the recording.

    Args:
        cuts: What the manifest says; it may say anything.
        num_frames: Frames of the recording.
        num_made: Frames of the converted episode.
        source_fps: Of the recording.
        fps: Of the converted episode.
    """
    ends = [0, *(end for cut in cuts for end in (cut.start, cut.stop)), num_frames]
    if not cuts:
        return ()
    if ends != sorted(ends) or fps > source_fps:
        return None
    rates = {"source_fps": source_fps, "target_fps": fps}
    rules: tuple[Resampler, ...] = get_args(Resampler)
    lengths = [len(choose_frames(num_frames, cuts, **rates, resampler=rule).chosen) for rule in rules]
    return tuple(cuts) if num_made in lengths else None


def _is_same(origin: Origin, wanted: Origin | None) -> bool:
    """Whether two origins are one recording: a folder may have been renamed, and is told by its digest."""
    if wanted is None or origin.episode != wanted.episode or origin.digest != wanted.digest:
        return False
    return origin.digest is not None or origin.source == wanted.source


def _is_named(source: SourceDataset, path: Path, lineage: Lineage) -> bool:
    name = source.hub_id or public_name(path, None)
    return lineage.source_episode is not None and lineage.source is not None and name == lineage.source
