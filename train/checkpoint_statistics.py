"""The statistics that a checkpoint was trained with: how many values each joint group has."""

from collections.abc import Mapping

from pydantic import ConfigDict, RootModel

from millrace.train.checkpoint_files import read_checkpoint_file

STATISTICS = "statistics.json"

# Length of those lists by embodiment tag, by "state", "action" or "relative_action", by joint group.
Widths = Mapping[str, Mapping[str, Mapping[str, int]]]


class _StatisticsFile(RootModel[dict[str, dict[str, dict[str, dict[str, list[object]]]]]]):
    """A list of D values, or for relative actions of H such lists, by statistic; by group, by part, by tag."""

    model_config = ConfigDict(frozen=True)


def read_widths(checkpoint: str) -> Widths:
    """How many values, or steps, each joint group of a checkpoint's statistics has.

    Raises:
        ConfigError: they are missing or malformed.
    """
    return {
        tag: {
            part: {group: len(next(iter(values.values()), ())) for group, values in groups.items()}
            for part, groups in parts.items()
        }
        for tag, parts in read_checkpoint_file(checkpoint, STATISTICS, _StatisticsFile).root.items()
    }
