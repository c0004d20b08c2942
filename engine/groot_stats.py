"""The statistics that GR00T normalises with: stats.json and relative_stats.json of a set of episodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.layout import ACTION, STATE
from engine.rows import read_rows, vectors
from engine.sources.episode import RowRange
from engine.stats import Rows, Statistics, dataset_statistics, relative_actions


@dataclass(frozen=True)
class RelativeGroup:
    """Where a RELATIVE joint group lies in the state column and in the action column."""

    state: slice
    action: slice
    state_column: str = STATE
    action_column: str = ACTION


def groot_statistics(
    parquets: Sequence[Path],
    features: Sequence[str],
    relative: Mapping[str, RelativeGroup],
    *,
    horizon: int,
) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
    """Read the files three times, a block of episodes in memory at a time.

    Args:
        parquets: One file for each episode.
        features: Float columns that stats.json describes.
        relative: By joint group, where the RELATIVE ones lie.
        horizon: Steps in an action chunk, H.

    Returns:
        Statistics by feature, arrays (D,); statistics by relative group, arrays (H, D).
    """
    columns = [column for group in relative.values() for column in (group.state_column, group.action_column)]
    wanted = list(dict.fromkeys([*features, *columns]))

    def episodes() -> Iterator[Rows]:
        for path in parquets:
            table = read_rows(RowRange(path), wanted)
            values = {name: vectors(table, name, where=path) for name in wanted}
            chunks = {
                _relative(name): relative_actions(
                    values[group.action_column][:, group.action],
                    values[group.state_column][:, group.state],
                    horizon=horizon,
                )
                for name, group in relative.items()
            }
            yield {**values, **chunks}

    found = dataset_statistics(episodes)
    return (
        {name: found[name] for name in features},
        {name: found[_relative(name)] for name in relative if _relative(name) in found},
    )


def _relative(group: str) -> str:
    """A name that no column can have."""
    return f"\0relative {group}"
