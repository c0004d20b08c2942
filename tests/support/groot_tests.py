"""Which tests of GR00T itself are collected: those of the release that is installed."""

from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "groot"
# Files that test every release; of the others those of N1.7 have names that say so.
EVERY_RELEASE = {
    "test_augmentation.py",
    "test_batches.py",
    "test_groot_fingerprints.py",
    "test_groots_shards.py",
    "test_installed_release.py",
    "test_loader.py",
    "test_statistics.py",
}
OF_N1D7 = "test_*_n1d7.py"


def is_n1d7_installed() -> bool:
    """Whether the gr00t that can be imported is N1.7."""
    spec = find_spec("gr00t")
    folders = map(Path, spec.submodule_search_locations or ()) if spec else ()
    return any((folder / "configs/model/gr00t_n1d7.py").is_file() for folder in folders)


def other_release() -> list[str]:
    """Files that test another release than the installed one; none where none is installed, as they skip themselves."""
    of_n1d7 = {path.name for path in FOLDER.glob(OF_N1D7)}
    if find_spec("gr00t") is None:
        return []
    of_n1d6 = {path.name for path in FOLDER.glob("test_*.py")} - of_n1d7 - EVERY_RELEASE
    return sorted(of_n1d6 if is_n1d7_installed() else of_n1d7)


def describe_other_release() -> list[str]:
    """What a run says of them."""
    installed, other = ("N1.7", "N1.6") if is_n1d7_installed() else ("N1.6", "N1.7")
    files = other_release()
    return [f"NOT TESTED: GR00T {other}, as {installed} is installed: {', '.join(files)}"] if files else []
