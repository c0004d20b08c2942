"""A package gr00t of which there are the files alone that tell its release and its build; importing it is an error."""

from pathlib import Path

from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.releases import Release

# How builds deal parts of episodes into shards: the first can leave some shards empty.
DEALS = "        num_shards = ceil(total)\n"
DEALS_CAPPED = "        num_shards = min(ceil(total), len(parts))\n"
LAUNCHER_FLAGS = ("use_percentiles", "shortest_image_edge", "crop_fraction", "ds_weights_alpha", "skip_weight_loading")


def write_groot(
    folder: Path,
    release: Release | None,
    *,
    flags: tuple[str, ...] = LAUNCHER_FLAGS,
    without_tags: tuple[str, ...] = (),
    deals: str = DEALS,
    has_fingerprints: bool = False,
) -> Path:
    """Write the package into a folder, for sys.path.

    Args:
        folder: It need not exist.
        release: Whose files it has; None: those of none that Millrace trains.
        flags: Fields of its launcher's config.
        without_tags: Tags of the release that this build lacks.
        deals: What its shard_dataset does.
        has_fingerprints: Whether it keeps fingerprints beside statistics.
    """
    names = () if release is None else (name for name in release.tag_names if name not in without_tags)
    members = "".join(f"    {name} = {name.lower()!r}\n" for name in names)
    fields = "".join(f"    {name}: float | None = None\n" for name in ("dataset_path", *flags))
    files = {
        "__init__.py": "raise AssertionError('gr00t is imported')\n",
        "configs/model/gr00t_n9.py" if release is None else release.marker: "",
        "configs/finetune_config.py": f"class FinetuneConfig:\n{fields}\n\nclass Other:\n    other: int\n",
        "data/embodiment_tags.py": f"class EmbodimentTag:\n    pass\n{members}",
        "data/stats.py": f'KEY = "{FINGERPRINTS}"\n' if has_fingerprints else "",
        "data/dataset/sharded_single_step_dataset.py": f"class Dataset:\n    def shard_dataset(self):\n{deals}",
    }
    for name, content in files.items():
        path = folder / "gr00t" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder
