"""Open a recipe's sources: paths are relative to its file; places of clips are checked."""

import os
from collections.abc import Mapping
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.errors import DatasetError, HubError
from millrace.engine.planning.recipe import Places, Recipe, SourceSpec
from millrace.engine.sources import SourceDataset, open_source
from millrace.engine.sources.location import HUB, is_hub_address, is_remote_address, parse_hub_id
from millrace.engine.sources.places import check_places
from millrace.engine.sources.xr_teleoperate import keep_whole_rows


def open_recipe_source(recipe: Recipe, number: int) -> SourceDataset:
    """Open one of a recipe's sources; its clips' places are checked where the recipe sets a rate or a trim limit.

    Raises:
        MillraceError: there is none, or it cannot be opened; says what a relative path is relative to.
    """
    spec = recipe.sources[number]
    written = _relative_path(recipe.places, number)
    if written is not None:
        _check_folder(written, spec, recipe.places)
    try:
        dataset = open_source(
            spec.path, follow_links=spec.follow_links, format=spec.format, fps=spec.fps, cache_gb=recipe.cache_gb
        )
    except (DatasetError, HubError) as error:
        if written is None or os.path.isdir(spec.path):
            raise
        raise type(error)(error, f". {_explain_folder(recipe.places)}") from error
    if spec.cut_off == "keep":
        dataset = keep_whole_rows(dataset)
    max_trim = trim_limit(recipe, spec)
    return check_places(dataset, spec.fps, max_trim=max_trim) if spec.fps is not None or max_trim else dataset


def trim_limit(recipe: Recipe, spec: SourceSpec) -> int:
    """How many frames or rows may be dropped at the end of a source's episodes."""
    return recipe.trim_mismatch if spec.trim_mismatch is None else spec.trim_mismatch


def alignment(recipe: Recipe, spec: SourceSpec) -> int | str:
    """By how many frames a source's actions are shifted, or "auto"; its own setting replaces the recipe's."""
    return recipe.align_action if spec.align_action is None else spec.align_action


def action_shift(recipe: Recipe, number: int) -> int:
    """The same in frames, by the measured lag where it is automatic; 0 until that is measured."""
    wanted = alignment(recipe, recipe.sources[number])
    return recipe.lags.get(number, 0) if isinstance(wanted, str) else wanted


def pin_commits(recipe: Recipe, commits: Mapping[str, Path]) -> Recipe:
    """The recipe with the commits that its output was created with, where it names none: a branch may have moved."""
    specs = []
    for spec in recipe.sources:
        hub_id = parse_hub_id(spec.path)
        is_free = hub_id is not None and hub_id.revision is None and not spec.path.is_dir()
        path = commits.get(hub_id.repo) if hub_id is not None and is_free else None
        specs.append(spec if path is None else spec.model_copy(update={"path": path}))
    return recipe.model_copy(update={"sources": tuple(specs)})


def _relative_path(places: Places, number: int) -> str | None:
    """A relative path as the recipe's file has it; None where there is none, or it is an address."""
    if places.file is None:
        return None
    path = str(places.file.content["sources"][number]["path"])
    return None if is_remote_address(path) or Path(path).expanduser().is_absolute() else path


def _check_folder(written: str, spec: SourceSpec, places: Places) -> None:
    """Refuse a path that is a folder only from the working folder, rather than look for it on the Hub."""
    if is_hub_address(spec.path) and os.path.isdir(written):
        assert places.file is not None, "it was written there"
        there = os.path.relpath(written, places.file.path.parent)
        raise DatasetError(
            f"{written} is a folder of the working folder only. {_explain_folder(places)}: ",
            Remedy(f"write {there}, or for the Hub {HUB}{written}"),
            got=written,
        )


def _explain_folder(places: Places) -> str:
    assert places.file is not None, "a path was written there"
    return f"Paths in a recipe are relative to its own folder, {places.file.path.parent.absolute()}"
