"""Steps of a pipeline file: each section is a command that takes its inputs from the sections before it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millrace.commands.conversion import convert_with_progress
from millrace.commands.finetune import Finetune
from millrace.commands.pipeline_checks import validate_step
from millrace.commands.pipeline_file import PipelineFile, StepKind, digest_datasets, dump_settings
from millrace.commands.pipeline_results import evaluate_step, upload_step
from millrace.commands.pipeline_rollout import rollout_step
from millrace.embodiments import MillraceError, Remedy, is_path
from millrace.engine.dataset.problems import Judgement
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.errors import RecipeError, SeveralProblems
from millrace.engine.execution.capacity import usable_cores
from millrace.engine.execution.shipping import Ship
from millrace.engine.execution.workers import ExecutorName, Workers
from millrace.engine.packing.layouts import V21, Layouts
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import parse_recipe, read_recipe
from millrace.engine.run import Rerun
from millrace.engine.sources.location import HUB, is_hub_address, parse_hub_id
from millrace.engine.stored.staging import name_output
from millrace.engine.stores.address import is_store_address
from millrace.engine.video.backends import GPU_SHARE
from millrace.train.pipeline import Step
from millrace.train.run_folder import COMPLETE, checkpoint_step, newest_checkpoint
from millrace.train.settings import FinetuneSettings


@dataclass(frozen=True)
class ConvertKeys:
    """Keys of the section `convert`: a recipe or the path of its file, and the flags that no recipe replaces."""

    recipe: Path | dict[str, Any]
    out: Path
    holdout: str | None = None
    workers: int | None = None
    address: str | None = None
    local: bool = False
    gpu_share: float = GPU_SHARE
    executor: ExecutorName = "auto"
    ship: Ship | None = None
    skip_bad: bool = False
    verify: bool = False
    layout: str = V21
    data_file_mb: int = 100
    video_file_mb: int = 200


CONVERT = StepKind(ConvertKeys, excluded=())
# A stopped step continues with the pipeline: it must not begin by deleting what it has made.
FINETUNE = StepKind(Finetune, excluded=("dry_run", "overwrite", "json"))


@dataclass(frozen=True)
class ConvertSection:
    """The section `convert`, checked."""

    recipe: Recipe
    keys: ConvertKeys
    workers: Workers
    layouts: Layouts

    @property
    def dataset(self) -> Path | None:
        """The folder that GR00T trains on: the dataset in LeRobot v2.1, if that is made."""
        return self.keys.out if self.layouts.keeps_episodes else None

    @property
    def heldout(self) -> Path | None:
        """The same of the held-out episodes, if any are."""
        return heldout_folder(self.dataset) if self.dataset is not None and self._is_held else None

    @property
    def folders(self) -> tuple[Path, ...]:
        """All datasets that it makes."""
        outs = (self.keys.out, heldout_folder(self.keys.out)) if self._is_held else (self.keys.out,)
        return tuple(folder for layout in zip(*map(self.layouts.folders, outs), strict=True) for folder in layout)

    @property
    def _is_held(self) -> bool:
        return bool(self.recipe.holdout or any(source.holdout for source in self.recipe.sources))


def read_steps(file: PipelineFile, gr00t: GrootChoice = "auto") -> list[Step]:
    """Read the steps of a file, in the order in which they run.

    Args:
        file: The file.
        gr00t: The release of GR00T, for sections that do not name one.

    Raises:
        RecipeProblems: everything that is wrong with the file.
    """
    converted = _read_convert(file)
    trained = _finetune_settings(file, converted, gr00t)
    settings = None if trained is None else trained[1]
    heldout = None if converted is None else converted.heldout
    evaluated = evaluate_step(file, settings, heldout, is_converted=converted is not None, gr00t=gr00t)
    report = None if evaluated is None else evaluated[1]
    steps = [
        None if converted is None else _convert_step(converted),
        validate_step(file, () if converted is None else converted.folders, gr00t=gr00t),
        None if trained is None else _finetune_step(*trained),
        None if evaluated is None else evaluated[0],
        rollout_step(file, settings, report, gr00t=gr00t),
        upload_step(file, settings, report),
    ]
    file.check()
    return [step for step in steps if step is not None]


def _read_convert(file: PipelineFile) -> ConvertSection | None:
    values = file.section("convert", CONVERT)
    if values is None:
        return None
    keys = ConvertKeys(**values)
    settings = {} if keys.holdout is None else {"holdout": keys.holdout}
    try:
        _check_out(keys.out)
        workers = Workers(keys.workers, keys.address, keys.local, keys.gpu_share, keys.executor, keys.ship)
        layouts = _layouts(keys)
        if isinstance(keys.recipe, Path):
            return ConvertSection(read_recipe(keys.recipe, **settings), keys, workers, layouts)
        return ConvertSection(parse_recipe(file.subsection("convert", "recipe"), **settings), keys, workers, layouts)
    except SeveralProblems as error:
        file.add_cited("convert", error.problems)
    except MillraceError as error:
        file.add(("convert",), error)
    return None


def _check_out(out: Path) -> None:
    if is_store_address(out):
        where = name_output(out)
        advice = Remedy("convert into a folder here, or into the store by a command of its own")
        raise RecipeError(f"the steps after it read a folder, not {where}: ", advice, got=where)


def _layouts(keys: ConvertKeys) -> Layouts:
    return Layouts.parse(
        keys.layout,
        data_file_mb=keys.data_file_mb,
        video_file_mb=keys.video_file_mb,
        num_processes=1 if keys.local else min(keys.workers or usable_cores(), usable_cores()),
    )


def _convert_step(converted: ConvertSection) -> Step:
    keys, recipe, folders = converted.keys, converted.recipe, converted.folders
    sources = ", ".join(_describe_source(source.path) for source in recipe.sources)
    files = [
        Path(name) for name in (recipe.robot, *(source.map for source in recipe.sources)) if name and is_path(name)
    ]

    def run() -> int:
        rerun = Rerun(verify=keys.verify, skip_bad=keys.skip_bad)
        convert_with_progress(recipe, keys.out, converted.workers, rerun, converted.layouts)
        return 0

    return Step(
        "convert",
        f"{sources} into {', '.join(map(str, folders))}",
        dump_settings({"recipe": recipe.model_dump_json(), "out": keys.out} | _packing_settings(converted), files),
        run,
        lambda: digest_datasets(folders),
        checks_itself=True,  # only convert sees that a source has changed
    )


def _describe_source(path: Path) -> str:
    return f"{HUB}{parse_hub_id(path)}" if is_hub_address(path) else str(path)


def _packing_settings(converted: ConvertSection) -> dict[str, Any]:
    """What decides the files of v3.0, where that is made."""
    layouts = converted.layouts
    return {"layouts": layouts.names, "sizes": asdict(layouts.sizes)} if layouts.is_packed else {}


def _finetune_settings(
    file: PipelineFile, converted: ConvertSection | None, gr00t: GrootChoice
) -> tuple[Finetune, FinetuneSettings] | None:
    values = file.section("finetune", FINETUNE)
    if values is None:
        return None
    if converted is not None and not {"datasets", "dataset_path"} & set(values):
        if converted.dataset is None:
            lacking = "GR00T trains on LeRobot v2.1, which convert does not make (layout: v2.1,v3.0)"
            file.add(("finetune",), f"datasets is missing: {lacking}")
            return None
        values["datasets"] = (converted.dataset,)
    values.setdefault("gr00t", gr00t)
    values.setdefault("output_dir", file.folder / Finetune.output_dir)
    base = file.folder / values["base_model_path"]
    command = Finetune(**values | ({"base_model_path": str(base)} if base.is_dir() else {}))
    settings = file.attempt("finetune", command.settings)
    return None if settings is None else (command, settings)


def _finetune_step(command: Finetune, settings: FinetuneSettings) -> Step:
    datasets = ", ".join(map(str, settings.datasets))
    summary = f"{settings.base_model_path} on {datasets}, {settings.max_steps} steps into {settings.run_folder}"

    def made() -> str | None:
        newest = newest_checkpoint(settings.run_folder)
        if newest is None or checkpoint_step(newest) < settings.max_steps:
            return None
        return f"{newest} {(newest / COMPLETE).stat().st_mtime_ns}"

    def judge() -> Iterator[str]:
        from millrace.train.preflight import preflight_without_data

        yield from Judgement(preflight_without_data(settings).errors).lines()

    files = (*settings.import_module, settings.modality_config_path)
    return Step(
        "finetune",
        summary,
        dump_settings(asdict(settings), files),
        command.run,
        made,
        judge=judge,
        read_inputs=lambda: digest_datasets(settings.all_datasets),
    )
