"""Facts that a dataset's card shows in every layout: they come from the head of its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import yaml
from rich.filesize import decimal

from millrace.engine.dataset.releases import RELEASES, Release
from millrace.engine.fps import format_fps
from millrace.engine.sources.hub import COMMIT
from millrace.engine.sources.location import parse_hub_id
from millrace.engine.text import code_cell, format_duration

UNKNOWN = "unknown"
# As the Hub counts a dataset's size, by rows: below 1,000, then by powers of ten.
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
ACTION_RULES = {
    "at_frame": "each frame keeps its own action",
    "mid_interval": "each frame has the action in force in the middle of its interval",
    "end_of_interval": "each frame has the last action of its interval",
}


@dataclass(frozen=True)
class CardFacts:
    """What a card shows beside the plan.

    head: of the manifest, which names sources without the folders of this machine. num_row_bytes, num_video_bytes: of
    the dataset's files. has_preview: whether there is a strip of its frames.
    """

    head: Mapping[str, Any] = field(default_factory=dict)
    num_row_bytes: int = 0
    num_video_bytes: int = 0
    has_preview: bool = False

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe, every setting of it."""
        recipe: Mapping[str, Any] = self.head.get("recipe", {})
        return recipe

    @property
    def licences(self) -> Sequence[Sequence[str]]:
        """The licences of each source, none where they are unknown."""
        found: Sequence[Sequence[str]] = self.head.get("licences") or [() for _ in self.recipe.get("sources", ((),))]
        return found

    @property
    def licence_ids(self) -> list[str]:
        """Those of all sources together, as the Hub names them; "unknown" if one's are."""
        if not all(self.licences):
            return [UNKNOWN]
        return sorted({name for names in self.licences for name in names})


def front_matter(facts: CardFacts, tags: Sequence[str], *, num_frames: int) -> str:
    """The YAML at the start of a card, which the Hub reads."""
    licences = facts.licence_ids
    values = {
        "license": licences[0] if len(licences) == 1 else licences,
        "task_categories": ["robotics"],
        "size_categories": [SIZES[min(max(len(str(num_frames)) - 3, 0), len(SIZES) - 1)]],
        "tags": list(tags),
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{text}---\n"


def describe_size(facts: CardFacts, num_frames: int, fps: Fraction) -> str:
    """How long it is, and the bytes of rows and videos."""
    sizes = f"rows {decimal(facts.num_row_bytes)}, videos {decimal(facts.num_video_bytes)}"
    return f"{format_duration(float(num_frames / fps))}; {sizes}"


def describe_licences(facts: CardFacts) -> str:
    """The licences of all sources, and whom to ask where one's are unknown."""
    known = sorted({name for names in facts.licences for name in names})
    if all(facts.licences):
        return f"{join_licences(known)}, by the sources' own cards"
    if not known:
        return "unknown: ask the sources' owners"
    return f"{join_licences(known)} of some sources, unknown of others: ask their owners"


def find_tag_release(tag: str | None) -> Release | None:
    """The first release of GR00T that has a modality config of its own for a robot's tag."""
    return next((release for release in RELEASES if tag is not None and release.has_config(tag)), None)


def join_licences(names: Sequence[str]) -> str:
    """The licences of a source in words."""
    return ", ".join(map(code_cell, names)) or UNKNOWN


def source_link(name: str) -> str:
    """A source's public name in a cell of a table: a link where it is a commit on the Hub."""
    hub_id = parse_hub_id(name)
    if hub_id is None or COMMIT.fullmatch(hub_id.revision or "") is None:
        return code_cell(name)
    return f"[{code_cell(name)}](https://huggingface.co/datasets/{hub_id.repo}/tree/{hub_id.revision})"


def describe_resampling(rates: Sequence[Fraction], fps: Fraction, settings: Mapping[str, Any]) -> str:
    """How frames and actions of the output were chosen.

    Args:
        rates: Of the sources, in Hz; none where they are unknown.
        fps: Of the output, in Hz.
        settings: A recipe's `resample` and `action`.
    """
    if not rates:
        return UNKNOWN
    if set(rates) == {fps}:
        return f"none, recorded at {format_fps(fps)} Hz"
    recorded = " and ".join(format_fps(rate) for rate in sorted(set(rates)))
    resample, action = settings.get("resample", UNKNOWN), settings.get("action")
    told = f"; {ACTION_RULES[action]} (`action: {action}`)" if action in ACTION_RULES else ""
    return f"{recorded} Hz to {format_fps(fps)} Hz (`resample: {resample}`){told}"
