"""Choose the layout by which a folder's HDF5 files are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.embodiments import Remedy, Setting, is_path
from millrace.engine.errors import DatasetError, EpisodeDataError, UnknownLayout
from millrace.engine.sources.containment import check_own_path
from millrace.engine.sources.hdf5.hdf5_episodes import MAX_TRIED, fits_layout
from millrace.engine.sources.hdf5.hdf5_features import describe_keys
from millrace.engine.sources.hdf5.hdf5_file import has_object, open_hdf5
from millrace.engine.sources.hdf5.hdf5_layout import OWN_LAYOUT, Hdf5Layout, layout_names, load_layout

if TYPE_CHECKING:
    import h5py

STATES_ALONE = Remedy(
    "these are robosuite's states without observations: robomimic's convert_robosuite.py and dataset_states_to_obs.py "
    "make a file that has them"
)


def choose_layout(root: Path, paths: Sequence[Path], bounds: Path, format: str | None) -> tuple[str, Hdf5Layout]:
    """The layout that the user names, that lies beside the files, or that one of the first sound files fits.

    Args:
        root: The dataset's folder.
        paths: Of its files.
        bounds: The folder that they must lie in.
        format: A layout's name, or the path of its file.

    Returns:
        Its name and the layout.

    Raises:
        DatasetError: there is no such layout, or no file can be read.
        UnknownLayout: none fits.
    """
    if format is not None:
        return Path(format).name if is_path(format) else format, load_layout(format)
    if (own := root / OWN_LAYOUT).is_file():
        return OWN_LAYOUT, load_layout(check_own_path(own, bounds))
    unknown: list[UnknownLayout] = []
    damage: DatasetError | None = None
    for path in paths:
        try:
            return _find_layout(path, bounds)
        except UnknownLayout as problem:
            unknown.append(problem)
            if len(unknown) == MAX_TRIED:
                break
        except EpisodeDataError as problem:
            damage = damage or DatasetError(problem, file=path)
    raise next(iter(unknown), damage) or DatasetError(f"no HDF5 file in {root}")


def _find_layout(path: Path, bounds: Path) -> tuple[str, Hdf5Layout]:
    with open_hdf5(path, bounds) as file:
        for name in layout_names():
            if fits_layout(file, layout := load_layout(name)):
                return name, layout
        known = ", ".join(layout_names())
        draft = Remedy(f"`millrace robots new --from {path}` drafts a layout; name one with ", Setting("format"))
        draft = STATES_ALONE if _holds_states_alone(file) else draft
        raise UnknownLayout(
            f"{path} fits no known layout of HDF5 files ({known}): it holds {describe_keys(file)}; ",
            draft,
            file=path,
            known=tuple(layout_names()),
        )


def _holds_states_alone(file: "h5py.File") -> bool:
    """Whether a file is robosuite's own, which holds no observations; its first demonstration has the number 1."""
    return has_object(file, "data/demo_1/states") and not has_object(file, "data/demo_1/obs")
