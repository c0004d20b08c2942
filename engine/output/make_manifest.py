"""millrace.json of a finished dataset: what made it, from what, what was left out, and the digest of every file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from millrace.embodiments import VECTORS, is_path
from millrace.engine.about import VERSION, installed_version
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.dataset.manifest import manifest_of_lines
from millrace.engine.dataset.record import FileRecord
from millrace.engine.layout import OUTPUT_VERSION
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.quarantine import public_quarantine
from millrace.engine.output.warning_sums import WarningSum, remove_roots
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.binding import Binding
from millrace.engine.sources import name_file_in_errors, public_name
from millrace.engine.sources.licences import read_licences
from millrace.engine.text import printable
from millrace.engine.video.backends import CPU_BACKENDS, Backends
from millrace.engine.video.encode import library_versions
from millrace.engine.video.robot_control import earlier_framings

# In the manifest, whose head is read whole: 3 MB. A filter may leave out most of a million episodes.
MAX_FILTERED = 10_000


def make_manifest(head: Mapping[str, Any], lines: Iterable[str], written: Mapping[str, Path]) -> Iterator[str]:
    """The text of millrace.json: its head, every file's digest, and each episode's line."""
    files = [_digest(name, path) for name, path in written.items()]
    return manifest_of_lines({**head, "files": files}, lines)


def manifest_head(plan: ConversionPlan, ledger: Ledger, warnings: Sequence[WarningSum]) -> dict[str, Any]:
    """What millrace.json says before files and episodes: recipe, versions, sources, what was left out."""
    filtered = ledger.filtered
    return {
        "recipe": _public_recipe(plan),
        "part": plan.split,
        "map": plan.map.name,
        "at_rest": _at_rest(plan),
        "frames": [framing.model_dump(mode="json") for framing in plan.framings],
        "control": _control(plan),
        "output_version": OUTPUT_VERSION,
        "versions": {"millrace": VERSION, **{name: installed_version(name) for name in ("av", "numpy", "pyarrow")}},
        "encoder": {
            "name": plan.job.video.backends.encoder,
            **plan.job.video.options,
            "libraries": library_versions(),
            **_gpu_facts(plan.job.video.backends),
        },
        **_columns(plan),
        **_still(plan),
        **_shifts(plan),
        **_licences(plan),
        "notes": [remove_roots(note, plan) for note in plan.notes],
        "warnings": [one.model_dump(mode="json") for one in warnings],
        **_listed("quarantine", ledger.skipped, plan),
        **_listed("filtered", filtered[:MAX_FILTERED], plan),
        **({"num_filtered": len(filtered)} if filtered else {}),
    }


def _listed(name: str, failures: Sequence[EpisodeFailure], plan: ConversionPlan) -> dict[str, Any]:
    told = [episode.model_dump(mode="json") for episode in public_quarantine(failures, plan)]
    return {name: told} if told else {}


def _control(plan: ConversionPlan) -> dict[str, Any]:
    """What a robot needs to be driven by a policy that this dataset trains; see `engine/video/robot_control.py`."""
    job = plan.job
    robots = {(one.map.text, json.dumps(_binding_control(one))): _binding_control(one) for one in job.bindings}
    return {
        "fps": str(job.video.fps),
        "crop": job.crop,
        "sizes": {camera: list(job.sizes[camera]) for camera in job.cameras},
        "sources": [{"map": json.loads(text), **control} for (text, _), control in robots.items()],
    }


def _binding_control(binding: Binding) -> dict[str, Any]:
    """What is said of one source beside its map."""
    earlier = earlier_framings(binding.root, binding.cameras)
    told = {name: None if one is None else one.model_dump(mode="json") for name, one in earlier.items()}
    return {"cameras": dict(binding.cameras), "fps": str(binding.fps), **({"earlier": told} if told else {})}


def _columns(plan: ConversionPlan) -> dict[str, Any]:
    """Columns beside state and action, with the rules by which they were resampled, and those left out."""
    carried = {column.name: column.rule for column in plan.job.carried}
    told = (asdict(left) for left in plan.left_out)
    left_out = [{key: printable(remove_roots(text, plan)) for key, text in left.items()} for left in told]
    return {"columns": {"carried": carried, "left_out": left_out}} if carried or left_out else {}


def _still(plan: ConversionPlan) -> dict[str, Any]:
    """How far joints of each source may stray where they count as still, if still stretches are cut."""
    bindings = [binding for binding in plan.job.bindings if binding.cuts is not None]
    bands = [(public_name(one.source.path, one.revision), one.cuts.tolerances) for one in bindings if one.cuts]
    return {"still": [{"source": source, "within": within} for source, within in bands]} if bands else {}


def _shifts(plan: ConversionPlan) -> dict[str, Any]:
    """By how many of its frames each source's actions were moved to later rows, if any were."""
    shifted = [one for one in plan.job.bindings if one.action_shift]
    told = [{"source": public_name(one.source.path, one.revision), "frames": one.action_shift} for one in shifted]
    return {"align_action": told} if told else {}


def _licences(plan: ConversionPlan) -> dict[str, Any]:
    """The licences that each source's card states, in the recipe's order, if any does."""
    found = [list(read_licences(binding.root)) for binding in plan.job.bindings]
    return {"licences": found} if any(found) else {}


def _at_rest(plan: ConversionPlan) -> dict[str, list[str]]:
    """Joints of the output that no source drives, by vector, in the robot's order."""
    maps = [binding.map.at_rest for binding in plan.job.bindings]
    return {
        vector: [joint for joint in plan.target.layout(vector).joints if all(joint in rests[vector] for rests in maps)]
        for vector in VECTORS
    }


def _public_recipe(plan: ConversionPlan) -> dict[str, Any]:
    """The recipe with names of folders and files in place of their paths on this machine."""
    recipe = plan.recipe.model_dump(mode="json")
    for source, binding in zip(recipe["sources"], plan.job.bindings, strict=True):
        source["path"] = public_name(binding.source.path, binding.revision)
        source["map"], source["format"] = _public_file(source["map"]), _public_file(source["format"])
    return {**recipe, "robot": _public_file(recipe["robot"])}


def _public_file(name: str | None) -> str | None:
    """The name of a map, robot or format: a shipped one's name, or the name of its file without the folder."""
    return Path(name).name if name is not None and is_path(name) else name


def _gpu_facts(backends: Backends) -> dict[str, Any]:
    """Resize backend, card and driver, where they are not the CPU's default."""
    return {} if backends == CPU_BACKENDS else backends.model_dump(mode="json", exclude={"encoder"})


def _digest(name: str, path: Path) -> dict[str, Any]:
    with name_file_in_errors(path):
        return FileRecord.of(path, Path(name)).model_dump(mode="json")
