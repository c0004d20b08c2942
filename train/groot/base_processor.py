"""The base model's processor, as a run on other statistics needs it."""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import cached_file

STATISTICS = "statistics.json"
# What from_pretrained of each release's processor reads, and by which AutoProcessor knows it.
OTHER_FILES = ("config.json", "processor_config.json", "embodiment_id.json")


@contextmanager
def strip_statistics(base_model: str, tags: Collection[str]) -> Iterator[str]:
    """The base model's name, or a copy of its processor's files without the statistics of tags, if it has any.

    GR00T would replace them anyway, but first compares them with the run's modality config: where that has a relative
    action that the base model's robot had not, it stops.

    Args:
        base_model: A checkpoint folder, or a name on the Hugging Face Hub.
        tags: Values of EmbodimentTag.

    Yields:
        A name from which AutoProcessor loads.
    """
    path = _file(base_model, STATISTICS)
    statistics = json.loads(path.read_text(encoding="utf-8")) if path else {}
    kept = {tag: values for tag, values in statistics.items() if tag not in tags}
    if kept == statistics:
        yield base_model
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in OTHER_FILES:
            if found := _file(base_model, name):
                shutil.copyfile(found, Path(folder) / name)
        (Path(folder) / STATISTICS).write_text(json.dumps(kept), encoding="utf-8")
        yield folder


def _file(base_model: str, name: str) -> Path | None:
    found = cached_file(base_model, name, _raise_exceptions_for_missing_entries=False)
    return Path(found) if found else None
