"""`millrace inspect`: what a dataset holds, which robot it is of, and what is wrong with it."""

from millrace.engine.inspection.dataset_sheet import ContactSheet, make_contact_sheet
from millrace.engine.inspection.facts import Inspection
from millrace.engine.inspection.findings import KINDS, Finding
from millrace.engine.inspection.inspect_dataset import MAX_EPISODES, inspect_dataset

__all__ = [
    "KINDS",
    "MAX_EPISODES",
    "ContactSheet",
    "Finding",
    "Inspection",
    "inspect_dataset",
    "make_contact_sheet",
]
