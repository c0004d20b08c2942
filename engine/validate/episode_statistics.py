"""meta/episodes_stats.jsonl, which LeRobot v2.1 reads and GR00T does not."""

from collections.abc import Iterator

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import JsonObject, Unreadable, blank_line_problems, is_file, read_jsonl
from millrace.engine.dataset.metadata import EPISODES_STATS, Count, GrootFeature, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.stored_statistics import to_array
from millrace.engine.text import join_names

NAMES = ("min", "max", "mean", "std")
IMAGE_SHAPE = (3, 1, 1)


class EpisodeStatsLine(FrozenModel):
    """A line: statistics of one episode by feature."""

    episode_index: Count
    stats: dict[str, JsonObject]


def episode_statistics_problems(metadata: Metadata) -> Iterator[Problem]:
    """One line for each episode, in the shapes that LeRobot 0.3.3 demands; values are not judged."""
    if not is_file(metadata.root / EPISODES_STATS):
        if metadata.info.codebase_version == "v2.1":
            yield Problem.of(
                "episode-stats-missing", EPISODES_STATS, "is missing, so LeRobot refuses this v2.1 dataset"
            )
        return
    expected = set(metadata.indices.tolist())
    found: set[int] = set()
    try:
        for line in read_jsonl(metadata.root, EPISODES_STATS, EpisodeStatsLine):
            if line.episode_index in found or line.episode_index not in expected:
                what = "twice" if line.episode_index in found else "which episodes.jsonl lacks"
                yield Problem.of("episode-stats-lines", EPISODES_STATS, f"lists episode {line.episode_index}, {what}")
            found.add(line.episode_index)
            yield from _shape_problems(line, metadata.info.features)
    except Unreadable as error:
        yield error.problem
        return
    missing = sorted(expected - found)
    if missing:
        message = f"lacks the episodes {join_names([str(index) for index in missing])}"
        yield Problem.of("episode-stats-lines", EPISODES_STATS, message)
    yield from blank_line_problems(metadata.root, EPISODES_STATS)


def _shape_problems(line: EpisodeStatsLine, features: dict[str, GrootFeature]) -> Iterator[Problem]:
    """The first wrong entry of a line."""
    for name, feature in features.items():
        stats = line.stats[name].root if name in line.stats else {}
        if not stats and not feature.is_float:
            continue
        due = (feature.width,) if feature.is_column else IMAGE_SHAPE
        for stat, shape in {**dict.fromkeys(NAMES, due), "count": (1,)}.items():
            array = to_array(stats.get(stat))
            if array is None or array.shape != shape:
                found = "missing or no numbers" if array is None else f"of shape {list(array.shape)}"
                message = f"episode {line.episode_index}: {stat} of {name!r} is {found}, expected shape {list(shape)}"
                yield Problem.of("episode-stats-shape", EPISODES_STATS, message)
                return
