"""Source datasets of every LeRobot layout, detected by the files found."""

from pathlib import Path

from engine.errors import DatasetError, UnknownLayout
from engine.sources import v1, v2, v3
from engine.sources.dataset import Feature, SourceDataset
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode

__all__ = ["Clip", "Feature", "ImageColumn", "RowRange", "SourceDataset", "SourceEpisode", "open_source"]


LAYOUTS = ((v3, v3.open_v3), (v2, v2.open_v2), (v1, v1.open_v1))


def open_source(path: str | Path) -> SourceDataset:
    """Open a dataset by the files found, not by the version that it claims.

    Raises:
        DatasetError: no such folder, or its metadata is malformed.
        UnknownLayout: none of the known layouts fits.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"no dataset at {root}: there is no such folder")
    for layout, open_layout in LAYOUTS:
        if layout.fits(root):
            return open_layout(root)
    found = ", ".join(sorted(entry.name for entry in root.iterdir())) or "nothing"
    raise UnknownLayout(
        f"{root} is no LeRobot dataset of a known layout: found {found}. "
        "Expected meta/info.json with meta/episodes/ (v3.0) or meta/episodes.jsonl (v2), "
        "or data/*.parquet with meta_data/info.json or meta/info.json (v1)"
    )
