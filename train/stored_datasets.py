"""Datasets in object stores, which every node of a run fetches for itself before it trains."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.sources.store_files import fetch_finished
from millrace.engine.stores.address import is_store_address, parse_store_address
from millrace.engine.stores.cache import Cache
from millrace.train.errors import SettingsError

# Without handlers of an application's own, a warning is a bare line on standard error.
LOGGER = logging.getLogger("millrace")


def fetch_datasets(paths: Sequence[Path]) -> tuple[tuple[Path, ...], dict[str, str]]:
    """Fetch those of a run's datasets that lie in stores into this machine's cache, where they stay while it trains.

    Returns:
        Folders of all datasets, and by folder the address of each that was fetched.

    Raises:
        DatasetError: one is not finished, or there is none.
        StoreError: it cannot be had.
    """
    folders, stored = [], {}
    for path in paths:
        if is_store_address(path) and not path.is_dir():
            address = parse_store_address(path)
            LOGGER.warning("fetching %s into the cache", address)
            path = fetch_finished(address, Cache.of_user())
            stored[str(path)] = str(address)
        folders.append(path)
    return tuple(folders), stored


def fetch_on_node(stored: Mapping[str, str]) -> None:
    """Fetch a run's datasets into the cache of this node, which keeps them while this process lives.

    Args:
        stored: The address of each, by the folder that the run expects it in.

    Raises:
        SettingsError: the cache is elsewhere on this node, or a dataset was changed since the run began.
        StoreError: it cannot be had.
    """
    for folder, address in stored.items():
        found = fetch_finished(parse_store_address(address), Cache.of_user())
        if found != Path(folder):
            problem = f"{address} was changed since the run began, or this node has its cache elsewhere: {found}, not "
            advice = Remedy("set MILLRACE_CACHE to the same folder on all nodes, and start again")
            raise SettingsError(f"{problem}{folder}; ", advice, file=found)
