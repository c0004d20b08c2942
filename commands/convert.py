"""`millrace convert`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tyro.conf import arg

from commands.flags import Flag
from engine.convert import Workers, convert, estimate
from engine.errors import RecipeError
from engine.progress import ConversionProgress, print_estimate, print_summary
from engine.recipe import Recipe


@dataclass(frozen=True)
class Convert:
    """Convert a LeRobot dataset into one that GR00T N1.6 trains on.

    The same command again continues a run that was stopped. Examples:

    millrace convert data/aloha out/aloha_gr1 --map aloha_to_gr1

    millrace convert data/aloha out/aloha_224 --robot aloha --image-size 224

    millrace convert data/aloha out/few --map aloha_to_gr1 --episodes 0:10 --dry-run
    """

    source: Annotated[Path, tyro.conf.Positional, arg(metavar="SOURCE")]
    """Folder of the source dataset."""
    out: Annotated[Path, tyro.conf.Positional, arg(metavar="OUT")]
    """Folder of the new dataset."""
    map: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """How joints become joints: a shipped map, or a map file of your own."""
    robot: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Keep the robot instead (resample, video, metadata): a shipped robot, or a robot file of your own."""
    fps: Annotated[str, arg(metavar="HZ|source")] = "20"
    """Target rate: 20, 30000/1001, or "source" to keep the source's."""
    image_size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Side of the square output pictures."""
    crop: Literal["center", "pad"] = "center"
    """The centre square of each picture, or all of it with black bars."""
    resample: Literal["nearest", "linspace"] = "nearest"
    """The frame nearest in time, or the ALOHA guide's stretched choice."""
    episodes: Annotated[str | None, arg(metavar="A:B|LIST")] = None
    """Some episodes only: A:B, or a list such as 0,3,10:20."""
    task: Annotated[str | None, arg(metavar="TEXT")] = None
    """What the robot does, for all episodes, in place of what the source says."""
    camera: Annotated[tuple[str, ...], arg(metavar="TARGET=SOURCE ...")] = ()
    """Cameras by another name than the map's, for example ego_view=cam_high."""
    horizon: Annotated[int | None, arg(metavar="STEPS")] = None
    """Steps in an action chunk; by default the robot's."""
    gop: Annotated[int, arg(metavar="FRAMES")] = 10
    """Frames from key frame to key frame of the output videos."""
    chunks_size: Annotated[int, arg(metavar="EPISODES")] = 1000
    """Episodes in a folder."""
    workers: Annotated[int | None, arg(metavar="CORES")] = None
    """Cores to use; by default all."""
    address: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """A running Ray cluster, for example "auto"; OUT must be a folder that all nodes share."""
    local: Flag = False
    """Without Ray, in this process."""
    overwrite: Flag = False
    """Delete what an earlier run made in OUT."""
    dry_run: Flag = False
    """Only say what would be done: frames, bytes, time."""
    debug: Flag = False
    """Show tracebacks."""

    @property
    def when_stopped(self) -> str:
        """What to say after Ctrl-C."""
        if self.dry_run:
            return "stopped"
        same = "command without --overwrite" if self.overwrite else "command again"
        return f"stopped; the same {same} continues where this one stopped"

    def run(self) -> int:
        """Convert, or say what converting would do."""
        recipe = Recipe.single(
            self.source,
            map=self.map,
            robot=self.robot,
            cameras=dict(_assignment(text) for text in self.camera),
            episodes=self.episodes,
            task=self.task,
            fps=self.fps,
            image_size=self.image_size,
            crop=self.crop,
            resample=self.resample,
            gop=self.gop,
            horizon=self.horizon,
            chunks_size=self.chunks_size,
        )
        console, workers = Console(), Workers(self.workers, self.address, self.local)
        if self.dry_run:
            num_workers = 1 if self.local else self.workers or os.cpu_count() or 1
            print_estimate(estimate(recipe, self.out, overwrite=self.overwrite), num_workers, console)
            return 0
        progress = ConversionProgress(Console(stderr=True))
        with progress.bar:
            summary = convert(
                recipe,
                self.out,
                workers=workers,
                overwrite=self.overwrite,
                on_plan=progress.on_plan,
                on_result=progress.on_result,
            )
        print_summary(summary, str(self.out), console)
        return 0


def _assignment(text: str) -> tuple[str, str]:
    target, separator, source = text.partition("=")
    if not (target and separator and source):
        raise RecipeError(f"--camera takes TARGET=SOURCE, for example ego_view=cam_high, not {text!r}")
    return target, source
