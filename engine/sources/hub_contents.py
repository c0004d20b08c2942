"""Why a repository on the Hub is no dataset that can be read there, and what to do."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from millrace.embodiments import Remedy
from millrace.engine.errors import DatasetError
from millrace.engine.sources.hdf5.hdf5_folders import SUFFIXES
from millrace.engine.sources.location import HubId
from millrace.engine.sources.xr_folders import RECORDING

EXPECTED = ["meta", "meta_data"]


def describe_no_dataset(hub_id: HubId, paths: Iterable[str]) -> DatasetError:
    """The error of a repository without metadata; recordings are to be downloaded first.

    Args:
        hub_id: Of the repository.
        paths: Of its files.
    """
    paths = list(paths)
    found = sorted({path.partition("/")[0] for path in paths})
    listed = ", ".join(found) or "nothing"
    problem = f"{hub_id} on the Hub is no LeRobot dataset: found {listed}, no meta/ and no meta_data/"
    parts: tuple[str | Remedy, ...] = (problem,)
    if any(map(is_recording, paths)):
        advice = Remedy(f"download the dataset {hub_id} with `hf download` into a folder and name that folder")
        parts = (f"{problem}; recordings are read from folders of this machine alone: ", advice)
    return DatasetError(*parts, dataset=str(hub_id), got=found, expected=EXPECTED)


def is_recording(name: str) -> bool:
    """Whether a file is an HDF5 file, or an episode of xr_teleoperate."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES or path.name == RECORDING
