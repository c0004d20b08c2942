"""Untrusted parquet files, opened so that no number in them ends the process or takes all memory."""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.embodiments import Remedy
from millrace.engine.sources.damage import TooLarge
from millrace.engine.sources.footer import BYTE_ARRAY, Chunk, Footer, Leaf, read_footer
from millrace.engine.sources.pages import DELTAS, check_pages, decoded_bytes, read_pages

# Of all columns of one read, as they lie in memory: an hour at 50 Hz of 128 joints and as many actions takes 184 MB.
MAX_READ_BYTES = 192 << 20
# More only in proportion to the file. Its number of rows is no reason: a few kilobytes may hold a million equal ones.
STORED_RATIO, MAX_LARGE_BYTES = 8, 2 << 30
REWRITE = "pyarrow.parquet.write_table(table, path, compression='none', use_dictionary=False)"
# Of metadata as Python's values, 40 bytes each: a hundred thousand episodes of twelve cameras have as many.
MAX_LISTED_VALUES = 1 << 22
# Of lists of texts, which are Python's values one slice at a time until equal ones are found.
SLICE_ROWS = 256
# Of what pyarrow and we raise at a damaged file; texts and names that are no UTF-8, and times out of range, show
# as they become Python's.
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)


class CheckedParquet:
    """A parquet file whose footer was checked; a read that would not fit into memory is refused beforehand.

    Equal texts are read once, whatever the file says: as dictionary arrays, turned into texts where these fit as well.

    Args:
        path: The file.
        buffer_size: Bytes that are read at a time; 0: a whole column of a row group.

    Raises:
        Malformed, OSError, pa.ArrowException: it is no parquet, or damaged.
    """

    def __init__(self, path: Path, *, buffer_size: int = 0) -> None:
        self._raw = path.open("rb")
        weakref.finalize(self, self._raw.close)  # readers that keep a file open are dropped without closing it
        try:
            self.footer = read_footer(self._raw)
            self._texts = set(_texts(self.footer))
            self._file = pq.ParquetFile(path, read_dictionary=sorted(self._texts), buffer_size=buffer_size)
            self.schema: pa.Schema = self._file.metadata.schema.to_arrow_schema()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> "CheckedParquet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        self._file.close()

    @property
    def names(self) -> list[str]:
        """The file's columns."""
        return list(self.schema.names)

    @property
    def key_values(self) -> dict[bytes, bytes]:
        """What programs wrote about the file beside its columns, such as pandas' index."""
        return dict(self._file.metadata.metadata or {})

    @property
    def all_groups(self) -> range:
        """Numbers of the row groups."""
        return range(len(self.footer.groups))

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """The end row of each row group."""
        return np.cumsum([group.num_rows for group in self.footer.groups], dtype=np.int64)

    def find_groups(self, start: int, stop: int) -> list[int]:
        """The row groups that rows [start, stop) lie in."""
        starts = np.concatenate([[0], self.ends[:-1]]) if len(self.ends) else self.ends
        return list(np.flatnonzero((starts < stop) & (self.ends > start)).tolist())

    def num_stored(self, groups: Iterable[int], columns: Sequence[str]) -> int:
        """Bytes that columns of row groups take in the file."""
        return sum(chunk.stop - chunk.start for chunk in self._chunks(groups, columns))

    def num_bytes(self, groups: Iterable[int], columns: Sequence[str]) -> int:
        """Memory that columns of row groups take, by their pages' headers.

        Raises:
            Malformed: a page unpacks to more than its values can need.
        """
        chunks = self._chunks(groups, columns)
        return sum(decoded_bytes(self._raw, chunk, as_dictionary=_name(chunk.leaf) in self._texts) for chunk in chunks)

    def largest_page(self, group: int, columns: Sequence[str]) -> int:
        """Bytes of the largest page of some columns, unpacked."""
        chunks = self._chunks([group], columns)
        return max((page.num_bytes for chunk in chunks for page in read_pages(self._raw, chunk)), default=0)

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Columns of row groups, of the types that the file says.

        Raises:
            TooLarge: they take more than MAX_READ_BYTES.
        """
        return self._decoded(self._read_encoded(groups, columns))

    def read_lists(self, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Columns of the whole file as Python's values; equal texts are one object.

        Raises:
            TooLarge: they are more than MAX_LISTED_VALUES, or take more than MAX_READ_BYTES.
        """
        num_values = sum(chunk.num_values for chunk in self._chunks(self.all_groups, columns))
        if num_values > MAX_LISTED_VALUES:
            limit = f"at most {MAX_LISTED_VALUES} are read from one file of metadata"
            raise TooLarge(
                f"it lists {num_values} values, {limit}: ",
                Remedy("split the dataset"),
                got=num_values,
                expected=MAX_LISTED_VALUES,
            )
        table = self._read_encoded(self.all_groups, columns)
        return {
            name: list(_shared(value for chunk in column.chunks for value in _values(chunk)))
            for name, column in zip(columns, table.columns, strict=True)
        }

    def read_texts_in(self, column: str, field: str) -> list[str | None]:
        """One field of a column of structures, of the whole file, without the others; empty where there is none.

        Raises:
            TooLarge: they take more than MAX_READ_BYTES.
            Malformed: a page unpacks to more than its values can need.
        """
        leaf = f"{column}.{field}"
        if not any(_name(known) == leaf and known.kind == BYTE_ARRAY for known in self.footer.leaves):
            return []
        check_size([leaf], self.num_bytes(self.all_groups, [leaf]))
        table = self._file.read_row_groups(list(self.all_groups), [leaf], use_threads=False)
        return list(pc.struct_field(table.column(0), [0]).to_pylist())

    def read_head(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """The first row, as Python's values; empty for a file without rows.

        Raises:
            TooLarge: a column of the first row group takes more than MAX_READ_BYTES and its bytes in the file allow.
            Malformed: a page unpacks to more than its values can need.
        """
        for name in columns:
            sizes = self.num_bytes(self.all_groups[:1], [name]), self.num_stored(self.all_groups[:1], [name])
            check_size([name], sizes[0], num_stored=sizes[1])
        batches = self._file.iter_batches(1, list(self.all_groups[:1]), list(columns), use_threads=False)
        batch = next(batches, None) if columns else None
        return [] if batch is None else list(batch.to_pylist())

    def batches(self, group: int, columns: Sequence[str], num_rows: int) -> Iterator[pa.Table]:
        """Columns of a row group, so many rows at a time.

        Raises:
            TooLarge: lists of texts take more than MAX_READ_BYTES.
            Malformed: a page unpacks to more than its values can need.
        """
        for chunk in self._chunks([group], columns):
            check_pages(self._raw, chunk)
        check_size(lists := self._lists_of_texts(columns), self.num_bytes([group], lists))
        for batch in self._file.iter_batches(num_rows, [group], list(columns), use_threads=False):
            yield self._decoded(pa.Table.from_batches([batch]).select(list(columns)))

    def _read_encoded(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        check_size(columns, self.num_bytes(groups, columns))
        return self._file.read_row_groups(list(groups), list(columns), use_threads=False).select(list(columns))

    def _lists_of_texts(self, columns: Sequence[str]) -> list[str]:
        """The columns that hold lists of texts: even one row of these may take any amount of memory."""
        lists = {leaf.path[0] for leaf in self.footer.leaves if leaf.kind == BYTE_ARRAY and len(leaf.path) >= 3}
        return [name for name in columns if name.encode() in lists]

    def _decoded(self, table: pa.Table) -> pa.Table:
        """Dictionary arrays become texts where the file has texts."""
        for place, name in enumerate(table.column_names):
            wanted = self.schema.field(name).type
            if table.column(place).type != wanted:
                check_size([name], sum(map(_text_bytes, table.column(place).chunks)))
                table = table.set_column(place, name, table.column(place).cast(wanted))
        return table

    def _chunks(self, groups: Iterable[int], columns: Sequence[str]) -> Iterator[Chunk]:
        wanted = [f"{name}." for name in columns]
        places = [
            place for place, leaf in enumerate(self.footer.leaves) if any(map(f"{_name(leaf)}.".startswith, wanted))
        ]
        return (self.footer.groups[group].chunks[place] for group in groups for place in places)


def _name(leaf: Leaf) -> str:
    """As pyarrow calls a leaf."""
    return b".".join(leaf.path).decode("utf-8", "replace")


def _texts(footer: Footer) -> Iterator[str]:
    """Columns of texts that pyarrow reads as dictionary arrays: neither lists of texts, nor what repeats beginnings."""
    for place, leaf in enumerate(footer.leaves):
        is_text = leaf.kind == BYTE_ARRAY and len(leaf.path) == 1
        if is_text and not any(group.chunks[place].encodings & DELTAS for group in footer.groups):
            yield _name(leaf)


def check_size(columns: Sequence[str], num_bytes: int, *, num_stored: int = 0) -> None:
    """Check that a read takes no more memory than it may.

    Args:
        columns: What is read.
        num_bytes: It takes in memory.
        num_stored: Bytes that they take in the file; 0: these are no reason to read more.

    Raises:
        TooLarge: it takes more.
    """
    limit = max(MAX_READ_BYTES, min(STORED_RATIO * num_stored, MAX_LARGE_BYTES))
    if num_bytes <= limit:
        return
    named = ", ".join(map(repr, columns))
    is_packed = num_bytes <= MAX_LARGE_BYTES and num_stored
    remedy = f"write the file again with {REWRITE}" if is_packed else "split what it holds into several files"
    problem = f"{named} take {num_bytes} bytes in memory, at most {limit} are read at a time: "
    raise TooLarge(problem, Remedy(remedy), got=num_bytes, expected=limit)


def _text_bytes(array: pa.Array) -> int:
    """What a dictionary array takes as texts."""
    lengths = pc.binary_length(array.dictionary).take(array.indices)
    return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)


def _values(array: pa.Array) -> Iterator[Any]:
    if pa.types.is_dictionary(array.type):
        words = array.dictionary.to_pylist()
        yield from (None if place is None else words[place] for place in array.indices.to_pylist())
        return
    for start in range(0, len(array), SLICE_ROWS):
        yield from array.slice(start, SLICE_ROWS).to_pylist()


def _shared(values: Iterator[Any]) -> Iterator[Any]:
    """Equal texts within lists as one object."""
    seen: dict[str, str] = {}
    for value in values:
        is_texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        yield [seen.setdefault(text, text) for text in value] if is_texts else value
