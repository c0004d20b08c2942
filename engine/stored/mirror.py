"""The ledger's copy in an object store: objects that each hold some of its lines, as none can be appended to."""

import os
import threading
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, MillraceError, Remedy
from millrace.engine.errors import OutputBusy, OutputFailed
from millrace.engine.layout import LEDGER_COPY, WORK
from millrace.engine.stored.finished_files import LedgerMirror
from millrace.engine.stored.objects import Objects, explain_store_errors
from millrace.engine.stores.store import StoredObject

SEGMENT = LEDGER_COPY.partition("{")[0]
MIRRORED = f"{WORK}/mirrored.json"
MIRROR_SECONDS = 10.0


class Segment(FrozenModel):
    """An object with lines of a ledger. tag: the store's, which changes with its content."""

    name: str
    num_bytes: int
    tag: str

    @classmethod
    def of(cls, stored: StoredObject) -> "Segment":
        """The segment that an object is."""
        return cls(name=stored.name, num_bytes=stored.num_bytes, tag=stored.tag)


class Mirrored(FrozenModel):
    """OUT/.millrace/mirrored.json of a folder here: the objects that hold the lines of its ledger, the first first."""

    segments: tuple[Segment, ...] = ()

    @classmethod
    def read(cls, root: Path) -> "Mirrored":
        """What a folder's ledger has copies of; none where nothing says so."""
        try:
            return cls.model_validate_json((root / MIRRORED).read_bytes())
        except (OSError, ValidationError):
            return cls()

    @classmethod
    def find(cls, objects: Objects) -> "Mirrored":
        """The segments in a store."""
        found = (stored for stored in objects.list_below(WORK) if stored.name.startswith(SEGMENT))
        return cls(segments=tuple(sorted(map(Segment.of, found), key=lambda segment: segment.name)))

    def write(self, root: Path) -> None:
        """Keep it in the folder."""
        unfinished = root / f"{MIRRORED}.unfinished"
        unfinished.write_text(self.model_dump_json(), encoding="utf-8")
        unfinished.replace(root / MIRRORED)

    @property
    def num_bytes(self) -> int:
        """Bytes of the ledger that are copied."""
        return sum(segment.num_bytes for segment in self.segments)

    @property
    def next_name(self) -> str:
        """The name of the next segment."""
        last = int(self.segments[-1].name.removeprefix(SEGMENT).removesuffix(".jsonl")) if self.segments else 0
        return LEDGER_COPY.format(number=last + 1)


class StoredMirror(LedgerMirror):
    """Copies lines every few seconds in a thread of its own, and at once where a run must not go on without.

    A segment is only ever created: of two runs that believe to be alone one cannot, and ends.
    """

    def __init__(self, ledger: Path, root: Path, objects: Objects) -> None:
        self.ledger, self.root, self.objects = ledger, root, objects
        self.mirrored = Mirrored.read(root)
        self.error: MillraceError | None = None
        self.lock, self.is_over = threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None

    def check(self) -> None:
        """Raise what kept the thread from copying.

        Raises:
            OutputBusy: another run took over.
            OutputFailed: the store cannot be written to.
        """
        if self.error is not None:
            raise self.error

    def put(self) -> None:
        """Copy all whole lines that were written so far; raises as `check` does."""
        with self.lock:
            self.check()
            with self.ledger.open("rb") as file:
                os.fsync(file.fileno())  # else less may be left here than there
                file.seek(self.mirrored.num_bytes)
                lines = file.read()
            lines = lines[: lines.rfind(b"\n") + 1]
            if lines:
                with explain_store_errors():
                    self._put_segment(lines)
            if self.thread is None:
                self.thread = threading.Thread(target=self._keep_up, daemon=True)
                self.thread.start()

    def _put_segment(self, lines: bytes) -> None:
        name = self.mirrored.next_name
        # An answer may be lost on the way, and what was created is there at the next try.
        if not self.objects.create(lines, name) and self.objects.read_or_none(name) != lines:
            problem = f"{self.objects.address} is being written by another run, which took over from this one"
            raise OutputBusy(f"{problem}; ", Remedy("wait for it, or choose another prefix"))
        stored = self.objects.head(name)
        assert stored is not None, "what was created is there"
        self.mirrored = Mirrored(segments=(*self.mirrored.segments, Segment.of(stored)))
        self.mirrored.write(self.root)

    def _keep_up(self) -> None:
        while not self.is_over.wait(MIRROR_SECONDS):
            try:
                self.put()
            except MillraceError as error:
                self.error = error
                return
            except Exception as error:  # such as a full disk here
                self.error = OutputFailed(f"the ledger cannot be copied to {self.objects.address} ({error})")
                return

    def close(self) -> None:
        """Copy what is left, unless that failed before."""
        self.is_over.set()
        if self.thread is not None:
            self.thread.join()
        if self.error is None:
            self.put()
