"""`millrace view`."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import arg

from millrace.commands.flags import show
from millrace.commands.json_output import to_json_text
from millrace.commands.print_flags import PrintFlags
from millrace.commands.read_flags import ReadFlags
from millrace.train.flag_types import Flag, option

if TYPE_CHECKING:
    from millrace.engine.viewer import ViewedEpisode


@dataclass(frozen=True, kw_only=True)
class ViewEpisode(ReadFlags, PrintFlags):
    """Open an episode in the rerun viewer: cameras, joints and tasks over time, and its source beside it.

    Needs the extra `view`. Examples:

    millrace view out/aloha_gr1 --episode 3

    millrace view out/aloha_gr1 --episode 3 --source data/aloha

    millrace view data/aloha --save aloha.rrd
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset: of any LeRobot layout, of HDF5 files, or of recordings of Unitree's xr_teleoperate; or
    hf://org/name[@revision] on the Hub, or an address in a store, such as s3://bucket/folder."""
    episode: Annotated[int, arg(metavar="N")] = 0
    """Number of the episode."""
    source: Annotated[str | None, option("DATASET")] = None
    """The dataset that DATASET was made of: the recording of the episode is shown beside it."""
    source_episode: Annotated[int | None, option("N")] = None
    """Which episode of the source; by default the one that DATASET's millrace.json names."""
    save: Annotated[Path | None, arg(metavar="FILE.rrd")] = None
    """Write a file in place of opening the viewer; `rerun FILE.rrd` opens it on any machine."""
    images: Flag = False
    """Log cameras as JPEG images, also where rerun could play their videos: larger, but needs no ffmpeg."""

    when_stopped = "stopped; no recording was written"

    def run(self) -> int:
        """Show the episode, and print where it is."""
        from millrace.engine.viewer import ViewOptions, view_episode

        options = ViewOptions(
            source=self.source, source_episode=self.source_episode, images=self.images, write=show, **self.settings()
        )
        viewed = view_episode(self.dataset, self.episode, save=self.save, options=options)
        if self.json:
            print(to_json_text({"file": None if self.save is None else str(self.save), **asdict(viewed)}))
            return 0
        for note in viewed.notes:
            print(show(f"note: {note}"), file=sys.stderr)
        print("\n".join(map(show, self._lines(viewed))))
        return 0

    def _lines(self, viewed: "ViewedEpisode") -> list[str]:
        where = "in the viewer of rerun" if self.save is None else f"{self.save}"
        beside = "" if viewed.source_episode is None else f", beside episode {viewed.source_episode} of {self.source}"
        what = f"{viewed.num_frames} frames, cameras {', '.join(viewed.cameras) or 'none'}, {viewed.num_series} curves"
        lines = [f"{where}: episode {viewed.episode} of {self.dataset}, {what}{beside}"]
        if viewed.hint is not None:
            lines.append(f"{viewed.hint}; --source DATASET shows that beside it")
        if self.save is not None:
            lines.append(f"open it: rerun {self.save}")
        return lines
