"""Millrace streams LeRobot datasets of any robot into what NVIDIA GR00T N1.6 trains on.

import millrace
source = millrace.open_source("data/aloha")
millrace.convert(millrace.Recipe.single(source, map="aloha_to_gr1"), "out/aloha_gr1")
millrace.validate("out/aloha_gr1")
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from embodiments import load_map, load_robot, map_names, robot_names
from embodiments.errors import MillraceError
from engine.convert import Workers, convert, estimate
from engine.progress import ConversionProgress, print_estimate, print_summary
from engine.recipe import Recipe
from engine.sources import open_source
from engine.validate import validate

__all__ = [
    "MillraceError",
    "Recipe",
    "Workers",
    "convert",
    "load_map",
    "load_robot",
    "map_names",
    "open_source",
    "robot_names",
    "validate",
]

STOPPED = 130  # as shells report a Ctrl-C


@dataclass(frozen=True)
class Convert:
    """Convert a LeRobot dataset into one that GR00T N1.6 trains on.

    millrace convert data/aloha out/aloha_gr1 --map aloha_to_gr1
    millrace convert data/aloha out/aloha_20hz --robot aloha --image-size 224
    millrace convert data/aloha out/few --map aloha_to_gr1 --episodes 0:10 --dry-run

    The same command again continues a run that was stopped.
    """

    source: tyro.conf.Positional[Path]
    """Folder of the source dataset."""
    out: tyro.conf.Positional[Path]
    """Folder of the new dataset."""
    map: str | None = None
    """How joints become joints: the name of a shipped map, or a map file of your own."""
    robot: str | None = None
    """Keep the robot instead (resample, video, metadata): a shipped robot, or a robot file of your own."""
    fps: str = "20"
    """Target rate in Hz: 20, 30000/1001, or "source" to keep the source's."""
    image_size: int = 256
    """Side of the square output pictures, pixels."""
    crop: Literal["center", "pad"] = "center"
    """The centre square of each picture, or all of it with black bars."""
    resample: Literal["nearest", "linspace"] = "nearest"
    """The frame nearest in time, or the ALOHA guide's stretched choice."""
    episodes: str | None = None
    """Some episodes only: A:B, or a list such as 0,3,10:20."""
    task: str | None = None
    """What the robot does, for all episodes, in place of what the source says."""
    camera: tuple[str, ...] = ()
    """Cameras by another name than the map's: TARGET=SOURCE, for example ego_view=cam_high."""
    horizon: int | None = None
    """Steps in an action chunk; by default the robot's."""
    gop: int = 10
    """Frames from key frame to key frame of the output videos."""
    chunks_size: int = 1000
    """Episodes in a folder."""
    workers: int | None = None
    """Cores to use; by default all."""
    address: str | None = None
    """A running Ray cluster, for example "auto" or ray://head:10001; out must be a folder that all nodes share."""
    local: bool = False
    """Without Ray, in this process."""
    overwrite: bool = False
    """Delete what an earlier run made in OUT."""
    dry_run: bool = False
    """Only say what would be done: frames, bytes, time."""
    debug: bool = False
    """Show tracebacks."""

    def run(self) -> None:
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
        console = Console()
        if self.dry_run:
            num_workers = 1 if self.local else self.workers or os.cpu_count() or 1
            print_estimate(estimate(recipe, self.out), num_workers, console)
            return
        progress = ConversionProgress(Console(stderr=True))
        with progress.bar:
            summary = convert(
                recipe,
                self.out,
                workers=Workers(self.workers, self.address, self.local),
                overwrite=self.overwrite,
                on_plan=progress.on_plan,
                on_result=progress.on_result,
            )
        print_summary(summary, str(self.out), console)


@dataclass(frozen=True)
class Validate:
    """Check that a dataset is what GR00T N1.6 and LeRobot expect; any GR00T dataset, not only Millrace's.

    millrace validate out/aloha_gr1
    millrace validate out/aloha_gr1 --deep
    """

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    deep: bool = False
    """Also decode every frame."""
    debug: bool = False
    """Show tracebacks."""

    def run(self) -> None:
        """Validate and print every problem."""
        raise NotImplementedError


Command = Annotated[
    Annotated[Convert, tyro.conf.subcommand("convert")] | Annotated[Validate, tyro.conf.subcommand("validate")],
    tyro.conf.OmitSubcommandPrefixes,
]


def main(arguments: list[str] | None = None) -> int:
    """The command `millrace`; returns its exit code: 0, 1 for bad data, 2 for a bad command, map or recipe."""
    command = tyro.cli(Command, prog="millrace", description=(__doc__ or "").splitlines()[0], args=arguments)
    try:
        command.run()
    except MillraceError as error:
        if command.debug:
            raise
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command again continues where this one stopped", file=sys.stderr)
        return STOPPED
    return 0


def _assignment(text: str) -> tuple[str, str]:
    from engine.errors import RecipeError

    target, separator, source = text.partition("=")
    if not (target and separator and source):
        raise RecipeError(f"--camera takes TARGET=SOURCE, for example ego_view=cam_high, not {text!r}")
    return target, source


if __name__ == "__main__":
    sys.exit(main())
