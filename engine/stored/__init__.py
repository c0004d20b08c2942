"""Datasets in object stores: their finished files, the ledger's copy, and who may write."""

from millrace.engine.stored.finished_files import FinishedFiles, LedgerMirror
from millrace.engine.stored.store_mark import find_store_address
from millrace.engine.stored.stored_files import finished_files

__all__ = ["FinishedFiles", "LedgerMirror", "find_store_address", "finished_files"]
