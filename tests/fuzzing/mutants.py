"""Which damage is done: hypothesis strategies over the files of a seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzzing.changes import (
    BOX_CHANGES,
    BYTE_CHANGES,
    FILE_CHANGES,
    HOSTILE_VALUES,
    LINKS,
    PLACES,
    BoxChange,
    ByteChange,
    Change,
    FileChange,
    JsonChange,
)
from fuzzing.footer_changes import FooterChange
from fuzzing.hdf5_changes import HDF5_CHANGES, Hdf5Change, HeaderChange
from fuzzing.seeds import Seed
from fuzzing.table_changes import TABLE_CHANGES, TableChange

NUMBERS = st.integers(0, 4000)
# What is likely to break a reader of binary numbers.
WORDS = st.sampled_from((0, 1, 2, 3, 7, 8, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)) | st.integers(0, 2**32)


@dataclass(frozen=True)
class Mutant:
    """A command, and the damage done to its dataset beforehand."""

    command: tuple[str, ...]
    changes: tuple[Change, ...]


def mutants(root: Path, seed: Seed) -> st.SearchStrategy[Mutant]:
    """A command of the seed and one or two changes of files in `root`."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    change = st.one_of([_changes(path, paths) for path in paths])
    changes = st.one_of(change.map(lambda one: (one,)), st.tuples(change, change))
    return st.builds(Mutant, st.sampled_from(seed.commands), changes)


def _changes(path: str, others: list[str]) -> st.SearchStrategy[Any]:
    """Everything that may be done to a file; what fits its kind comes first, and most often."""
    at = st.floats(0, 1, exclude_max=True) | st.floats(-1, 0, exclude_max=True)
    content = st.binary(min_size=1, max_size=8) | WORDS.map(lambda word: word.to_bytes(8, "little"))
    # Recipes, maps and robots are the user's own: their links may lead anywhere.
    kinds = [kind for kind in FILE_CHANGES if not (kind in LINKS and path.endswith(".yaml"))]
    any_kind = [
        st.builds(ByteChange, st.just(path), at, st.sampled_from(BYTE_CHANGES), content),
        st.builds(FileChange, st.just(path), st.sampled_from(kinds), st.sampled_from(others)),
    ]
    own = _own_changes(path)
    return any_kind[0] | any_kind[1] if own is None else st.one_of(own, own, own, *any_kind)


def _own_changes(path: str) -> st.SearchStrategy[Any] | None:
    value = st.sampled_from(HOSTILE_VALUES)
    if path.endswith((".json", ".jsonl")):
        return st.builds(JsonChange, st.just(path), NUMBERS, NUMBERS, st.sampled_from(PLACES), value)
    if path.endswith(".parquet"):
        table = st.builds(TableChange, st.just(path), NUMBERS, NUMBERS, st.sampled_from(TABLE_CHANGES), value)
        return table | table | st.builds(FooterChange, st.just(path), NUMBERS)
    if path.endswith(".hdf5"):
        structure = st.builds(Hdf5Change, st.just(path), NUMBERS, st.sampled_from(tuple(HDF5_CHANGES)), value)
        header = st.binary(min_size=1, max_size=8) | WORDS.map(lambda word: word.to_bytes(8, "little"))
        return structure | st.builds(HeaderChange, st.just(path), NUMBERS, header)
    if path.endswith(".mp4"):
        return st.builds(BoxChange, st.just(path), NUMBERS, st.sampled_from(BOX_CHANGES), NUMBERS, WORDS)
    return None
