"""The last steps of a pipeline file: score the checkpoints that were trained, upload the best."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from millrace.commands.evaluate import Evaluate
from millrace.commands.pipeline_file import PipelineFile, StepKind, digest_datasets, dump_settings, file_digest
from millrace.commands.upload import Upload
from millrace.embodiments import MillraceError
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.output.upload import check_token, parse_repository
from millrace.train.pipeline import Step
from millrace.train.run_folder import newest_checkpoint
from millrace.train.scores import read_best
from millrace.train.settings import FinetuneSettings

EVALUATION = "evaluation.json"  # in the run's folder, unless the file says otherwise
UPLOADED = "uploaded"

EVALUATE = StepKind(
    Evaluate,
    excluded=("paths", "server", "timeout", "use_sim_policy_wrapper", "token_file"),
    extra={"checkpoints": tuple[Path, ...], "dataset": Path},
)
UPLOAD = StepKind(Upload, excluded=("folder",), extra={"folder": Path, "checkpoint": Literal["best", "last"]})


def evaluate_step(
    file: PipelineFile,
    run: FinetuneSettings | None,
    heldout: Path | None,
    *,
    is_converted: bool,
    gr00t: GrootChoice = "auto",
) -> tuple[Step, Path] | None:
    """The step of the section `evaluate`, and the file with its scores; None without such a section, or a sound one.

    Args:
        run: That of the section `finetune`, if there is a sound one.
        heldout: The folder of the episodes that the section `convert` holds out.
        is_converted: Whether there is a sound section `convert`.
        gr00t: The release of GR00T, where the section does not name one.
    """
    values = file.section("evaluate", EVALUATE)
    if values is None:
        return None
    values.setdefault("gr00t", gr00t)
    folder = None if run is None else run.run_folder
    # Every checkpoint that the run has kept, so that the best is named.
    given, named = values.pop("checkpoints", None), values.pop("dataset", None)
    checkpoints = given or (() if folder is None else (folder,))
    dataset = named or heldout
    report = values.pop("json", None) or (None if folder is None else folder / EVALUATION)
    # What follows from a section that is wrong is not known.
    if folder is not None or "finetune" not in file.content:
        _add_missing(file, has_checkpoints=bool(checkpoints), has_report=report is not None)
    if dataset is None and (is_converted or "convert" not in file.content):
        lacking = "convert holds no episodes out (holdout: 0.05), or makes no LeRobot v2.1"
        file.add(("evaluate",), f"dataset is missing: {lacking}")
    if not checkpoints or report is None or dataset is None:
        return None
    command = Evaluate(paths=tuple(map(str, (*checkpoints, dataset))), json=report, **values)
    settings = file.attempt("evaluate", command.settings)
    if settings is None:
        return None

    def judge() -> Iterator[str]:
        from millrace.train.preflight.evaluation import evaluation_problems

        there = tuple(str(path) for path in given or ())
        yield from evaluation_problems(settings, there, named, draws=command.plots is not None)

    summary = f"{', '.join(map(str, checkpoints))} on {dataset} into {report}"
    told = dump_settings(asdict(command), command.import_module)
    step = Step(
        "evaluate",
        summary,
        told,
        command.run,
        lambda: file_digest(report),
        judge=judge,
        read_inputs=lambda: digest_datasets([dataset]),
    )
    return step, report


def _add_missing(file: PipelineFile, *, has_checkpoints: bool, has_report: bool) -> None:
    if not has_checkpoints:
        file.add(("evaluate",), "checkpoints is missing: there is no section finetune that makes some")
    if not has_report:
        file.add(("evaluate",), "json is missing: the file by which it is known that this is done")


def upload_step(file: PipelineFile, run: FinetuneSettings | None, report: Path | None) -> Step | None:
    """The step of the section `upload`; None without such a section, or a sound one.

    Args:
        run: That of the section `finetune`, if there is a sound one.
        report: The file with the scores of the section `evaluate`, if there is a sound one.
    """
    values = file.section("upload", UPLOAD)
    if values is None:
        return None
    folder, choice = values.pop("folder", None), values.pop("checkpoint", None)
    if folder is not None and choice is not None:
        file.add(
            ("upload", "checkpoint"), "checkpoint chooses one of finetune's; folder names another: give one of them"
        )
    if folder is None and "finetune" not in file.content:
        file.add(("upload",), "folder is missing: there is no section finetune that makes one")
    if choice == "best" and "evaluate" not in file.content:
        file.add(("upload", "checkpoint"), "best is known only where a section evaluate scores the checkpoints")
    values = values if folder is not None else {"kind": "model", **values}
    if values.get("with_v30") and values.get("kind") == "model":
        file.add(("upload", "with_v30"), "with_v30: a checkpoint has no layout")
    name = file.attempt("upload", lambda: parse_repository(values["repo"], values.get("kind", "dataset")))
    is_best = choice != "last" and report is not None
    if name is None or (folder is None and run is None):
        return None

    def judge() -> Iterator[str]:
        try:
            check_token(name)
        except MillraceError as error:
            yield str(error)

    what = folder or f"the {'best' if is_best else 'last'} checkpoint of {'' if run is None else run.run_folder}"
    return Step(
        "upload",
        f"{values.get('kind', 'dataset')} {what} to {name.repo}",
        dump_settings({**values, "what": str(what)}),
        lambda: Upload(folder=folder or choose_checkpoint(run, report if is_best else None), **values).run(),
        lambda: UPLOADED,
        judge=judge,
    )


def choose_checkpoint(run: FinetuneSettings | None, report: Path | None) -> Path:
    """A run's best checkpoint by an evaluation's file; without one, the newest."""
    assert run is not None, "without a run, the section names what it works on"
    best = newest_checkpoint(run.run_folder) if report is None else read_best(report)
    return best or run.run_folder
