"""Which LeRobot layouts a conversion makes, and in which folders."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.dataset.record import hash_file
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.layout import MANIFEST, META, PACKED, WORK
from millrace.engine.packing.claim import PackOrigin, check_folder
from millrace.engine.packing.depth_clips import DepthClips
from millrace.engine.packing.pack import PackSummary, pack_dataset
from millrace.engine.packing.shared_files import MB, FileSizes

Layout = Literal["v2.1", "v3.0"]
V21: Layout = "v2.1"
V30: Layout = "v3.0"
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
EPISODES = "episodes"
SUFFIX = "_v30"


@dataclass(frozen=True)
class Layouts:
    """The layouts to make.

    names: at least one. sizes: of the files of v3.0. num_processes: processes that make these.
    """

    names: tuple[Layout, ...] = (V21,)
    sizes: FileSizes = FileSizes()
    num_processes: int = 1

    def __post_init__(self) -> None:
        known = ", ".join(LAYOUTS)
        if not self.names or len(set(self.names)) < len(self.names) or set(self.names) - set(LAYOUTS):
            message = f"layouts {', '.join(self.names)}: expected some of {known}, each once"
            raise RecipeError(message, got=self.names, known=LAYOUTS)

    @classmethod
    def parse(
        cls, text: str, *, data_file_mb: int = 100, video_file_mb: int = 200, num_processes: int = 1
    ) -> "Layouts":
        """The layouts of names between commas, and sizes in megabytes.

        Raises:
            RecipeError: a layout is unknown, or a size is not at least 1.
        """
        for name, value in {"data_file_mb": data_file_mb, "video_file_mb": video_file_mb}.items():
            if value < 1:
                message = Message(Setting(name, value), ": must be at least 1")
                raise RecipeError(message, got=value, expected="at least 1")
        return cls(parse_layouts(text), FileSizes(data_file_mb * MB, video_file_mb * MB), num_processes)

    @property
    def is_packed(self) -> bool:
        """Whether v3.0 is made."""
        return V30 in self.names

    @property
    def keeps_episodes(self) -> bool:
        """Whether v2.1, a file for each episode, stays."""
        return V21 in self.names

    def folders(self, out: Path) -> tuple[Path, ...]:
        """The folders of the finished datasets, v2.1's first."""
        packed = (self.packed_folder(self.episodes_folder(out)),) if self.is_packed else ()
        return (out, *packed) if self.keeps_episodes else packed

    def check(self, out: Path) -> None:
        """Check that v3.0 may be written where it is to go.

        Raises:
            OutputExists: there are other files.
        """
        if self.is_packed:  # whether meta/ there may be replaced is told by what it was made of, later
            check_folder(self.packed_folder(self.episodes_folder(out)), overwrite=True)

    def episodes_folder(self, out: Path) -> Path:
        """Where v2.1 is made: OUT, or within OUT/.millrace where it does not stay."""
        return out if self.keeps_episodes else out / WORK / EPISODES

    def packed_folder(self, episodes: Path) -> Path:
        """Where v3.0 of a dataset goes: OUT_v30, or OUT where that is all."""
        if self.keeps_episodes:
            return packed_folder_beside(episodes)
        out = episodes.parent.parent
        return out.with_name(out.name + episodes.name.removeprefix(EPISODES))

    def pack(self, episodes: Path, *, depth: DepthClips | None = None, overwrite: bool) -> PackSummary:
        """Make v3.0 of a finished v2.1 dataset, whose episodes are deleted then unless they are to stay."""
        found = pack_dataset(
            episodes,
            self.packed_folder(episodes),
            sizes=self.sizes,
            depth=depth,
            num_processes=self.num_processes,
            overwrite=overwrite,
        )
        if not self.keeps_episodes:
            (episodes / PACKED).touch()
            for name in ("data", "videos"):
                shutil.rmtree(episodes / name, ignore_errors=True)
        return found


def packed_folder_beside(folder: Path) -> Path:
    """Where v3.0 of a dataset goes that stays in v2.1: OUT_v30."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(named.name + SUFFIX)


def find_packed(folder: Path) -> Path:
    """The folder of a dataset's LeRobot v3.0, made by `Layouts.pack` of it as it is now: OUT_v30.

    Raises:
        DatasetError: there is none, or the dataset was changed since.
    """
    packed = packed_folder_beside(folder)
    origin, again = PackOrigin.read(packed), Remedy("convert it with ", Setting("layout", f"{V21},{V30}"))
    if origin is None or not (packed / META).is_dir():
        raise DatasetError(f"{folder} has no LeRobot v3.0 beside it, in {packed}; ", again, file=packed)
    if not (folder / MANIFEST).is_file() or hash_file(folder / MANIFEST) != origin.manifest:
        raise DatasetError(f"{packed} was not made of {folder} as it is now; ", again, file=packed)
    return packed


def parse_layouts(text: str) -> tuple[Layout, ...]:
    """Layouts from their names between commas; the v may be left out.

    Raises:
        RecipeError: one is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    known: dict[str, Layout] = {name: name for name in LAYOUTS} | {name.removeprefix("v"): name for name in LAYOUTS}
    if unknown := [name for name in names if name not in known]:
        setting = Setting("layout", text)
        message = Message(setting, f": no layout {unknown[0]!r}. Known: {', '.join(LAYOUTS)}")
        raise RecipeError(message, got=unknown[0], known=LAYOUTS)
    return tuple(known[name] for name in names)
