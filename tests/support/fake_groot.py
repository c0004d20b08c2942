"""Files of a package gr00t, by which Millrace tells which one is installed; there is no code in them."""

from pathlib import Path

import pytest

from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.releases import find_release


def install_groot(folder: Path, choice: str, monkeypatch: pytest.MonkeyPatch, *, keeps_fingerprints: bool) -> None:
    """Put a gr00t of a release, such as "n1.7", before all others on this process's path."""
    package = folder / "installed/gr00t"
    for name in (find_release(choice).marker, "__init__.py", "data/stats.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    if keeps_fingerprints:
        (package / "data/stats.py").write_text(f'STATS_FINGERPRINTS_KEY = "{FINGERPRINTS}"\n')
    monkeypatch.syspath_prepend(str(folder / "installed"))
