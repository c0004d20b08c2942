"""A GR00T dataset on disk, whoever made it: metadata, rows, statistics, manifest, checks."""

from millrace.engine.dataset.record import EpisodeFailure, EpisodeRecord, EpisodeResult, EpisodeWarning, Origin
from millrace.engine.dataset.stats import ColumnSummary, summarize_columns

__all__ = [
    "ColumnSummary",
    "EpisodeFailure",
    "EpisodeRecord",
    "EpisodeResult",
    "EpisodeWarning",
    "Origin",
    "summarize_columns",
]
