"""What an inspection may find: stable codes, how bad each is, and the finding itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
MAX_MESSAGE = 600


@dataclass(frozen=True)
class Kind:
    """One kind of finding, of those in findings.yaml; advice: what to do about it."""

    severity: Severity
    meaning: str
    advice: str


KINDS: dict[str, Kind] = {
    code: Kind(**entry) for code, entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes()).items()
}


@dataclass(frozen=True)
class Finding:
    """Something that the owner of a dataset may want to know; code is a key of KINDS.

    episode, camera and path are None where it concerns no single one.
    """

    code: str
    severity: Severity
    message: str
    episode: int | None = None
    camera: str | None = None
    path: Path | None = None


def make_finding(
    code: str, message: str, *, episode: int | None = None, camera: str | None = None, path: Path | None = None
) -> Finding:
    """A finding of a known kind, its message cut to a bearable length."""
    text = message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + " ..."
    return Finding(code, KINDS[code].severity, text, episode, camera, path)
