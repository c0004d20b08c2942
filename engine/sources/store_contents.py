"""Why a folder in a store is no dataset that can be read there, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

from millrace.embodiments import Remedy
from millrace.engine.errors import DatasetError, StoreError
from millrace.engine.layout import INFO, LEDGER_COPY
from millrace.engine.sources.hub_contents import EXPECTED, is_recording
from millrace.engine.stores.address import StoreAddress
from millrace.engine.stores.store import Store
from millrace.engine.text import join_names


def describe_other_folder(address: StoreAddress, names: Iterable[str]) -> DatasetError:
    """The error of a folder that is no dataset, as it has no metadata; names: of its objects."""
    names = list(names)
    if not names:
        return _describe_nothing(address)
    found = sorted({name.partition("/")[0] for name in names})
    problem = f"{address} is no LeRobot dataset: found {join_names(found)}, no meta/ and no meta_data/"
    parts: tuple[str | Remedy, ...] = (problem,)
    if any(map(is_recording, names)):
        advice = Remedy("download it into a folder and name that folder")
        parts = (f"{problem}; recordings are read from folders of this machine alone: ", advice)
    return DatasetError(*parts, dataset=str(address), got=found, expected=EXPECTED)


def check_finished(address: StoreAddress) -> None:
    """Check that a folder without meta/info.json is not one that Millrace writes to.

    Raises:
        DatasetError: it is.
    """
    if Store(address).head(LEDGER_COPY.format(number=1)) is not None:
        advice = Remedy("run the command that writes it until it ends; what it has done is kept")
        raise DatasetError(f"{address} is unfinished, as {INFO} is its last object: ", advice, dataset=str(address))


def _describe_nothing(address: StoreAddress) -> DatasetError:
    """The error where no object has the prefix; names what there is in its place."""
    try:
        beside = Store(address.parent).list_names() if address.prefix else []
    except StoreError:  # who may read a folder need not be able to list what is beside it
        beside = []
    close = get_close_matches(address.name, beside, n=1)
    near = f"did you mean {address.parent.join(close[0])}?" if close else f"{address.parent} holds {join_names(beside)}"
    what = f"there is nothing at {address}"
    if not beside:
        return DatasetError(f"{what}: ", Remedy("check the name"), dataset=str(address))
    return DatasetError(f"{what}: {near}", dataset=str(address), got=address.name, known=tuple(beside))
