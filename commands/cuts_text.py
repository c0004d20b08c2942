"""Print which still stretches of episodes are cut, and which episodes are left out."""

from collections.abc import Sequence

from rich.console import Console

from millrace.commands.tables import print_line
from millrace.engine.dataset.record import Cut
from millrace.engine.episode.survey import EpisodeCuts
from millrace.engine.errors import Quarantined
from millrace.engine.text import format_count

MAX_EPISODES = 20
PLACES = {"start": "at the start", "end": "at the end", "pause": "from", "action": "without an action"}


def print_cuts(episodes: Sequence[EpisodeCuts], console: Console) -> None:
    """Print a line for each of the first episodes of which something would be cut, or that would fail for it."""
    several = len({one.source for one in episodes}) > 1
    for one in episodes[:MAX_EPISODES]:
        where = f"{one.source}, episode {one.episode}" if several else f"episode {one.episode}"
        what = one.reason or f"{_describe(one.cuts, one.fps)} of {one.num_frames / one.fps:.1f} s"
        print_line(f"would {'fail' if one.reason else 'cut'}: {where}: {what}", console)
    if len(episodes) > MAX_EPISODES:
        print_line(f"and {format_count(len(episodes) - MAX_EPISODES, 'more episode')}; --json lists all", console)
    if episodes:
        num_frames = sum(cut.num_frames for one in episodes for cut in one.cuts)
        seconds = sum(cut.num_frames / one.fps for one in episodes for cut in one.cuts)
        total = f"{format_count(num_frames, 'source frame')} ({seconds:.1f} s) of {len(episodes):,} episodes"
        print_line(f"would cut {total} in all; the rows of all episodes were read for this", console)


def print_filtered(episodes: Sequence[Quarantined], console: Console, *, verb: str) -> None:
    """Print a line for each of the first episodes that the filter leaves out, with its reason."""
    several = len({one.source for one in episodes}) > 1
    for one in episodes[:MAX_EPISODES]:
        where = f"{one.source}, episode {one.episode}" if several else f"episode {one.episode}"
        print_line(f"{verb}: {where}: {one.reason}", console)
    if len(episodes) > MAX_EPISODES:
        print_line(f"and {format_count(len(episodes) - MAX_EPISODES, 'more episode')}; --json lists all", console)


def print_emptied(sources: Sequence[str], console: Console) -> None:
    """Print a line for each source of which the filter leaves no held-out episode."""
    for source in sources:
        print_line(f"warning: the filter leaves no held-out episode of {source}", console)


def _describe(cuts: Sequence[Cut], fps: float) -> str:
    parts = []
    for cut in cuts:
        place = PLACES[cut.why] + (f" {cut.start / fps:.1f} s" if cut.why == "pause" else "")
        parts.append(f"{cut.num_frames / fps:.1f} s {place}")
    return ", ".join(parts)
