"""Make the report of a dataset: one HTML file that shows what it holds and what is remarkable."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

from millrace.embodiments import is_path, load_robot
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
from millrace.engine.report.curves import draw_episode
from millrace.engine.report.dataset_report import Drawn, describe_dataset
from millrace.engine.report.finding_groups import list_remarkable
from millrace.engine.report.joint_groups import plot_groups
from millrace.engine.report.origins import read_origins
from millrace.engine.report.page import render_page
from millrace.engine.report.ranges import draw_ranges
from millrace.engine.report.strips import choose_shown, show_episodes
from millrace.engine.sources import SourceDataset, SourceEpisode, hide_targets, open_source, why_unwritable
from millrace.engine.text import printable

# Pixels that may be decoded for findings about frames: a core decodes some 3 * 10^8 in a second.
PIXEL_BUDGET = 3e8
MAX_CURVES = 3


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
    shown = choose_shown(chosen, list_remarkable(inspection.findings), num_cameras=len(dataset.cameras))
    name = title or dataset.hub_id or dataset.root.name

    def tidy(text: str) -> str:
        text = hide_targets(write(text)).replace(f"{dataset.root}/", "").replace(str(dataset.root), name)
        return text if format is None or not is_path(format) else text.replace(format, Path(format).name)

    drawn = _draw(dataset, inspection, shown, tidy)
    origins = read_origins(dataset.root)
    page = render_page(describe_dataset(inspection, drawn, origins, title=name, judgement=judgement, write=tidy))
    _write_page(Path(out_html), page)
    return inspection


def _draw(
    dataset: SourceDataset, inspection: Inspection, shown: Sequence[SourceEpisode], tidy: Callable[[str], str]
) -> Drawn:
    """Images, curves and ranges of the episodes shown."""
    robot = None if inspection.robot.name is None else load_robot(inspection.robot.name)
    columns = choose_columns(dataset.features, robot)
    groups = plot_groups(dataset, robot, columns)
    draw = partial(draw_episode, groups=groups, columns=columns, fps=float(dataset.fps), write=tidy)
    return Drawn(
        episodes=tuple(show_episodes(dataset, shown, tidy)),
        groups=groups,
        ranges=tuple(draw_ranges(groups, inspection.joints)),
        curves=tuple(map(draw, select_evenly(shown, MAX_CURVES))),
    )


def _write_page(target: Path, page: str) -> None:
    try:
        target.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RecipeError(f"{target} ", why_unwritable(target, error), file=target) from error
