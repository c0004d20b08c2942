"""Make the report of a dataset: one HTML file that shows what it holds and what is remarkable."""

from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

from millrace.embodiments import Robot, is_path, load_robot
from millrace.engine.dataset.problems import Judgement
from millrace.engine.errors import RecipeError
from millrace.engine.inspection import MAX_EPISODES, Inspection
from millrace.engine.inspection.columns import choose_columns
from millrace.engine.inspection.inspect_dataset import (
    OnProgress,
    inspect_source,
    select_inspected,
)
from millrace.engine.inspection.inspect_rows import select_evenly
from millrace.engine.layout import WORK
from millrace.engine.report.curves import draw_episode
from millrace.engine.report.dataset_report import Drawn, describe_dataset
from millrace.engine.report.finding_groups import list_remarkable
from millrace.engine.report.grippers import describe_grippers
from millrace.engine.report.joint_groups import plot_groups
from millrace.engine.report.origins import read_origins
from millrace.engine.report.page import render_page
from millrace.engine.report.ranges import draw_ranges
from millrace.engine.report.recordings import SourceRecording
from millrace.engine.report.strips import choose_shown, show_episodes
from millrace.engine.sources import SourceDataset, SourceEpisode, hide_targets, open_source, why_unwritable
from millrace.engine.text import printable

# Pixels that may be decoded for findings about frames: a core decodes some 3 * 10^8 in a second.
PIXEL_BUDGET = 3e8
MAX_CURVES = 3

FindRecordings = Callable[[Collection[int]], Mapping[int, SourceRecording]]


def write_report(
    path: str | Path,
    out_html: str | Path,
    *,
    title: str | None = None,
    inspection: Inspection | None = None,
    judgement: Judgement | None = None,
    episodes: str | None = None,
    max_episodes: int = MAX_EPISODES,
    follow_links: bool = False,
    format: str | None = None,
    fps: Fraction | None = None,
    write: Callable[[str], str] = printable,
    on_progress: OnProgress = lambda stage, num_done, num_all: None,
) -> Inspection:
    """Write a report of a dataset as one HTML file that needs no network; returns what was inspected.

    The same files give the same bytes. Everything that a dataset says is shown as text.

    Args:
        path: Folder of the dataset, in any layout, or org/name[@revision] on the Hub.
        out_html: Where to write; its folder exists.
        title: Of the page; by default the name of the dataset.
        inspection: Of the same episodes, where that was made already.
        judgement: What `validate` found; listed before what the inspection did.
        episodes: Report these only: "0:40", or "3,5,10:20".
        max_episodes: Read rows and video headers of no more than these.
        follow_links, format, fps: See `open_source`.
        write: Makes a message a line of text.
        on_progress: See `inspect_dataset`.

    Raises:
        MillraceError: the dataset cannot be opened, or the file cannot be written.
    """
    dataset = open_source(path, follow_links=follow_links, format=format, fps=fps)
    chosen = select_inspected(dataset, episodes, max_episodes=max_episodes)
    if inspection is None:
        inspection = inspect_source(dataset, chosen, on_progress=on_progress, pixel_budget=PIXEL_BUDGET)
    name = title or dataset.title

    def tidy(text: str) -> str:
        text = hide_targets(write(text)).replace(f"{dataset.root}/", "").replace(str(dataset.root), name)
        return text if format is None or not is_path(format) else text.replace(format, Path(format).name)

    robot = None if inspection.robot.name is None else load_robot(inspection.robot.name)
    drawn = draw(dataset, inspection, chosen, robot=robot, write=tidy)
    origins = read_origins(dataset.root)
    page = render_page(describe_dataset(inspection, drawn, origins, title=name, judgement=judgement, write=tidy))
    write_page(Path(out_html), page)
    return inspection


def draw(
    dataset: SourceDataset,
    inspection: Inspection,
    chosen: Sequence[SourceEpisode],
    *,
    robot: Robot | None,
    write: Callable[[str], str],
    recordings: FindRecordings | None = None,
) -> Drawn:
    """Images, curves and ranges of a dataset.

    Args:
        dataset: The dataset.
        inspection: Of the chosen episodes.
        chosen: Those of its episodes of which some are shown.
        robot: Of the dataset, where that is known.
        write: Makes a message fit for the page.
        recordings: Finds what episodes of a new dataset were made of, by their numbers.
    """
    shown = choose_shown(
        chosen,
        list_remarkable(inspection.findings),
        num_cameras=len(dataset.cameras),
        has_recordings=recordings is not None,
    )
    found = {} if recordings is None else recordings([episode.index for episode in shown])
    columns = choose_columns(dataset.features, robot)
    groups = plot_groups(dataset, robot, columns, max_joints=None)
    curves = (
        draw_episode(
            episode,
            found.get(episode.index),
            groups=groups,
            columns=columns,
            fps=float(dataset.fps),
            write=write,
        )
        for episode in select_evenly(shown, MAX_CURVES)
    )
    return Drawn(
        episodes=tuple(show_episodes(dataset, shown, write, found)),
        groups=groups,
        ranges=tuple(draw_ranges(groups, inspection.joints)),
        curves=tuple(curves),
        grippers=tuple(describe_grippers(groups, inspection.joints)),
        has_recordings=bool(found),
    )


def write_page(target: Path, page: str) -> None:
    """Write a page, which appears as a whole.

    Raises:
        RecipeError: it cannot be written.
    """
    # What a killed run leaves lies in the folder of a dataset that is no part of it, where there is one.
    folder = work if (work := target.parent / WORK).is_dir() else target.parent
    unfinished = folder / f".{target.name}.{uuid4().hex[:8]}"
    try:
        try:
            unfinished.write_text(page, encoding="utf-8", newline="\n")
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RecipeError(f"{target} ", why_unwritable(target, error), file=target) from error
