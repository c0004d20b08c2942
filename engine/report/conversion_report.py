"""Make the report of a finished conversion, OUT/report.html: what was made, beside what it was made of."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from millrace.embodiments import Message, MillraceError
from millrace.engine.dataset.manifest import read_lineages
from millrace.engine.dataset.record import FileRecord
from millrace.engine.inspection.inspect_dataset import inspect_source, select_inspected
from millrace.engine.layout import REPORT
from millrace.engine.output.warning_sums import remove_roots
from millrace.engine.planning import ConversionPlan
from millrace.engine.report.dataset_report import describe_dataset
from millrace.engine.report.make_report import PIXEL_BUDGET, draw, write_page
from millrace.engine.report.origins import read_origins
from millrace.engine.report.page import render_page
from millrace.engine.report.recordings import find_source_recordings
from millrace.engine.sources import SourceDataset, SourceEpisode, hide_targets, open_source
from millrace.engine.stored import finished_files
from millrace.engine.text import printable

# Of a dataset of any size, so that a report takes a few seconds at most.
MAX_EPISODES = 100


@dataclass(frozen=True)
class ReportFile:
    """The report of a finished dataset. why: it could not be made; None: it is there."""

    path: Path
    why: str | None = None


def report_conversion(
    plan: ConversionPlan, made: Path, folder: Path, *, write: Callable[[str], str] = printable
) -> ReportFile:
    """Write the report of a finished dataset into its folder, unless it is there; whatever fails is returned.

    The same dataset and sources give the same bytes, whatever converted them and wherever they lie.

    Args:
        plan: Of the conversion.
        made: Where its manifest lies.
        folder: The dataset, in any layout.
        write: Makes a message a line of text.
    """
    report = folder / REPORT
    try:
        if not report.is_file():
            write_page(report, _make_page(plan, made, folder, write))
    except (MillraceError, OSError) as error:
        return ReportFile(report, Message(error))
    except Exception as error:  # a finished conversion does not fail for a bug in its report
        return ReportFile(report, f"internal error, {type(error).__name__}: {error}")
    return ReportFile(report)


def _make_page(plan: ConversionPlan, made: Path, folder: Path, write: Callable[[str], str]) -> str:
    dataset = open_source(folder)
    chosen = select_inspected(dataset, None, max_episodes=MAX_EPISODES)
    with finished_files(folder).at_hand(_files_of(made, {episode.index for episode in chosen})):
        return _draw_page(plan, made, dataset, chosen, write)


def _files_of(made: Path, episodes: Collection[int]) -> Iterator[FileRecord]:
    """The files of some episodes, as the manifest lists them."""
    for lineage in read_lineages(made):
        if lineage.episode_index in episodes:
            yield from lineage.files


def _draw_page(
    plan: ConversionPlan,
    made: Path,
    dataset: SourceDataset,
    chosen: Sequence[SourceEpisode],
    write: Callable[[str], str],
) -> str:
    inspection = inspect_source(
        dataset,
        chosen,
        on_progress=lambda stage, num_done, num_all: None,
        pixel_budget=PIXEL_BUDGET,
        robot=plan.target,
    )
    title, name = ("Held-out episodes", "OUT_heldout") if plan.split == "held out" else ("Converted dataset", "OUT")

    def tidy(text: str) -> str:
        """A message without folders of this machine."""
        shown = hide_targets(write(remove_roots(text, plan)))
        return shown.replace(f"{dataset.root}/", "").replace(str(dataset.root), name)

    find = partial(find_source_recordings, plan, made)
    drawn = draw(dataset, inspection, chosen, robot=plan.target, write=tidy, recordings=find)
    origins = read_origins(made, plan)
    return render_page(describe_dataset(inspection, drawn, origins, title=title, judgement=None, write=tidy))
