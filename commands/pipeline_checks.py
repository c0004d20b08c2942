"""The section `validate` of a pipeline file: what was converted is judged before it is trained on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from millrace.commands.pipeline_file import PipelineFile, StepKind, digest_datasets, dump_settings
from millrace.commands.validate import Validate
from millrace.embodiments import MillraceError
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.validate.v3.v3_reading import find_layout
from millrace.train.pipeline import Step

VALIDATE = StepKind(Validate, excluded=("dataset", "json", "html"), extra={"datasets": tuple[Path, ...]})
# What GR00T reads: settings that LeRobot v3.0 is not judged by.
OF_GROOT = ("gr00t", "video_backend")


def validate_step(file: PipelineFile, converted: Sequence[Path], *, gr00t: GrootChoice = "auto") -> Step | None:
    """The step of the section `validate`; None without such a section, or a sound one.

    Args:
        file: The file.
        converted: All datasets that the section `convert` makes.
        gr00t: The release of GR00T, where the section does not name one.
    """
    values = file.section("validate", VALIDATE)
    if values is None:
        return None
    values.setdefault("gr00t", gr00t)
    datasets = values.pop("datasets", None) or tuple(converted)
    if not datasets:
        if "convert" not in file.content:
            file.add(("validate",), "datasets is missing: there is no section convert that makes some")
        return None

    def judge_dataset(dataset: Path) -> int:
        print(f"{dataset}:")
        is_packed = find_layout(dataset) == "v3.0"
        settings = {name: value for name, value in values.items() if not (is_packed and name in OF_GROOT)}
        return Validate(dataset=dataset, **settings).run()

    return Step(
        "validate",
        ", ".join(map(str, datasets)),
        dump_settings({**values, "datasets": datasets}),
        lambda: max(map(judge_dataset, datasets)),
        lambda: _identify_datasets(datasets),
        is_input=False,
    )


def _identify_datasets(datasets: Sequence[Path]) -> str | None:
    """Text that identifies datasets, whoever made them and whatever they lack; None while one is not there."""
    try:
        return digest_datasets(datasets)
    except (MillraceError, OSError):  # a manifest that cannot be read, or files that GR00T needs and others do not
        files = (path for dataset in datasets for path in sorted(dataset.rglob("*")) if path.is_file())
        return hashlib.sha256("".join(f"{path} {path.stat().st_size}\n" for path in files).encode()).hexdigest()
