"""The mark by which a folder here is known to stand for a dataset in an object store."""

from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.stores.address import StoreAddress

# Beside the dataset's folder, not in it: nobody is to be led to a store by a dataset that was copied.
MARK = "store.json"


class StoreMark(FrozenModel):
    """The file in a folder that says for what in a store the folder stands; folders in it stand for what lies there."""

    scheme: str
    root: str
    prefix: str


def mark_folder(folder: Path, address: StoreAddress) -> None:
    """Have a dataset's folder stand for the one at an address; folders beside it stand for what lies beside that."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    above = address.prefix.rpartition("/")[0]
    unfinished = folder.parent / f"{uuid4().hex}.unfinished"
    unfinished.write_text(StoreMark(scheme=address.scheme, root=address.root, prefix=above).model_dump_json())
    unfinished.replace(folder.parent / MARK)


def find_store_address(folder: Path) -> StoreAddress | None:
    """Where the dataset lies for which a folder stands; None where the folder holds it."""
    parent = folder.absolute().parent
    try:
        mark = StoreMark.model_validate_json((parent / MARK).read_bytes())
    except (OSError, ValidationError):
        return None
    return StoreAddress(mark.scheme, mark.root, mark.prefix).join(folder.name)
