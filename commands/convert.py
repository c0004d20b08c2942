"""`millrace convert`."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.flags import name_flag
from millrace.commands.json_output import to_json_text
from millrace.commands.progress import ConversionProgress, print_estimate, print_quarantine, print_summary
from millrace.commands.report_page import write_reports
from millrace.embodiments import Remedy
from millrace.engine.convert import convert, estimate
from millrace.engine.errors import EpisodesFailed, RecipeError
from millrace.engine.execution.capacity import usable_cores
from millrace.engine.execution.workers import ExecutorName, Workers
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import NONE, Recipe, is_share
from millrace.engine.planning.recipe_file import read_recipe
from millrace.engine.planning.recipe_problems import write_recipe_keys
from millrace.engine.run import Rerun
from millrace.engine.summary import Summary
from millrace.engine.video.backends import GPU_SHARE, Device
from millrace.train.flag_types import Flag, option

REQUIRED_WITHOUT_RECIPE = "(required without --recipe)"
# Flags for all sources; None: the recipe's value.
SETTINGS = (
    "robot",
    "fps",
    "image_size",
    "crop",
    "resample",
    "action",
    "horizon",
    "gop",
    "chunks_size",
    "trim_mismatch",
)
# Flags of the steps that leave still stretches out of episodes.
CUT_FLAGS = ("trim_idle", "idle_keep", "drop_pauses", "still")
# Flags for one source, which a recipe's file sets itself.
SOURCE_FLAGS = ("map", "episodes", "task", "task_all", "follow_links", "source_fps", "language", "format", "cut_off")
RECIPE_FLAGS = (*SETTINGS, *SOURCE_FLAGS, *CUT_FLAGS, "camera", "cameras", "columns", "without_columns")
# Flags that count beside a recipe's file, too.
OUTPUT_FLAGS = ("holdout", "device")


@dataclass(frozen=True)
class Convert:
    """Convert LeRobot datasets into one that GR00T N1.6 and N1.7 train on.

    The same command again continues a run that was stopped. Clips that already fit are copied. Examples:

    millrace convert data/aloha out/aloha_gr1 --map aloha_to_gr1_rescaled

    millrace convert data/aloha out/aloha_224 --robot aloha --image-size 224

    millrace convert data/droid out/droid --robot same --image-size 320x180

    millrace convert data/aloha out/aloha_wide --robot aloha --image-size 256 --crop none

    millrace convert data/aloha out/few --map aloha_to_gr1_rescaled --episodes 0:10 --dry-run

    millrace convert --recipe g1.yaml out/g1 --holdout 0.05

    millrace convert data/mine out/mine --robot same --layout v2.1,v3.0
    """

    source: Annotated[
        Path | None, tyro.conf.Positional, arg(metavar="[SOURCE]", help_behavior_hint=REQUIRED_WITHOUT_RECIPE)
    ] = None
    """Source dataset: a folder of any LeRobot layout, of HDF5 files, or of recordings of Unitree's xr_teleoperate; or
    hf://org/name[@revision] on the Hub."""
    out: Annotated[Path | None, tyro.conf.Positional, arg(metavar="OUT", help_behavior_hint="(required)")] = None
    """Folder of the new dataset."""
    recipe: Annotated[Path | None, option("FILE")] = None
    """Convert what a recipe says: many sources, one dataset."""
    map: Annotated[str | None, option("NAME|FILE")] = None
    """How joints become joints: a shipped map, or a map file of your own; by default the only one that fits."""
    robot: Annotated[str | None, option("NAME|FILE|same")] = None
    """What to convert to: a shipped robot, or a robot file of your own. Data of that robot keeps its joints. With
    "same" any data keeps its robot, and only rate, images, cameras and layout change."""
    fps: Annotated[str | None, option("HZ|source")] = None
    """Target rate: 20 by default, 30000/1001, or "source" to keep the source's."""
    image_size: Annotated[str | None, option("PIXELS|WxH|source")] = None
    """Size of the output images: the side of squares, 256 by default; width x height such as 320x180; or "source" to
    keep each camera's own. Sides are even. With --crop none a number is the longer side: 256 makes 640x480 256x192."""
    crop: Annotated[Literal["center", "pad", "none"] | None, option("center|pad|none")] = None
    """How frames come to that size: whole with black bars (pad), as GR00T does with live frames; cropped to its aspect
    (center); or whole without bars (none), so that cameras of different aspect differ in size. By default pad, unless
    the map follows a guide that crops, as aloha_to_gr1 does; with --image-size source, none."""
    resample: Annotated[Literal["nearest", "linspace"] | None, option("nearest|linspace")] = None
    """The frame nearest in time (default), or the ALOHA guide's stretched choice."""
    action: Annotated[
        Literal["at_frame", "mid_interval", "end_of_interval"] | None, option("at_frame|mid_interval|end_of_interval")
    ] = None
    """Which recorded action a frame has where others are dropped: its own (default), or that in force in the middle or
    at the end of its time; a controller that holds an action follows the recording best with mid_interval."""
    episodes: Annotated[str | None, option("A:B|LIST")] = None
    """Some episodes only: A:B, or a list such as 0,3,10:20."""
    task: Annotated[str | None, option("TEXT")] = None
    """What the robot does in episodes whose source does not say so."""
    task_all: Flag = False
    """The text of --task for all episodes, in place of what the source says."""
    camera: Annotated[tuple[str, ...], option("TARGET=SOURCE|-NAME ...")] = ()
    """Cameras by another name than the map's, for example ego_view=cam_high; -NAME skips one."""
    cameras: Annotated[str | None, option("NAME,NAME")] = None
    """Only these cameras of the output, in this order; by default all."""
    columns: Annotated[str | None, option("NAME,NAME|none")] = None
    """Only these columns beside state and action, such as next.reward, which each source must have; by default all that
    the sources have alike. Rewards are summed over frames that are dropped, and flags are true where any was."""
    without_columns: Annotated[str | None, option("NAME,NAME")] = None
    """Columns beside state and action to leave out."""
    source_fps: Annotated[str | None, option("HZ")] = None
    """The source's rate, where its metadata is wrong or does not say it."""
    format: Annotated[str | None, option("NAME|FILE")] = None
    """Which keys of HDF5 files are state, action and cameras: aloha_act, isaaclab, libero, robomimic, or a file of your
    own; by default the one that fits."""
    language: Annotated[str | None, option("COLUMN")] = None
    """The column that holds each row's instruction, as text or as a number among the tasks; by default task_index."""
    trim_mismatch: Annotated[int | None, option("FRAMES")] = None
    """Frames or rows that may be dropped at the end of an episode where its rows and videos differ in length."""
    trim_idle: Flag = False
    """Cut still stretches at the start and the end of each episode, but for --idle-keep."""
    drop_pauses: Annotated[str | None, option("SECONDS")] = None
    """Cut still stretches within an episode that are longer than this, such as 1.0s, but for --idle-keep."""
    idle_keep: Annotated[str | None, option("SECONDS")] = None
    """How much stays of each still stretch that is cut; 0.2s by default."""
    still: Annotated[tuple[str, ...], option("GROUP=WIDTH ...")] = ()
    """How far joints of a group may stray while they count as still, in the group's unit, such as left_arm=0.02."""
    follow_links: Flag = False
    """Follow links that lead out of the dataset's folder wherever they lead. Without it only those are followed whose
    owner, and that of what they lead to, is the folder's, and none of a folder that was downloaded or cloned."""
    cut_off: Annotated[Literal["keep", "fail"] | None, option("keep|fail")] = None
    """Recordings that were cut off, whose file ends within its rows: convert the whole rows (keep), or leave the
    episode out (fail, the default) and say how many rows are whole."""
    horizon: Annotated[int | None, option("STEPS")] = None
    """Steps in an action chunk; by default the robot's."""
    gop: Annotated[int | None, option("FRAMES")] = None
    """Frames from key frame to key frame of the output videos, 10 by default."""
    chunks_size: Annotated[int | None, option("EPISODES")] = None
    """Episodes in a folder, 1000 by default."""
    holdout: Annotated[str | None, option("SHARE|LIST")] = None
    """Put some episodes into OUT_heldout, for evaluation: a share such as 0.05 or 1/20, or a list such as 3,7."""
    layout: Annotated[str, option("v2.1|v3.0|v2.1,v3.0")] = "v2.1"
    """LeRobot's layout: v2.1, which GR00T reads, v3.0 for LeRobot 0.4 and later, or both, of the same clips; v3.0 then
    goes to OUT_v30."""
    data_file_mb: Annotated[int, arg(metavar="MB")] = 100
    """Size of v3.0's parquet files, at most where they hold several episodes."""
    video_file_mb: Annotated[int, arg(metavar="MB")] = 200
    """Likewise of its videos, none of which is longer than 1024 s."""
    workers: Annotated[int | None, option("CORES")] = None
    """Cores to use; by default all."""
    executor: Annotated[ExecutorName, option("auto|local|ray")] = "auto"
    """What runs the episodes: processes of this machine (local), which start at once, or Ray Data (ray). auto takes Ray
    Data where --address or RAY_ADDRESS names a cluster, and where this machine alone would need more than five
    minutes, at 800 frames a second on each core; GPUs are always used through Ray."""
    address: Annotated[str | None, option("ADDRESS")] = None
    """A running Ray cluster, for example "auto"; OUT must be a folder that all nodes share."""
    device: Annotated[Device | None, option("auto|cpu|cuda")] = None
    """Where frames are decoded, resized and encoded: auto uses a GPU where that helps (see `millrace doctor`), cuda
    requires one. By default what the recipe says, or auto."""
    gpu_share: Annotated[float, arg(metavar="SHARE")] = GPU_SHARE
    """Share of a GPU that each worker takes, if it uses one."""
    local: Flag = False
    """In this process, for debugging; the same as --executor local --workers 1."""
    overwrite: Flag = False
    """Delete what an earlier run made in OUT."""
    verify: Flag = False
    """Check files of an earlier run by digest, not only by size."""
    skip_bad: Flag = False
    """Finish without the episodes that cannot be converted; millrace.json lists them. Later runs try these again until
    the dataset is finished; then only those fixed in the source since, or all with --retry-skipped."""
    retry_skipped: Flag = False
    """As --skip-bad, and try the skipped episodes of a finished OUT again."""
    report: Flag = False
    """Also write OUT/report.html, a page to look at: see `millrace report`."""
    json: Flag = False
    """Print the summary, or the error with the failed episodes, as JSON."""
    dry_run: Flag = False
    """Only say what would be done: frames, bytes, time."""
    debug: Flag = False
    """Show tracebacks."""

    @property
    def when_stopped(self) -> str:
        """The message after Ctrl-C."""
        if self.dry_run:
            return "stopped"
        same = "command without --overwrite" if self.overwrite else "command again"
        return f"stopped; the same {same} continues where this one stopped"

    def run(self) -> int:
        """Convert, or with --dry-run print what would be done."""
        out = self._out()
        recipe = self._recipe()
        layouts = self._layouts()
        console, workers = Console(), Workers(self.workers, self.address, self.local, self.gpu_share, self.executor)
        if self.dry_run:
            num_workers = 1 if self.local else self.workers or usable_cores()
            if workers.cluster is None:
                num_workers = min(num_workers, usable_cores())
            found = estimate(recipe, out, workers=workers, overwrite=self.overwrite, layouts=layouts)
            found = replace(found, notes=tuple(write_recipe_keys(note, recipe) for note in found.notes))
            if self.json:
                print(to_json_text(found))
            else:
                print_estimate(found, num_workers, console)
                if layouts.is_packed:
                    console.print("note: the size is that of one layout; joining files needs as much again")
            return 0
        rerun = Rerun(
            overwrite=self.overwrite, verify=self.verify, skip_bad=self.skip_bad, retry_skipped=self.retry_skipped
        )
        summary = convert_with_progress(recipe, out, workers, rerun, layouts, as_json=self.json)
        if self.report:
            write_reports(summary, out)
        return 0

    def _layouts(self) -> Layouts:
        return Layouts.parse(
            self.layout,
            data_file_mb=self.data_file_mb,
            video_file_mb=self.video_file_mb,
            num_processes=1 if self.local else min(self.workers or usable_cores(), usable_cores()),
        )

    def _out(self) -> Path:
        """The folder of the new dataset; with --recipe it is the only positional argument."""
        out = self.out or self.source
        if out is None or (self.recipe is None and self.out is None):
            raise RecipeError("convert takes SOURCE and OUT, or --recipe FILE and OUT")
        if self.recipe is not None and self.out is not None:
            advice = Remedy(f"name {self.source} among the sources of {self.recipe}")
            raise RecipeError("convert --recipe takes OUT alone: ", advice, got=str(self.source))
        return out

    def _recipe(self) -> Recipe:
        if self.recipe is not None:
            return self._from_file(self.recipe)
        assert self.source is not None, "OUT is named, and no recipe"
        if self.task_all and self.task is None:
            advice = Remedy('add --task "WHAT IT DOES"')
            raise RecipeError("--task-all puts the text of --task in place of every task: ", advice)
        settings = self._given((*SETTINGS, *SOURCE_FLAGS, *OUTPUT_FLAGS))
        return Recipe.single(
            self.source,
            cameras=dict(_assignment(text) for text in self.camera if not _skipped_camera(text)),
            **settings,
            **self._camera_settings(),
            **self._column_settings(),
            **self._cut_settings(),
        )

    def _camera_settings(self) -> dict[str, Any]:
        """The settings for the output's cameras that the flags give."""
        found = {} if self.cameras is None else {"only_cameras": _names("cameras", self.cameras, "ego_view,wrist")}
        skipped = tuple(name for text in self.camera if (name := _skipped_camera(text)))
        return {**found, "without_cameras": skipped} if skipped else found

    def _column_settings(self) -> dict[str, Any]:
        """The settings for columns beside state and action that the flags give."""
        given = {name: getattr(self, name) for name in ("columns", "without_columns")}
        example = "next.reward,next.done"
        return {
            name: () if text == NONE else _names(name, text, example)
            for name, text in given.items()
            if text is not None
        }

    def _cut_settings(self) -> dict[str, Any]:
        """The settings for still stretches that the flags give."""
        if self.idle_keep is not None and not self.trim_idle and self.drop_pauses is None:
            raise RecipeError("--idle-keep says how much stays: ", Remedy("add --trim-idle or --drop-pauses SECONDS"))
        keep = {} if self.idle_keep is None else {"keep": self.idle_keep}
        found: dict[str, Any] = {"trim_idle": keep} if self.trim_idle else {}
        if self.drop_pauses is not None:
            found["drop_pauses"] = {"longer_than": self.drop_pauses, **keep}
        return {**found, "still": dict(map(_width, self.still))} if self.still else found

    def _from_file(self, path: Path) -> Recipe:
        """The recipe of a file, with --holdout and --device of the command line."""
        # None, () or False; a 0 or an empty text is given.
        unset = {field.name: field.default for field in fields(self) if field.name in RECIPE_FLAGS}
        if given := [name for name in RECIPE_FLAGS if getattr(self, name) is not unset[name]]:
            advice = Remedy(f"with --recipe, say it in {path}")
            raise RecipeError(f"{', '.join(map(name_flag, given))}: ", advice, got=given)
        if self.holdout is not None and not is_share(self.holdout):
            advice = Remedy(f"list episodes under `holdout:` of a source in {path}")
            raise RecipeError(f"--holdout {self.holdout}: ", advice, got=self.holdout)
        return read_recipe(path, **self._given(OUTPUT_FLAGS))

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def _width(text: str) -> tuple[str, float]:
    group, _, width = text.partition("=")
    try:
        return group, float(width)
    except ValueError:
        message = f"--still takes GROUP=WIDTH, for example left_arm=0.02, not {text!r}"
        raise RecipeError(message, got=text, expected="GROUP=WIDTH") from None


def _names(setting: str, text: str, example: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        message = f"{name_flag(setting)} takes names such as {example}, not {text!r}"
        raise RecipeError(message, got=text, expected="NAME,NAME")
    return names


def _skipped_camera(text: str) -> str | None:
    """The camera that -NAME skips; NAME= does the same, for shells and parsers that take -NAME for a flag."""
    return text[1:] if text.startswith("-") else text[:-1] if text.endswith("=") else None


def _assignment(text: str) -> tuple[str, str]:
    target, separator, source = text.partition("=")
    if not (target and separator and source):
        message = f"--camera takes TARGET=SOURCE, for example ego_view=cam_high, or -NAME, not {text!r}"
        raise RecipeError(message, got=text, expected="TARGET=SOURCE or -NAME")
    return target, source


def convert_with_progress(
    recipe: Recipe,
    out: Path,
    workers: Workers,
    rerun: Rerun = Rerun(),
    layouts: Layouts = Layouts(),
    *,
    as_json: bool = False,
) -> Summary:
    """Convert with a progress bar, then print a summary, as a table or JSON, and return it."""
    progress = ConversionProgress(Console(stderr=True))
    try:
        with progress.bar:
            summary = convert(
                recipe,
                out,
                workers=workers,
                **asdict(rerun),
                layouts=layouts,
                on_plan=progress.on_plan,
                on_result=progress.on_result,
                on_retry=progress.on_retry,
            )
    except KeyboardInterrupt:
        progress.print_stopped()
        raise
    except EpisodesFailed as error:
        if not as_json:
            print_quarantine(error.quarantined, Console())
        advice = progress.advise(out, skips_bad=rerun.skip_bad or rerun.retry_skipped)
        advised = (*error.advice, advice)
        raise EpisodesFailed(error.problems, advised, quarantined=error.quarantined) from error
    if as_json:
        print(to_json_text(summary))
    else:
        print_summary(summary, str(out), Console())
    return summary
