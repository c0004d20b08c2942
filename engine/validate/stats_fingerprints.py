"""Fingerprints beside statistics: whether GR00T N1.7 takes the statistics as they are, and N1.6 can read them."""

from collections.abc import Iterator

from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints
from millrace.engine.dataset.json_files import JsonObject, read_json
from millrace.engine.dataset.metadata import INFO, RELATIVE_STATS, STATS, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import RELEASES
from millrace.engine.dataset.stored_statistics import StoredFile
from millrace.engine.text import join_names

OLD, NEW = RELEASES[0].name, RELEASES[-1].name
AGAIN = f"GR00T {NEW} computes statistics again at its first run, and rewrites the file"


def fingerprint_problems(metadata: Metadata, stats: StoredFile, relative: StoredFile) -> Iterator[Problem]:
    """What GR00T N1.7 does not take of stats.json, and fingerprints in relative_stats.json, at which N1.6 stops."""
    if FINGERPRINTS in relative.content:
        message = f"has {FINGERPRINTS!r}, at which GR00T {OLD} and the first {NEW} stop with KeyError: 'mean'"
        yield Problem.of("relative-fingerprints", RELATIVE_STATS, message)
    if FINGERPRINTS in stats.content:
        yield from _differences(metadata, stats)
    elif stats.content:
        yield Problem.of("stats-no-fingerprints", STATS, f"has no {FINGERPRINTS!r}: {AGAIN}")


def _differences(metadata: Metadata, stats: StoredFile) -> Iterator[Problem]:
    """Fingerprints that are wrong, missing, or of what is no float feature; and such entries."""
    due = feature_fingerprints(read_json(metadata.root, INFO, JsonObject).root["features"])
    stored = stats.fingerprints
    if stored is None:
        yield Problem.of("stats-fingerprints", STATS, f"{FINGERPRINTS!r} is no object: {AGAIN}")
        return
    entries = [name for name, entry in stats.content.items() if isinstance(entry, dict) and name != FINGERPRINTS]
    kinds = {
        "fingerprints of another dtype, shape or name": [
            name for name in due if stored.get(name, due[name]) != due[name]
        ],
        "no fingerprints": [name for name in due if name not in stored],
        "fingerprints of what is no float feature": [name for name in stored if name not in due],
        "statistics of what is no float feature": [name for name in entries if name not in due],
    }
    for what, names in kinds.items():
        if names:
            yield Problem.of("stats-fingerprints", STATS, f"has {what} ({join_names(names)}): {AGAIN}")
