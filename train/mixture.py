"""Which embodiment tag and which share of the samples each dataset of a run has, given by the names of folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from millrace.embodiments import Message, Remedy, Setting, unknown_name
from millrace.train.errors import SettingsError

# What `millrace convert --holdout` adds to the name of the dataset.
HELD_OUT_SUFFIX = "_heldout"

T = TypeVar("T")


def values_by_dataset(setting: str, values: Mapping[str, T], datasets: Sequence[Path]) -> dict[Path, T]:
    """Values by the names of datasets' folders, as values by their paths.

    Raises:
        SettingsError: two datasets have the same name.
        UnknownName: a name is that of no dataset.
    """
    by_name: dict[str, Path] = {}
    for path in dict.fromkeys(datasets):
        if path.name in by_name:
            raise SettingsError(
                Setting(setting),
                f": {by_name[path.name]} and {path} have the same name; ",
                Remedy("rename one of them"),
            )
        by_name[path.name] = path
    for name in values:
        if name not in by_name:
            raise unknown_name(name, "dataset of this run", by_name)
    return {by_name[name]: value for name, value in values.items()}


def tags_by_dataset(
    tags: Mapping[str, str], datasets: Sequence[Path], held_out: Path | None, default: str
) -> dict[Path, str]:
    """The tag of each dataset; held-out episodes have that of the dataset from which they were held out.

    Raises:
        SettingsError, UnknownName: see `values_by_dataset`; or nothing is trained for the held-out tag.
    """
    every = datasets if held_out is None else (*datasets, held_out)
    given = values_by_dataset("tags", tags, every)
    found = {path: given.get(path, default) for path in datasets}
    if held_out is not None:
        by_name = {path.name: tag for path, tag in found.items()}
        tag = given.get(held_out, by_name.get(held_out.name.removesuffix(HELD_OUT_SUFFIX), default))
        if tag not in found.values():
            message = f"{held_out.name} has the tag {tag}, which nothing is trained for; name it in "
            raise SettingsError(Message(message, Setting("tags")))
        found[held_out] = tag
    return found


def check_weights(weights: Mapping[str, float], mix: Sequence[float], datasets: Sequence[Path]) -> None:
    """Check that --weights gives each dataset its share, and that nothing else does.

    Raises:
        SettingsError, UnknownName: it does not.
    """
    setting = Setting("weights", dict(weights))
    if mix:
        both = Message(setting, " and ", Setting("mix", list(mix)), " say the same; ")
        raise SettingsError(both, Remedy("pass one of them"))
    given = values_by_dataset("weights", weights, datasets)
    if lacking := [path.name for path in datasets if path not in given]:
        raise SettingsError(Message(setting, f" has no share for {', '.join(lacking)}"))
    if any(not 0 < share < float("inf") for share in weights.values()):
        raise SettingsError(Message(setting, ": each share must be above 0"))


def check_tags(tags: Mapping[str, str], *, has_shares: bool, config: Path | None) -> None:
    """Check the settings of a run with several tags.

    Raises:
        SettingsError: shares are missing, which no length decides between robots, or one config is given for all.
    """
    setting = Setting("tags", dict(tags))
    if not has_shares:
        raise SettingsError(
            Message(setting, " needs ", Setting("weights"), " or ", Setting("mix"), ": a share for each")
        )
    if config is not None:
        given = Setting("modality_config_path", config)
        raise SettingsError(Message(given, " cannot be for several tags: each dataset has its own modality_config.py"))
