"""Source datasets of every LeRobot layout, detected by the files found."""

from pathlib import Path

from engine.errors import DatasetError, UnknownLayout
from engine.sources import v2
from engine.sources.dataset import Feature, SourceDataset
from engine.sources.episode import Clip, RowRange, SourceEpisode

__all__ = ["Clip", "Feature", "RowRange", "SourceDataset", "SourceEpisode", "open_source"]


def open_source(path: str | Path) -> SourceDataset:
    """Open a dataset by the files found, not by the version that it claims.

    Raises:
        DatasetError: no such folder, or its metadata is malformed.
        UnknownLayout: none of the known layouts fits.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"no dataset at {root}: there is no such folder")
    if v2.fits(root):
        return v2.open_v2(root)
    found = ", ".join(sorted(entry.name for entry in root.iterdir())) or "nothing"
    raise UnknownLayout(
        f"{root} is no LeRobot dataset of a known layout: found {found}. "
        "Expected meta/info.json with meta/episodes.jsonl (v2.0, v2.1)"
    )
