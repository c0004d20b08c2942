"""Failed episodes: list them in quarantine.jsonl, and skip them if the user asks for it."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.dataset.writing import move_file
from millrace.engine.errors import CannotSkip, EpisodeError, EpisodesFailed, FaultCode, Quarantined
from millrace.engine.layout import QUARANTINE
from millrace.engine.output.warning_sums import remove_roots
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.numbering import remove_episodes
from millrace.engine.planning.planner import check_horizon
from millrace.engine.planning.recipe_problems import write_recipe_keys
from millrace.engine.sources import name_file_in_errors, public_name
from millrace.engine.stored import finished_files


def describe_failures(failures: Iterable[EpisodeFailure], plan: ConversionPlan) -> tuple[Quarantined, ...]:
    """Describe failed episodes as quarantine.jsonl lists them; the plan may lack them by now."""
    return tuple(
        Quarantined(
            code=failure.code,
            source=plan.recipe.sources[failure.binding].path,
            episode=failure.source_episode,
            camera=failure.camera,
            reason=failure.reason,
            remedy=failure.error.remedy,
        )
        for failure in failures
    )


def public_quarantine(failures: Sequence[EpisodeFailure], plan: ConversionPlan) -> Iterator[Quarantined]:
    """The same, without the paths of sources on this machine, for the manifest."""
    for failure, told in zip(failures, describe_failures(failures, plan), strict=True):
        binding = plan.job.bindings[failure.binding]
        name = Path(public_name(binding.source.path, binding.revision))
        texts = {"reason": remove_roots(told.reason, plan), "remedy": remove_roots(told.remedy, plan)}
        yield told.model_copy(update={"source": name, **texts})


def write_quarantine(
    failures: Sequence[EpisodeFailure], plan: ConversionPlan, out: Path, scratch: Path
) -> EpisodesFailed:
    """Write OUT/quarantine.jsonl, and return the error to raise, with a line for each episode."""
    found = describe_failures(failures, plan)
    unfinished = scratch / QUARANTINE
    with name_file_in_errors(unfinished), unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(one.model_dump(mode="json"), ensure_ascii=False) + "\n" for one in found)
        file.flush()
        os.fsync(file.fileno())
    move_file(unfinished, out / QUARANTINE)
    finished_files(out).put([QUARANTINE])
    advice = (write_recipe_keys(text, plan.recipe) for text in _advice(failures))
    return EpisodesFailed((failure_error(failure, plan) for failure in failures), advice, quarantined=found)


def _advice(failures: Sequence[EpisodeFailure]) -> Iterator[str]:
    """Advice for failures that the data did not cause."""
    told = (FaultCode.HUB, FaultCode.GPU)  # these say it themselves
    codes = [one.code.value for one in failures if not one.code.is_of_episode and one.code not in told]
    if codes:
        kinds = ", ".join(dict.fromkeys(codes))
        yield Message(
            f"{len(codes)} of these failures do not come from the data ({kinds}): once the cause is fixed, the same "
            "command converts these episodes; ",
            Setting("episodes"),
            " leaves them out",
        )


def failure_error(failure: EpisodeFailure, plan: ConversionPlan) -> MillraceError:
    """The error of a failure, which names its source where there are several."""
    path = str(plan.recipe.sources[failure.binding].path)
    reason = write_recipe_keys(failure.reason, plan.recipe, failure.binding)
    error = EpisodeError(failure.source_episode, failure.camera, reason).about(failure.facts, dataset=path)
    return error if len(plan.recipe.sources) == 1 else MillraceError(f"{path}, ", error)


def skip_failed_episodes(plan: ConversionPlan, failures: Sequence[EpisodeFailure]) -> ConversionPlan:
    """The plan without the failed episodes.

    Raises:
        MillraceError: they cannot be skipped; says why.
    """
    if passing := next((failure for failure in failures if not failure.code.is_of_episode), None):
        message = f"episode {passing.source_episode} failed, but not for its data ({passing.code.value})"
        raise CannotSkip(message, episode=passing.source_episode, got=passing.code.value)
    roots = {plan.job.bindings[failure.binding].root for failure in failures}
    if gone := next((root for root in roots if not root.is_dir()), None):
        raise CannotSkip(f"{gone} itself is gone", file=gone)
    rest = remove_episodes(plan, {failure.key for failure in failures})
    lost = {episode.binding for episode in plan.episodes} - {episode.binding for episode in rest.episodes}
    if lost:
        path = plan.recipe.sources[min(lost)].path
        advice = Remedy("leave that source out of the recipe")
        raise CannotSkip(f"no episode of {path} can be converted; ", advice, dataset=str(path))
    check_horizon(rest)
    return rest
