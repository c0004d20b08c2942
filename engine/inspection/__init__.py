"""`millrace inspect`: what a dataset holds, which robot it is of, and what is wrong with it."""

from millrace.engine.inspection.facts import Inspection
from millrace.engine.inspection.findings import KINDS, Finding
from millrace.engine.inspection.inspect_dataset import MAX_EPISODES, ContactSheet, contact_sheet, inspect_dataset

__all__ = [
    "KINDS",
    "MAX_EPISODES",
    "ContactSheet",
    "Finding",
    "Inspection",
    "contact_sheet",
    "inspect_dataset",
]
