"""Source datasets of every LeRobot layout, and recordings as rigs write them, detected by the files found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.errors import DatasetError, HubError, UnknownLayout
from millrace.engine.sources import frame_folder, hdf5, v1, v2, v3, xr_teleoperate
from millrace.engine.sources.access import why_unreadable, why_unwritable
from millrace.engine.sources.containment import check_own_path, hide_targets, is_in_hub_cache, why_foreign, why_refused
from millrace.engine.sources.damage import diagnose_file, name_file_in_errors
from millrace.engine.sources.dataset import Feature, SourceDataset, camera_name
from millrace.engine.sources.episode import Camera, Clip, Images, RowRange, SourceEpisode, SourceFault, StoredImage
from millrace.engine.sources.file_state import FileState
from millrace.engine.sources.files import LocalFiles, SourceFiles
from millrace.engine.sources.hub import open_repo
from millrace.engine.sources.location import HubId, is_hub_address, locate_source, public_name, require_hub_id
from millrace.engine.sources.read_options import ReadOptions
from millrace.engine.sources.row_images import ImageColumn, fetch_images
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.sources.store_files import fetch_finished, open_store
from millrace.engine.stores.address import StoreAddress, is_store_address, local_path, parse_store_address
from millrace.engine.stores.cache import Cache

__all__ = [
    "Camera",
    "Clip",
    "Feature",
    "FileState",
    "ImageColumn",
    "Images",
    "RowRange",
    "RowReader",
    "SourceDataset",
    "SourceEpisode",
    "SourceFault",
    "SourceFiles",
    "StoredImage",
    "camera_name",
    "check_own_path",
    "diagnose_file",
    "fetch_dataset",
    "fetch_images",
    "hide_targets",
    "locate_source",
    "name_file_in_errors",
    "open_source",
    "public_name",
    "why_foreign",
    "why_refused",
    "why_unreadable",
    "why_unwritable",
]


EXPECTED = (
    "meta/info.json with meta/episodes/ (v3.0) or meta/episodes.jsonl (v2), "
    "or data/*.parquet with meta_data/info.json or meta/info.json (v1), or frames.yaml (frames beside rows), "
    "or *.hdf5, or folders of data.json and colors/ (xr_teleoperate)"
)
LAYOUTS = ((v3, v3.open_v3), (v2, v2.open_v2), (v1, v1.open_v1), (frame_folder, frame_folder.open_frame_folder))
# Recordings as rigs write them, which do not say all that a dataset says; see _open_recordings.
RECORDINGS = (xr_teleoperate, hdf5)


def open_source(
    path: str | Path,
    *,
    follow_links: bool = False,
    format: str | None = None,
    fps: Fraction | None = None,
    cache_gb: float | None = None,
) -> SourceDataset:
    """Open a dataset; its layout is recognised by the files found, not by the version that it claims.

    Args:
        path: Its folder; hf://org/name[@revision] on the Hub, or plain org/name where there is no folder org; or an
            address in a store, such as s3://bucket/folder.
        follow_links: Follow links in a folder wherever they lead. By default only links are followed that the
            folder's owner made to files of the same owner. Links of a dataset from the Hub, or of a folder of its
            cache, are never followed.
        format: The layout of HDF5 files: a shipped one, or the path of your own; by default the one that fits.
        fps: The rate of recordings that do not say theirs, Hz.
        cache_gb: Size of the cache of stores, GB; see `Cache.of_user`.

    Raises:
        DatasetError: there is no such folder or repository, or its metadata is malformed.
        UnknownLayout: the files fit no known layout.
        StoreError: a store lacks the bucket, refuses access or cannot be reached.
        RecipeError: an address has credentials, or an unknown scheme.
    """
    options = ReadOptions(format, fps)
    address = None if not is_store_address(path) or Path(path).is_dir() else parse_store_address(path)
    try:
        if address is not None:
            return replace(_open_in_store(address, options, Cache.of_user(cache_gb)), options=options)
        return replace(_open(local_path(path) or path, options, follow_links=follow_links), options=options)
    except MillraceError as error:
        error.about(dataset=str(address or path))
        raise


def _open(path: str | Path, options: ReadOptions, *, follow_links: bool) -> SourceDataset:
    root = Path(path)
    try:
        if root.is_dir():
            # Absolute, as workers have other working folders.
            return _open_folder(root.absolute(), LocalFiles(follow_links and not is_in_hub_cache(root)), options)
        if root.suffix.lower() in hdf5.SUFFIXES and root.is_file():
            return hdf5.open_recording(root.absolute(), LocalFiles(follow_links), options)
        hub_id = require_hub_id(path)
    except PermissionError as error:  # pathlib raises it where it only asks for a file
        closed = Path(error.filename or root)
        raise DatasetError(f"{closed} ", why_unreadable(closed, error), dataset=str(path), file=closed) from error
    with _name_hub_errors(hub_id):
        return _open_on_hub(hub_id, options)


def fetch_dataset(path: str | Path) -> Path:
    """Download all of a dataset on the Hub or in a store; returns its folder in the cache, or that on this machine.

    Args:
        path: As for `open_source`.

    Raises:
        HubError, StoreError: there is no such dataset or revision, it may not be read, or it cannot be reached.
        DatasetError: it holds no metadata.
    """
    place = locate_source(str(path))
    if is_store_address(place) and not place.is_dir():
        return fetch_finished(parse_store_address(place), Cache.of_user())
    if not is_hub_address(place):
        return local_path(path) or Path(path)
    hub_id = require_hub_id(place)
    with _name_hub_errors(hub_id):
        files = open_repo(hub_id)
        files.fetch_all()
    return files.repo.root


@contextmanager
def _name_hub_errors(hub_id: HubId) -> Iterator[None]:
    """Say in errors of the Hub that a name, which is no folder, was taken for a dataset there."""
    try:
        yield
    except HubError as error:
        raise HubError(f"no dataset at {hub_id}: there is no such folder, and ", error) from error


def _open_on_hub(hub_id: HubId, options: ReadOptions) -> SourceDataset:
    files = open_repo(hub_id)
    dataset = _open_folder(files.repo.root, files, options)
    episodes = [replace(episode, repository=files.repo) for episode in dataset.episodes]
    return replace(dataset, episodes=episodes, revision=files.repo.commit, hub_id=str(hub_id))


def _open_in_store(address: StoreAddress, options: ReadOptions, cache: Cache) -> SourceDataset:
    files = open_store(address, cache)
    dataset = _open_folder(files.repo.root, files, options)
    episodes = [replace(episode, repository=files.repo) for episode in dataset.episodes]
    return replace(dataset, episodes=episodes, store=str(address))


def _open_folder(root: Path, files: SourceFiles, options: ReadOptions) -> SourceDataset:
    for layout, open_layout in LAYOUTS:
        if layout.fits(root):
            if options.format is not None:
                advice = Remedy("leave out ", Setting("format", options.format))
                raise DatasetError(f"{root} is a LeRobot dataset or frames beside rows, no HDF5 files: ", advice)
            return open_layout(root, files)
    if recordings := _open_recordings(root, files, options):
        return recordings
    found = sorted(entry.name for entry in root.iterdir())
    raise UnknownLayout(
        f"{root} is no LeRobot dataset of a known layout: found {', '.join(found) or 'nothing'}. Expected {EXPECTED}",
        file=root,
        got=found,
        expected=EXPECTED,
    )


def _open_recordings(root: Path, files: SourceFiles, options: ReadOptions) -> SourceDataset | None:
    """Recordings as rigs write them; None where there are none.

    Of both kinds, HDF5 is taken where its layout is named; else a note says that it is left out.
    """
    is_hdf5 = options.format is not None and hdf5.fits(root)
    if not is_hdf5 and xr_teleoperate.fits(root):
        dataset = xr_teleoperate.open_xr_teleoperate(root, files, options)
        note = f"{root}: HDF5 files beside the recordings of xr_teleoperate are left out: convert them by their paths"
        return replace(dataset, notes=(*dataset.notes, note)) if hdf5.fits(root) else dataset
    return hdf5.open_recordings(root, files, options) if is_hdf5 or hdf5.fits(root) else None
