"""Warnings of converted episodes, summed up by source and kind."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from millrace.embodiments import FrozenModel, Message, Setting
from millrace.engine.dataset import EpisodeWarning
from millrace.engine.planning import ConversionPlan
from millrace.engine.sources import public_name


class WarningSum(FrozenModel):
    """One kind of warning in one source.

    source: the dataset as the recipe names it. num_episodes: how many have the warning. first_episode: the number
    of the first of them in the source; message and camera are its own.
    """

    code: str
    source: Path
    num_episodes: int
    first_episode: int
    camera: str | None
    message: str

    def __str__(self) -> str:
        camera = f", camera {self.camera}" if self.camera else ""
        what = f"episode {self.first_episode}{camera}: {self.message}"
        if self.num_episodes == 1:
            return f"{self.source}: {self.code}: {what}"
        return f"{self.source}: {self.code} in {self.num_episodes:,} episodes; the first is {what}"


class HasWarnings(Protocol):
    """A record, or what is kept of one."""

    @property
    def binding(self) -> int: ...
    @property
    def source_episode(self) -> int: ...
    @property
    def warnings(self) -> tuple[EpisodeWarning, ...]: ...


def sum_warnings(records: Iterable[HasWarnings], plan: ConversionPlan) -> tuple[WarningSum, ...]:
    """The warnings of all episodes, by source and code.

    Args:
        records: In the order of their numbers in the output, so that the result is the same for any workers.
        plan: Names the sources.
    """
    firsts: dict[tuple[int, str], tuple[int, EpisodeWarning]] = {}
    counts: dict[tuple[int, str], int] = {}
    for record in records:
        for code, warned in {one.code: one for one in reversed(record.warnings)}.items():
            key = record.binding, code
            firsts.setdefault(key, (record.source_episode, warned))
            counts[key] = counts.get(key, 0) + 1
    return tuple(
        WarningSum(
            code=code,
            source=plan.recipe.sources[binding].path,
            num_episodes=counts[binding, code],
            first_episode=episode,
            camera=warned.camera,
            message=warned.message,
        )
        for (binding, code), (episode, warned) in sorted(firsts.items(), key=lambda item: item[0])
    )


def public_warnings(found: Sequence[WarningSum], plan: ConversionPlan) -> Iterator[WarningSum]:
    """The same, without the paths of sources on this machine, for card and manifest."""
    names = {binding.source.path: public_name(binding.source.path, binding.revision) for binding in plan.job.bindings}
    for one in found:
        source = Path(names[one.source])
        yield one.model_copy(update={"source": source, "message": remove_roots(one.message, plan)})


def remove_roots(text: str, plan: ConversionPlan) -> str:
    """Replace the folders of sources on this machine in a text, beside its settings, by their public names."""
    if isinstance(text, Message):
        return type(text)(*(part if isinstance(part, Setting) else remove_roots(part, plan) for part in text.parts))
    for binding in plan.job.bindings:
        name = public_name(binding.source.path, binding.revision)
        for folder in sorted({str(binding.root), str(binding.source.path)}, key=len, reverse=True):
            # Only where it is a path: a folder may be called "a".
            before = rf"(?<![\w./~-]){re.escape(folder)}"
            text = re.sub(rf"{before}/", "", text)
            text = re.sub(rf"{before}(?![\w.-])", name.replace("\\", "\\\\"), text)
    return text
