"""Run a conversion, with a progress bar and a summary."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from millrace.commands.json_output import to_json_text
from millrace.commands.last_words import HEAD_IS_GONE, last_words
from millrace.commands.progress import ConversionProgress, print_quarantine, print_summary
from millrace.commands.report_page import write_reports
from millrace.commands.tables import make_console
from millrace.engine.convert import convert
from millrace.engine.errors import EpisodesFailed
from millrace.engine.execution.workers import Workers
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.recipe import Recipe
from millrace.engine.run import Rerun
from millrace.engine.stored.staging import name_output
from millrace.engine.summary import Summary


def convert_with_progress(
    recipe: Recipe,
    out: Path,
    workers: Workers,
    rerun: Rerun = Rerun(),
    layouts: Layouts = Layouts(),
    *,
    staging: Path | None = None,
    as_json: bool = False,
    with_report: bool = True,
) -> Summary:
    """Convert with a progress bar, write reports, print a summary, as a table or JSON, and return it."""
    progress = ConversionProgress(Console(stderr=True))
    finished: list[tuple[ConversionPlan, Path, Path]] = []
    try:
        with nullcontext() if workers.cluster is None else last_words(HEAD_IS_GONE), progress.bar:
            summary = convert(
                recipe,
                out,
                workers=workers,
                **asdict(rerun),
                layouts=layouts,
                staging=staging,
                on_plan=progress.on_plan,
                on_result=progress.on_result,
                on_retry=progress.on_retry,
                on_renumber=progress.on_renumber,
                on_finish=lambda *dataset: finished.append(dataset),
            )
    except KeyboardInterrupt:
        progress.print_stopped()
        raise
    except EpisodesFailed as error:
        if not as_json:
            print_quarantine(error.quarantined, make_console())
        advice = progress.advise(name_output(out), skips_bad=rerun.skip_bad or rerun.retry_skipped)
        advised = (*error.advice, advice)
        raise EpisodesFailed(error.problems, advised, quarantined=error.quarantined) from error
    if with_report:
        write_reports(finished)
    if as_json:
        print(to_json_text(summary))
    else:
        print_summary(summary, name_output(out), make_console())
    return summary
