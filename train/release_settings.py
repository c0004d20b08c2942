"""What the release of GR00T decides of a run's settings: defaults, names of tags, and flags that it alone has."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.embodiments import Message, Setting
from millrace.engine.dataset.releases import RELEASES, GrootChoice, Release, release_of_model
from millrace.train.errors import SettingsError
from millrace.train.installed import choose_release

if TYPE_CHECKING:
    from millrace.train.finetune_flags import FinetuneFlags


def guess_release(choice: GrootChoice, base_model: str) -> Release:
    """The release of a run: the chosen one, else the installed one, else that of the base model, else the first.

    Without an installed GR00T nothing is trained, but a run can be planned.
    """
    return choose_release(choice) or _release_of_base(base_model) or RELEASES[0]


def resolve_defaults(flags: "FinetuneFlags", release: Release) -> Mapping[str, Any]:
    """Settings as they are on a release: its name, the names of its tags, and its defaults of those that are None."""
    defaults = {"state_dropout_prob": release.state_dropout, "wandb_project": release.wandb_project}
    tags = flags.tags and {name: release.tag_name(tag) for name, tag in flags.tags.items()}
    return {
        "gr00t": release.choice,
        "embodiment_tag": release.tag_name(flags.embodiment_tag),
        "tags": tags,
        **{name: default for name, default in defaults.items() if getattr(flags, name) is None},
    }


def check_release_settings(flags: "FinetuneFlags") -> None:
    """Check the values of settings that only some releases have; whether this one has them preflight tells.

    Raises:
        SettingsError: a value is out of its range, or two of them contradict each other.
    """
    edge, crop, alpha = flags.shortest_image_edge, flags.crop_fraction, flags.ds_weights_alpha
    if (edge is None) != (crop is None):
        given = Setting("crop_fraction", crop) if edge is None else Setting("shortest_image_edge", edge)
        other = Setting("shortest_image_edge") if edge is None else Setting("crop_fraction")
        raise SettingsError(Message(given, " needs ", other, ": both say how images are cropped"))
    if edge is not None and edge < 1:
        raise SettingsError(Message(Setting("shortest_image_edge", edge), ": must be at least 1"))
    if crop is not None and not 0 < crop <= 1:
        raise SettingsError(Message(Setting("crop_fraction", crop), ": must be above 0 and at most 1"))
    dropout = flags.state_dropout_prob
    if dropout is not None and not 0 <= dropout <= 1:
        raise SettingsError(Message(Setting("state_dropout_prob", dropout), ": must be from 0 to 1"))
    if alpha is not None and not 0 <= alpha < float("inf"):
        raise SettingsError(Message(Setting("ds_weights_alpha", alpha), ": must be at least 0"))
    if alpha is not None and (flags.mix or flags.weights):
        shares = Setting("weights", dict(flags.weights)) if flags.weights else Setting("mix", list(flags.mix))
        problem = " both decide the shares of datasets; pass one of them"
        raise SettingsError(Message(Setting("ds_weights_alpha", alpha), " and ", shares, problem))


def _release_of_base(base_model: str) -> Release | None:
    """The release of a base model, by its name on the Hub or its folder's config.json."""
    if found := next((release for release in RELEASES if release.base_model == base_model), None):
        return found
    with suppress(OSError, ValueError, AttributeError):
        content = json.loads((Path(base_model) / "config.json").read_bytes())
        return release_of_model(str(content.get("model_type")))
    return None
