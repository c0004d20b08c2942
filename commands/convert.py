"""`millrace convert`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.conversion import convert_with_progress
from millrace.commands.convert_flags import ConvertFlags
from millrace.commands.flags_to_recipe import make_recipe, read_recipe_with_flags
from millrace.commands.json_output import to_json_text
from millrace.commands.progress import print_estimate, show_stages
from millrace.commands.tables import make_console
from millrace.embodiments import Remedy
from millrace.engine.convert import estimate
from millrace.engine.errors import RecipeError
from millrace.engine.execution.capacity import usable_cores
from millrace.engine.execution.workers import Workers
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_problems import write_recipe_keys
from millrace.engine.run import Rerun
from millrace.train.flag_types import option

REQUIRED_WITHOUT_RECIPE = "(required without --recipe)"


@dataclass(frozen=True, kw_only=True)
class Convert(ConvertFlags):
    """Convert LeRobot datasets into one that GR00T N1.6 and N1.7 train on.

    The same command again continues a run that was stopped. Clips that already fit are copied. Examples:

    millrace convert data/aloha out/aloha_gr1 --map aloha_to_gr1_rescaled

    millrace convert data/aloha out/aloha_224 --robot aloha --image-size 224

    millrace convert data/droid out/droid --robot same --image-size 320x180

    millrace convert data/aloha out/aloha_wide --robot aloha --image-size 256 --crop none

    millrace convert data/aloha out/few --map aloha_to_gr1_rescaled --episodes 0:10 --dry-run

    millrace convert data/aloha out/good --robot aloha --min-length 2s --max-idle 0.5 --tasks "pick *" --dry-run

    millrace convert --recipe g1.yaml out/g1 --holdout 0.05

    millrace convert data/mine out/mine --robot same --layout v2.1,v3.0
    """

    source: Annotated[
        Path | None, tyro.conf.Positional, arg(metavar="[SOURCE]", help_behavior_hint=REQUIRED_WITHOUT_RECIPE)
    ] = None
    """Source dataset: a folder of any LeRobot layout, of HDF5 files, or of recordings of Unitree's xr_teleoperate; or
    hf://org/name[@revision] on the Hub, or an address in a store, such as s3://bucket/folder."""
    out: Annotated[Path | None, tyro.conf.Positional, arg(metavar="OUT", help_behavior_hint="(required)")] = None
    """Folder of the new dataset; or its address in an object store, such as s3://bucket/folder."""
    recipe: Annotated[Path | None, option("FILE")] = None
    """Convert what a recipe says: many sources, one dataset."""

    @property
    def when_stopped(self) -> str:
        """The message after Ctrl-C."""
        if self.dry_run:
            return "stopped"
        same = "command without --overwrite" if self.overwrite else "command again"
        return f"stopped; the same {same} continues where this one stopped"

    def run(self) -> int:
        """Convert, or with --dry-run print what would be done."""
        out, recipe, layouts = self._out(), self._recipe(), self._layouts()
        workers = Workers(self.workers, self.address, self.local, self.gpu_share, self.executor, self.ship)
        if self.dry_run:
            self._estimate(recipe, out, workers, layouts)
            return 0
        rerun = Rerun(
            overwrite=self.overwrite, verify=self.verify, skip_bad=self.skip_bad, retry_skipped=self.retry_skipped
        )
        convert_with_progress(
            recipe, out, workers, rerun, layouts, staging=self.staging, as_json=self.json, with_report=self.report
        )
        return 0

    def _estimate(self, recipe: Recipe, out: Path, workers: Workers, layouts: Layouts) -> None:
        """Print what would be done."""
        with show_stages(Console(stderr=True)) as on_progress:
            found = estimate(
                recipe,
                out,
                workers=workers,
                overwrite=self.overwrite,
                layouts=layouts,
                staging=self.staging,
                on_progress=on_progress,
            )
        found = replace(found, notes=tuple(write_recipe_keys(note, recipe) for note in found.notes))
        if self.json:
            print(to_json_text(found))
            return
        num_workers = 1 if self.local else self.workers or usable_cores()
        if workers.cluster is None:
            num_workers = min(num_workers, usable_cores())
        print_estimate(found, num_workers, make_console())
        if layouts.is_packed:
            print("note: the size is that of one layout; joining files needs as much again")

    def _recipe(self) -> Recipe:
        if self.recipe is not None:
            return read_recipe_with_flags(self, self.recipe)
        assert self.source is not None, "OUT is named, and no recipe"
        return make_recipe(self, self.source)

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
