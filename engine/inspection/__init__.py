"""`millrace inspect`: what a dataset holds, which robot it is of, and what is wrong with it."""

from millrace.engine.inspection.facts import Inspection
from millrace.engine.inspection.findings import KINDS, Finding
from millrace.engine.inspection.inspect_dataset import MAX_EPISODES, ContactSheet, inspect_dataset, make_contact_sheet

__all__ = [
    "KINDS",
    "MAX_EPISODES",
    "ContactSheet",
    "Finding",
    "Inspection",
    "inspect_dataset",
    "make_contact_sheet",
]
