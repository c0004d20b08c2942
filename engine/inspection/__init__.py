"""`millrace inspect`: what a dataset holds, which robot it is of, and what is wrong with it."""

from engine.inspection.dataset import MAX_EPISODES, ContactSheet, contact_sheet, inspect_dataset
from engine.inspection.facts import Inspection
from engine.inspection.findings import KINDS, Finding
from engine.inspection.text import print_inspection

__all__ = [
    "KINDS",
    "MAX_EPISODES",
    "ContactSheet",
    "Finding",
    "Inspection",
    "contact_sheet",
    "inspect_dataset",
    "print_inspection",
]
