"""Where each episode lies in the files of a LeRobot v3.0 dataset, as meta/episodes says it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from millrace.engine.dataset.metadata import Metadata
from millrace.engine.packing.pack_statistics import EpisodeStatistics
from millrace.engine.packing.shared_files import SharedFile


def place_episodes(
    metadata: Metadata, data: Sequence[SharedFile], videos: Mapping[str, Sequence[SharedFile]]
) -> Iterator[dict[str, Any]]:
    """What meta/episodes says of each episode, in order, but its statistics.

    Args:
        metadata: Of the dataset in v2.1.
        data: The files of rows.
        videos: The mp4s of each camera, by its feature.
    """
    ends, fps = metadata.lengths.cumsum(), metadata.info.fps
    data_of = _by_episode(data)
    video_of = {camera: _by_episode(files) for camera, files in videos.items()}
    for episode in metadata.episodes():
        number, start = episode.index, episode.first_row
        row: dict[str, Any] = {"episode_index": number, "tasks": list(episode.tasks), "length": episode.length}
        row |= {f"data/{name}": value for name, value in next(data_of).place.items()}
        row |= {"dataset_from_index": start, "dataset_to_index": start + episode.length}
        for camera, files in video_of.items():
            file = next(files)
            before = start - int(ends[file.episodes.start - 1] if file.episodes.start else 0)
            times = {"from_timestamp": before, "to_timestamp": before + episode.length}
            row |= {f"videos/{camera}/{name}": value for name, value in file.place.items()}
            row |= {f"videos/{camera}/{name}": float(frames / fps) for name, frames in times.items()}
        yield row


def add_statistics(place: Mapping[str, Any], episode: EpisodeStatistics) -> dict[str, Any]:
    """A row of meta/episodes: an episode's place with its statistics."""
    named = {
        f"stats/{feature}/{name}": values
        for feature, summary in episode.summaries.items()
        for name, values in summary.items()
    }
    return {**place, **named}


def _by_episode(files: Sequence[SharedFile]) -> Iterator[SharedFile]:
    """The file of each episode, in order."""
    return (file for file in files for _ in file.episodes)
