"""A repository as the local Hub of the tests keeps it: commits of files, the large ones named by their content."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGE = (".mp4", ".parquet", ".safetensors")

Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository's commits, and which of them each branch and tag is at."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files) -> str:
        """Make these the files of main."""
        content = "".join(f"{path} {oid(path, files[path])}" for path in sorted(files))
        sha = hashlib.sha1(f"{len(self.commits)} {content}".encode()).hexdigest()
        self.commits[sha], self.branches["main"] = dict(files), sha
        return sha

    @property
    def files(self) -> Files:
        """Those of main."""
        return self.commits[self.branches["main"]]


def is_large(path: str) -> bool:
    """Whether a file is kept apart from git."""
    return path.endswith(LARGE)


def oid(path: str, content: bytes) -> str:
    """What the Hub calls a file's content."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_below(folder: Path) -> Files:
    """A folder as the files of a repository."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file in a list of files."""
    item = {"type": "file", "path": path, "size": len(content), "oid": oid(path, content)}
    large = {"lfs": {"oid": item["oid"], "size": len(content), "pointerSize": 130}} if is_large(path) else {}
    return {**item, **large}


def upload_mode(path: str, files: Files) -> dict[str, Any]:
    """How a file is to be uploaded, and what is there in its place."""
    known = {"oid": oid(path, files[path])} if path in files else {}
    return {
        "path": path,
        "uploadMode": "lfs" if is_large(path) else "regular",
        "shouldIgnore": path.endswith(".gitignored"),
        **known,
    }
