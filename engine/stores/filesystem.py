"""Open what reads and writes a store: fsspec, with the credentials and the endpoint of the environment."""

import os
from functools import lru_cache
from typing import Any

from millrace.embodiments import Remedy, unknown_name
from millrace.engine.errors import RecipeError, StoreError
from millrace.engine.stores.address import StoreAddress

# Seconds for a connection, and without a byte of an answer.
CONNECT_SECONDS, READ_SECONDS = 10, 30
# Of s3fs itself, which goes on where a download was cut.
S3_TRIES = 2
# What one process keeps open: few programs name as many stores.
MAX_OPEN = 16
VARIABLES = ("AWS_", "AZURE_", "GCS_", "GOOGLE_", "STORAGE_", "FSSPEC_")
# By scheme, what `pip install` takes; others are named by fsspec.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "abfss": "adlfs"}
EXTRA = ("s3", "gs")


def open_file_system(address: StoreAddress, *, is_anonymous: bool = False) -> Any:
    """An fsspec file system for a store; many threads may use it, and each process has its own.

    Raises:
        RecipeError: nobody knows the scheme.
        StoreError: its package is missing.
    """
    return _open(address.scheme, address.root, is_anonymous, os.getpid(), hash(tuple(_environment())))


def _environment() -> list[tuple[str, str]]:
    """The variables that stores read: a file system is opened again where they change."""
    return sorted(item for item in os.environ.items() if item[0].startswith(VARIABLES))


@lru_cache(maxsize=MAX_OPEN)
def _open(scheme: str, root: str, is_anonymous: bool, process: int, environment: int) -> Any:
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations, registry

    address = StoreAddress(scheme, root)
    if scheme not in known_implementations and scheme not in registry:
        raise RecipeError(unknown_name(scheme, "scheme of stores", sorted(known_implementations)))
    options = {**_options(scheme), **({"anon": True} if is_anonymous else {})}
    missing = None
    try:
        system = url_to_fs(str(address), use_listings_cache=False, skip_instance_cache=True, **options)[0]
        if scheme == "s3":
            system.retries = S3_TRIES
        return system
    except ImportError as error:
        missing = error.__cause__ or error
    package = getattr(missing, "name", None) or "its library"
    raise StoreError(f"{address} needs a package that is not installed ({package}): ", _install(scheme))


def forget_open() -> None:
    """Open file systems again where they are used next."""
    _open.cache_clear()


def _options(scheme: str) -> dict[str, Any]:
    """Settings of a store's library: calls are tried again in one place, `call_store`."""
    if scheme != "s3":
        return {}
    config = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"total_max_attempts": 1}}
    return {"config_kwargs": config}


def _install(scheme: str) -> Remedy:
    package = PACKAGES.get(scheme)
    if package is None:
        return Remedy(f"install what fsspec needs for {scheme}://")
    ours = '`pip install "millrace-robotics[stores]"`, or ' if scheme in EXTRA else ""
    return Remedy(f"{ours}`pip install {package}`")
