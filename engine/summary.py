"""What a conversion did, or would do."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from millrace.engine.episode.survey import EpisodeCuts
from millrace.engine.errors import Quarantined
from millrace.engine.output.filtered import emptied_sources
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.quarantine import describe_failures
from millrace.engine.output.warning_sums import WarningSum, sum_warnings
from millrace.engine.packing.pack import PackSummary
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.numbering import Key


@dataclass(frozen=True)
class Summary:
    """What a conversion did.

    source_seconds and stage_seconds (wall time over all workers): of the episodes that this run converted. filtered:
    what the recipe's filter left out. quarantined: what skip_bad skipped. was_finished: there was nothing to do.
    redone: why clips that a GPU should have made were made on the CPU. carried: columns beside state and action that
    the output has. warnings: of all episodes, by source and kind. executor: what ran this run's episodes, if there were
    any. num_cut_frames: of the sources, in still stretches that were cut. emptied: sources of which the filter leaves
    no held-out episode. packed: LeRobot v3.0 of it, if that was asked for. held_out: the same of held-out episodes.
    """

    num_episodes: int
    num_clips: int
    num_copied_clips: int
    num_source_frames: int
    num_frames: int
    num_bytes: int
    num_resumed: int
    source_seconds: float
    wall_seconds: float
    stage_seconds: dict[str, float]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    quarantined: tuple[Quarantined, ...]
    was_finished: bool
    redone: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    warnings: tuple[WarningSum, ...] = ()
    executor: str | None = None
    num_cut_frames: int = 0
    filtered: tuple[Quarantined, ...] = ()
    emptied: tuple[str, ...] = ()
    packed: PackSummary | None = None
    held_out: "Summary | None" = None

    @property
    def had_nothing_to_do(self) -> bool:
        """Whether all was there already, in every layout."""
        return self.was_finished and (self.packed is None or self.packed.was_finished)

    @property
    def realtime_factor(self) -> float:
        """Seconds of recording converted in each second."""
        return self.source_seconds / self.wall_seconds


@dataclass(frozen=True)
class Estimate:
    """What a conversion would do, measured on one episode. core_seconds: of one core.

    num_copied_clips: judged by one episode of each source; None where that would have to be downloaded.
    num_bytes_here: of num_bytes on this machine's disk: all, or the rows where OUT is in an object store.
    num_scratch_bytes: in OUT/.millrace while statistics are computed, beside these. cuts: episodes of which
    stretches would be cut, or that fail for it. filtered: what the recipe's filter would leave out. emptied: sources of
    which it would leave no held-out episode.
    held_out: see `held_out_episodes`.
    """

    num_episodes: int
    num_clips: int
    num_copied_clips: int | None
    num_source_frames: int
    num_frames: int
    num_bytes: int
    num_bytes_here: int
    num_scratch_bytes: int
    free_bytes: int
    core_seconds: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    carried: tuple[str, ...] = ()
    cuts: tuple[EpisodeCuts, ...] = ()
    filtered: tuple[Quarantined, ...] = ()
    emptied: tuple[str, ...] = ()
    held_out: dict[str, tuple[int, ...]] = field(default_factory=dict)


def held_out_episodes(plan: ConversionPlan) -> dict[str, tuple[int, ...]]:
    """Episodes that are held out, as their sources number them, by the source's path; none where none are."""
    found: dict[str, tuple[int, ...]] = {}
    for episode in plan.episodes if plan.split == "held out" else ():
        name = str(plan.recipe.sources[episode.binding].path)
        found[name] = (*found.get(name, ()), episode.episode.index)
    return found


def summarize(
    plan: ConversionPlan, ledger: Ledger, done: Collection[Key], seconds: Mapping[str, float], *, started: float
) -> Summary:
    """All of the dataset's sizes, and this run's times; done, seconds: the episodes that it converted, by stage."""
    entries = list(ledger.entries())
    fps = [binding.fps for binding in plan.job.bindings]
    num_done = sum(episode.key in done for episode in plan.episodes)
    return Summary(
        num_episodes=len(plan.episodes),
        num_clips=len(plan.episodes) * len(plan.cameras),
        num_copied_clips=sum(entry.num_copied for entry in entries),
        num_source_frames=sum(episode.episode.num_frames for episode in plan.episodes),
        num_frames=plan.num_frames,
        num_bytes=sum(entry.num_bytes for entry in entries),
        num_resumed=len(plan.episodes) - num_done,
        source_seconds=float(
            sum(episode.episode.num_frames / fps[episode.binding] for episode in plan.episodes if episode.key in done)
        ),
        wall_seconds=perf_counter() - started,
        stage_seconds=dict(seconds),
        dropped=plan.dropped,
        notes=(*plan.notes, *plan.machine_notes),
        redone=tuple(why for entry in entries for why in entry.redone),
        carried=tuple(column.name for column in plan.job.carried),
        num_cut_frames=sum(entry.num_cut for entry in entries),
        warnings=sum_warnings(entries, plan),
        quarantined=describe_failures(ledger.skipped, plan),
        filtered=describe_failures(ledger.filtered, plan),
        emptied=emptied_sources(ledger.filtered, plan),
        was_finished=False,
    )
