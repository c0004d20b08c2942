"""The statistics that a checkpoint was trained with: how many values each joint group has."""

import json
from collections.abc import Mapping

from pydantic import TypeAdapter

STATISTICS = "statistics.json"

# Statistic -> a list of D values, or for relative actions of H such lists; by group, by part, by embodiment tag.
_Statistics = TypeAdapter(dict[str, dict[str, dict[str, dict[str, list[object]]]]])
# Length of those lists by embodiment tag, by "state", "action" or "relative_action", by joint group.
Widths = Mapping[str, Mapping[str, Mapping[str, int]]]


def read_widths(content: bytes) -> Widths:
    """How many values, or steps, each joint group of a checkpoint's statistics has.

    Raises:
        ValueError: they are malformed.
    """
    return {
        tag: {
            part: {group: len(next(iter(values.values()), ())) for group, values in groups.items()}
            for part, groups in parts.items()
        }
        for tag, parts in _Statistics.validate_python(json.loads(content)).items()
    }
