"""A package gr00t of which there are the files alone that tell its release and its build; importing it is an error."""

from pathlib import Path

from millrace.engine.dataset.releases import Release

LAUNCHER_FLAGS = ("use_percentiles", "shortest_image_edge", "crop_fraction", "ds_weights_alpha", "skip_weight_loading")


def write_groot(folder: Path, release: Release | None, *, flags: tuple[str, ...] = LAUNCHER_FLAGS) -> Path:
    """Write the package into a folder, for sys.path.

    Args:
        folder: It need not exist.
        release: Whose files it has; None: those of none that Millrace trains.
        flags: Fields of its launcher's config.
    """
    fields = "".join(f"    {name}: float | None = None\n" for name in ("dataset_path", *flags))
    files = {
        "__init__.py": "raise AssertionError('gr00t is imported')\n",
        "configs/model/gr00t_n9.py" if release is None else release.marker: "",
        "configs/finetune_config.py": f"class FinetuneConfig:\n{fields}\n\nclass Other:\n    other: int\n",
    }
    for name, content in files.items():
        path = folder / "gr00t" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder
