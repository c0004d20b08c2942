"""Steps of a pipeline file: each section is a command that takes its inputs from the sections before it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from millrace.commands.convert import convert_with_progress
from millrace.commands.evaluate import Evaluate
from millrace.commands.finetune import Finetune
from millrace.commands.pipeline_file import PipelineFile, StepKind
from millrace.commands.upload import Upload
from millrace.embodiments import MillraceError, is_path
from millrace.engine.errors import SeveralProblems
from millrace.engine.execution.workers import ExecutorName, Workers
from millrace.engine.layout import META
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import parse_recipe, read_recipe
from millrace.engine.run import Rerun
from millrace.engine.video.backends import GPU_SHARE
from millrace.train.pipeline import Step
from millrace.train.run_folder import COMPLETE, checkpoint_step, newest_checkpoint
from millrace.train.run_identity import dataset_digest
from millrace.train.settings import FinetuneSettings

EVALUATION = "evaluation.json"  # in the run's folder, unless the file says otherwise
UPLOADED = "uploaded"

Value = TypeVar("Value")


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
    skip_bad: bool = False
    verify: bool = False


CONVERT = StepKind(ConvertKeys, excluded=())
# A stopped step continues with the pipeline: it must not begin by deleting what it has made.
FINETUNE = StepKind(Finetune, excluded=("dry_run", "overwrite"))
EVALUATE = StepKind(
    Evaluate,
    excluded=("paths", "server", "timeout", "use_sim_policy_wrapper"),
    extra={"checkpoints": tuple[Path, ...], "dataset": Path},
)
UPLOAD = StepKind(Upload, excluded=("folder",), extra={"folder": Path})


@dataclass(frozen=True)
class ConvertSection:
    """The section `convert`, checked."""

    recipe: Recipe
    keys: ConvertKeys
    workers: Workers

    @property
    def heldout(self) -> Path | None:
        """The held-out dataset's folder, if any episodes are held out."""
        is_held = self.recipe.holdout or any(source.holdout for source in self.recipe.sources)
        return heldout_folder(self.keys.out) if is_held else None


def read_steps(file: PipelineFile) -> list[Step]:
    """Read the steps of a file, in the order in which they run.

    Raises:
        RecipeProblems: everything that is wrong with the file.
    """
    converted = _read_convert(file)
    settings = _finetune_settings(file, converted)
    steps = [
        None if converted is None else _convert_step(converted),
        None if settings is None else _finetune_step(*settings),
        _evaluate_step(file, converted, None if settings is None else settings[1]),
        _upload_step(file, None if settings is None else settings[1]),
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
        workers = Workers(keys.workers, keys.address, keys.local, keys.gpu_share, keys.executor)
        if isinstance(keys.recipe, Path):
            return ConvertSection(read_recipe(keys.recipe, **settings), keys, workers)
        return ConvertSection(parse_recipe(file.subsection("convert", "recipe"), **settings), keys, workers)
    except SeveralProblems as error:
        file.add_cited(error.problems)
    except MillraceError as error:
        file.add(("convert",), error)
    return None


def _convert_step(converted: ConvertSection) -> Step:
    keys, recipe, workers = converted.keys, converted.recipe, converted.workers
    folders = [keys.out] if converted.heldout is None else [keys.out, converted.heldout]
    sources = ", ".join(str(source.path) for source in recipe.sources)
    files = [
        Path(name) for name in (recipe.robot, *(source.map for source in recipe.sources)) if name and is_path(name)
    ]

    def run() -> int:
        convert_with_progress(recipe, keys.out, workers, Rerun(verify=keys.verify, skip_bad=keys.skip_bad))
        return 0

    return Step(
        "convert",
        f"{sources} into {', '.join(map(str, folders))}",
        _dump({"recipe": recipe.model_dump_json(), "out": keys.out}, files),
        run,
        lambda: _join(_made_dataset(folder) for folder in folders),
        checks_itself=True,  # only convert sees that a source has changed
    )


def _finetune_settings(
    file: PipelineFile, converted: ConvertSection | None
) -> tuple[Finetune, FinetuneSettings] | None:
    values = file.section("finetune", FINETUNE)
    if values is None:
        return None
    if converted is not None and not {"datasets", "dataset_path"} & set(values):
        values["datasets"] = (converted.keys.out,)
    values.setdefault("output_dir", file.folder / Finetune.output_dir)
    base = file.folder / values["base_model_path"]
    command = Finetune(**values | ({"base_model_path": str(base)} if base.is_dir() else {}))
    settings = _attempt(file, "finetune", command.settings)
    return None if settings is None else (command, settings)


def _finetune_step(command: Finetune, settings: FinetuneSettings) -> Step:
    datasets = ", ".join(map(str, settings.datasets))
    summary = f"{settings.base_model_path} on {datasets}, {settings.max_steps} steps into {settings.run_folder}"

    def made() -> str | None:
        newest = newest_checkpoint(settings.run_folder)
        if newest is None or checkpoint_step(newest) < settings.max_steps:
            return None
        return f"{newest} {(newest / COMPLETE).stat().st_mtime_ns}"

    files = (*settings.import_module, settings.modality_config_path)
    return Step("finetune", summary, _dump(asdict(settings), files), command.run, made)


def _evaluate_step(file: PipelineFile, converted: ConvertSection | None, run: FinetuneSettings | None) -> Step | None:
    values = file.section("evaluate", EVALUATE)
    if values is None:
        return None
    folder = None if run is None else run.run_folder
    # Every checkpoint that the run has kept, so that the best is named.
    checkpoints = values.pop("checkpoints", None) or (() if folder is None else (folder,))
    dataset = values.pop("dataset", None) or (None if converted is None else converted.heldout)
    report = values.pop("json", None) or (None if folder is None else folder / EVALUATION)
    # What follows from a section that is wrong is not known.
    can_tell = folder is not None or "finetune" not in file.content
    if can_tell and not checkpoints:
        file.add(("evaluate",), "checkpoints is missing: there is no section finetune that makes some")
    if can_tell and report is None:
        file.add(("evaluate",), "json is missing: the file by which it is known that this is done")
    if dataset is None and (converted is not None or "convert" not in file.content):
        file.add(("evaluate",), "dataset is missing: convert holds no episodes out (holdout: 0.05)")
    if not checkpoints or report is None or dataset is None:
        return None
    command = Evaluate(paths=tuple(map(str, (*checkpoints, dataset))), json=report, **values)
    if _attempt(file, "evaluate", command.settings) is None:
        return None
    summary = f"{', '.join(map(str, checkpoints))} on {dataset} into {report}"
    return Step(
        "evaluate", summary, _dump(asdict(command), command.import_module), command.run, lambda: _digest(report)
    )


def _upload_step(file: PipelineFile, run: FinetuneSettings | None) -> Step | None:
    values = file.section("upload", UPLOAD)
    if values is None:
        return None
    if "folder" not in values and run is not None:
        values = {"kind": "model", **values, "folder": run.run_folder / f"checkpoint-{run.max_steps}"}
    if "folder" not in values:
        if "finetune" not in file.content:
            file.add(("upload",), "folder is missing: there is no section finetune that makes one")
        return None
    command = Upload(**values)
    summary = f"{command.kind} {command.folder} to {command.repo}"
    return Step("upload", summary, _dump(asdict(command)), command.run, lambda: UPLOADED)


def _attempt(file: PipelineFile, name: str, work: Callable[[], Value]) -> Value | None:
    try:
        return work()
    except MillraceError as error:
        file.add((name,), error)
        return None


def _made_dataset(folder: Path) -> str | None:
    return dataset_digest(folder) if (folder / META / "info.json").is_file() else None


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _join(parts: Iterable[str | None]) -> str | None:
    told = list(parts)
    return None if None in told else " ".join(str(part) for part in told)


def _dump(values: Mapping[str, Any], files: Iterable[Path | None] = ()) -> str:
    """Settings as text, with digests of files that they name: a map, the user's own model type."""
    return json.dumps([values, [_digest(file) for file in files if file]], default=str, sort_keys=True)
