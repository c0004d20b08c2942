"""The mark by which a folder here is known to stand for a dataset in an object store."""

from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from millrace.embodiments import FrozenModel
from millrace.engine.stores.address import StoreAddress

# Beside the dataset's folder, not in it, and only for this place: a copied folder leads nobody to a store.
MARK = ".millrace-store.json"


class StoreMark(FrozenModel):
    """The file in a folder that says for what in a store the folder stands; folders in it stand for what lies there.

    folder: where it was written. keeps_rows: whether rows stay there once they are put; on nodes of a cluster that only
    convert they do not.
    """

    scheme: str
    root: str
    prefix: str
    folder: str
    keeps_rows: bool = True

    @classmethod
    def find(cls, folder: Path) -> "StoreMark | None":
        """The mark beside a dataset's folder; None where the folder holds the dataset."""
        parent = folder.absolute().parent
        try:
            mark = cls.model_validate_json((parent / MARK).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        return mark if mark.folder == str(parent) else None

    def address_of(self, folder: Path) -> StoreAddress:
        """Where the dataset lies for which a folder beside the mark stands."""
        return StoreAddress(self.scheme, self.root, self.prefix).join(folder.name)


def mark_folder(folder: Path, address: StoreAddress, *, keeps_rows: bool = True) -> None:
    """Have a dataset's folder stand for the one at an address; folders beside it stand for what lies beside that."""
    above = address.parent
    parent = str(folder.absolute().parent)
    mark = StoreMark(scheme=above.scheme, root=above.root, prefix=above.prefix, folder=parent, keeps_rows=keeps_rows)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f"{uuid4().hex}.unfinished"
    unfinished.write_text(mark.model_dump_json(), encoding="utf-8")
    unfinished.replace(folder.parent / MARK)


def find_store_address(folder: Path) -> StoreAddress | None:
    """Where the dataset lies for which a folder stands; None where the folder holds it."""
    mark = StoreMark.find(folder)
    return None if mark is None else mark.address_of(folder)
