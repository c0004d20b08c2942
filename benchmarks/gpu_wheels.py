"""Wheels for a machine with a GPU and no network, in folders of at most 60 MB, and their installation there.

    python -m benchmarks.gpu_wheels pack wheels --python 3.12              # here: wheels/part-1, wheels/part-2, ...
    python -m benchmarks.gpu_wheels pack wheels --python 3.12 av ray tyro  # these alone
    python -m benchmarks.gpu_wheels install wheels SITE                    # there, below one folder; PYTHONPATH=SITE

CUDA builds of torch, torchvision and transformers are usually there, and most of what they need. Only the standard
library and pip are needed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PART_BYTES = 60_000_000
# What Millrace needs and an image for training seldom has: large wheels alone, small ones with what they need.
ALONE, WITH_NEEDS = ("av>=18.1", "ray"), ("jsonschema", "pydantic", "tyro")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")
PIECE = ".piece-"


def pack_wheels(out: Path, *, python: str, names: Sequence[str], part_bytes: int = PART_BYTES) -> None:
    """Download wheels and deal them out; names: these alone, in place of what Millrace needs."""
    with tempfile.TemporaryDirectory() as folder:
        _download(["--no-deps", *(names or ALONE)], folder, python=python)
        if not names:
            _download(list(WITH_NEEDS), folder, python=python)
        deal_out(sorted(Path(folder).iterdir()), out, part_bytes=part_bytes)


def _download(words: Sequence[str], folder: str, *, python: str) -> None:
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    kind = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *kind, "--dest", folder, *words], check=True)


def deal_out(files: Sequence[Path], out: Path, *, part_bytes: int) -> list[Path]:
    """Copy files into folders of at most `part_bytes`, cutting those that are larger; returns the folders."""
    parts: list[Path] = []
    room = 0
    for file in files:
        content = file.read_bytes()
        pieces = [content[start : start + part_bytes] for start in range(0, len(content), part_bytes)]
        for number, piece in enumerate(pieces):
            if not parts or len(piece) > room:
                parts.append(out / f"part-{len(parts) + 1}")
                parts[-1].mkdir(parents=True)
                room = part_bytes
            name = file.name if len(pieces) == 1 else f"{file.name}{PIECE}{number:03d}"
            (parts[-1] / name).write_bytes(piece)
            room -= len(piece)
    return parts


def join_pieces(parts: Path, out: Path) -> list[Path]:
    """The wheels of all parts in one folder, as they were before they were cut."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(parts.glob("part-*/*"), key=lambda file: file.name):
        name, cut, number = file.name.partition(PIECE)
        with (out / name).open("ab" if cut and int(number) else "wb") as target:
            target.write(file.read_bytes())
    return sorted(out.iterdir())


def install_wheels(parts: Path, site: Path) -> None:
    """Install the packed wheels, and nothing else, below a folder."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = join_pieces(parts, Path(folder) / "wheels")
        words = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade"]
        subprocess.run([sys.executable, "-m", *words, "--target", str(site), *map(str, wheels)], check=True)
    print(f"{len(wheels)} wheels in {site}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack or install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    pack = tasks.add_parser("pack")
    pack.add_argument("out", type=Path)
    pack.add_argument("--python", required=True, help="of the machine with the GPU, such as 3.12")
    pack.add_argument("names", nargs="*", help="requirements, by default what Millrace needs")
    install = tasks.add_parser("install")
    install.add_argument("parts", type=Path)
    install.add_argument("site", type=Path)
    options = parser.parse_args(arguments)
    if options.task == "install":
        install_wheels(options.parts, options.site)
    else:
        pack_wheels(options.out, python=options.python, names=options.names)


if __name__ == "__main__":
    main()
