"""Damage to one file of a dataset: what a stranger, a broken disk or a careless tool makes of it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOSTILE_VALUES: tuple[Any, ...] = (
    None,
    True,
    "",
    " ",
    "\x1b[2J\x07",
    "\ud800",
    "a\u2028b\nc\r\0",
    "{episode_index.__class__.__mro__}",
    "{0}%s%n{video_key!r:>99999999}",
    "{episode_index:0999999999d}",
    "../../../../../../etc/passwd",
    "\ufeff",
    "observation.images.top",
    {"joint": 0, "other": 0},
    {"motors": ["a", "a"]},
    "/etc/passwd",
    "$(touch pwned); `touch pwned` | cat",
    "x" * 5000,
    "cos\nsystem\n(S'touch pwned'\ntR.",
    0,
    -1,
    1,
    3,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63),
    10**12,
    10**400,
    0.5,
    1e-300,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[[[[]]]]],
    ["\x1b]0;x\x07"] * 3,
    list(range(300)),
    {"__class__": {"__init__": 1}},
)
PLACES = ("delete", "replace", "repeat", "wrap", "rename")


@dataclass(frozen=True)
class Change:
    """Something done to one file of a dataset, named by its path below the root."""

    path: str

    def files(self, root: Path) -> list[Path]:
        """What is read to do it."""
        return [root / self.path]

    def apply(self, root: Path) -> None:
        """Do it."""
        raise NotImplementedError


@dataclass(frozen=True)
class JsonChange(Change):
    """A value of a JSON document (for JSONL: of one line) replaced, removed, doubled, wrapped or renamed."""

    line: int
    place: int
    how: str
    value: Any

    def apply(self, root: Path) -> None:
        """Any number names a place: they are counted round."""
        file = root / self.path
        lines = file.read_text().split("\n") if file.suffix == ".jsonl" else [file.read_text()]
        number = self.line % max(len(lines) - (len(lines) > 1), 1)
        document = [json.loads(lines[number])]
        parent, key = _places(document)[self.place % len(_places(document))]
        _change(parent, key, self)
        lines[number] = "\n".join(json.dumps(part) for part in document)
        file.write_text("\n".join(lines))


def _places(document: list[Any]) -> list[tuple[Any, Any]]:
    """Every place of a value, as what holds it and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting: list[tuple[Any, Any]] = [(document, 0)]
    while waiting:
        parent, key = waiting.pop(0)
        found.append((parent, key))
        value = parent[key]
        keys = list(value) if isinstance(value, dict) else range(min(len(value), 4)) if isinstance(value, list) else ()
        waiting += [(value, inner) for inner in keys]
    return found


def _change(parent: Any, key: Any, change: JsonChange) -> None:
    if change.how == "delete":
        del parent[key]
    elif change.how == "repeat" and isinstance(parent, list):
        parent.append(parent[key])
    elif change.how == "wrap":
        parent[key] = [parent[key]]
    elif change.how == "rename" and isinstance(parent, dict):
        parent[str(change.value)] = parent.pop(key)
    else:
        parent[key] = change.value


@dataclass(frozen=True)
class ByteChange(Change):
    """Some bytes of a file overwritten, removed or added; at: a share of the file, or from its end if negative."""

    at: float
    how: str
    content: bytes

    def apply(self, root: Path) -> None:
        """A byte may land anywhere, in text as in a footer."""
        file = root / self.path
        content = bytearray(file.read_bytes())
        start = int(self.at * len(content)) if self.at >= 0 else max(len(content) + int(self.at * 400), 0)
        if self.how == "insert":
            content[start:start] = self.content
        elif self.how == "remove":
            del content[start : start + 7 * len(self.content)]
        elif self.how == "truncate":
            del content[start:]
        elif self.how == "flip":
            stretch = content[start : start + len(self.content)]
            content[start : start + len(stretch)] = bytes(a ^ b for a, b in zip(stretch, self.content, strict=False))
        else:
            content[start : start + len(self.content)] = self.content[: max(len(content) - start, 0)]
        file.write_bytes(content)


BYTE_CHANGES = ("overwrite", "flip", "insert", "remove", "truncate")


@dataclass(frozen=True)
class BoxChange(Change):
    """A box of an mp4: a number in it replaced, the box removed, doubled, or given another size or name."""

    box: int
    how: str
    place: int
    value: int

    def apply(self, root: Path) -> None:
        """Boxes within boxes are counted through; the boxes around are not told of another size."""
        file = root / self.path
        content = bytearray(file.read_bytes())
        boxes = list(_boxes(content, 0, len(content)))
        start, stop = boxes[self.box % len(boxes)]
        word = (self.value % 2**32).to_bytes(4, "big")
        if self.how == "number":
            inner = start + 8 + self.place % max(stop - start - 11, 1)
            content[inner : inner + 4] = word
        elif self.how == "size":
            content[start : start + 4] = word
        elif self.how == "name":
            content[start + 4 : start + 8] = word
        elif self.how == "remove":
            del content[start:stop]
        else:
            content[stop:stop] = content[start:stop]
        file.write_bytes(content)


BOX_CHANGES = ("number", "number", "number", "size", "name", "remove", "repeat")
_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta"}
# Within these, boxes begin after so many bytes of their own.
_HEADS = {b"stsd": 8, b"avc1": 78, b"av01": 78}


def _boxes(content: bytearray, start: int, stop: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while start + 8 <= stop:
        size, name = int.from_bytes(content[start : start + 4], "big"), bytes(content[start + 4 : start + 8])
        end = start + size if 8 <= size <= stop - start else stop
        found.append((start, end))
        if name in _PARENTS or name in _HEADS:
            found += _boxes(content, start + 8 + _HEADS.get(name, 0), end)
        start = end
    return found


@dataclass(frozen=True)
class FileChange(Change):
    """A file that is none any more: missing, empty, a link, a folder, a pipe, a device, endless, another's content."""

    how: str
    other: str

    def files(self, root: Path) -> list[Path]:
        """The file and another of the same dataset."""
        return [root / self.path, root / self.other]

    def apply(self, root: Path) -> None:
        """A link may lead anywhere; nothing follows it here."""
        file = root / self.path
        content, own = (root / self.other).read_bytes(), file.read_bytes()
        file.unlink()
        if self.how == "folder":
            file.mkdir()
        elif self.how == "pipe":
            os.mkfifo(file)
        elif self.how in LINKS:
            file.symlink_to(LINKS[self.how])
        elif self.how == "sparse":
            with file.open("wb") as empty:
                empty.truncate(1 << 40)
        elif self.how == "pointer":
            file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        elif self.how == "other":
            file.write_bytes(content)
        elif self.how == "hidden":
            file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7" + content[:100])
            file.write_bytes(own)
        elif self.how == "BOM":
            file.write_bytes(b"\xef\xbb\xbf" + own)
        elif self.how == "empty":
            file.touch()


LINKS = {"link": "/etc/passwd", "loop": "loop", "zeros": "/dev/zero", "terminal": "/dev/stdin", "up": "..", "gone": "x"}
FILE_CHANGES = ("missing", "empty", "folder", "pipe", "sparse", "pointer", "other", "hidden", "BOM", *LINKS)
