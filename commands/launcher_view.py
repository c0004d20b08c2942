"""`millrace groot-view`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.print_flags import PrintFlags
from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.releases import DEFAULT_TAG, RELEASES, GrootChoice, Release, Tag
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.text import printable
from millrace.train.dataset_view import MadeView, make_view, read_dataset_config
from millrace.train.errors import ConfigError
from millrace.train.flag_types import Flag
from millrace.train.installed import choose_release, require_groot


@dataclass(frozen=True, kw_only=True)
class MakeView(PrintFlags):
    """Show a dataset to NVIDIA's launcher with statistics for one release and tag; the dataset stays as it is.

    OUT has meta/ as GR00T wants it, and links to data and videos. `millrace finetune` does that by itself. Examples:

    millrace groot-view out/aloha_gr1 views/aloha_gr1 --gr00t n1.7

    millrace groot-view out/g1 views/g1 --gr00t n1.7 --embodiment-tag UNITREE_G1

    millrace groot-view out/aloha_gr1 views/short --gr00t n1.7 --modality-config-path short.py
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset."""
    out: Annotated[Path, tyro.conf.Positional, arg(metavar="OUT")]
    """Folder of the view; a launcher takes it as --dataset-path."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T; by default the installed one."""
    embodiment_tag: str = DEFAULT_TAG
    """The tag to train with, by name or value."""
    modality_config_path: Path | None = None
    """A modality config file; by default GR00T's own for the tag, or else the dataset's modality_config.py."""
    overwrite: Flag = False
    """Replace another view in OUT."""
    temp: Annotated[Path | None, arg(metavar="DIR")] = None
    """A folder for temporary files, 4 bytes for each number of the rows; by default the system's."""

    when_stopped = "stopped; no view was made"

    def run(self) -> int:
        """Make the view, and say how to use it."""
        if not self.dataset.is_dir():
            raise ConfigError(f"there is no dataset at {self.dataset}")
        release = choose_release(self.gr00t)
        if release is None:
            asked = Remedy(
                "pass the release to view it for: ", Setting("gr00t", " or ".join(one.choice for one in RELEASES))
            )
            raise ConfigError("no GR00T that Millrace knows is installed; ", asked)
        tag = release.find_tag(self.embodiment_tag)
        if tag is None:
            raise ConfigError(release.describe_unknown_tag(self.embodiment_tag))
        made = make_view(
            self.dataset,
            self.out,
            release=release,
            tag=tag,
            config=self._config(release, tag),
            overwrite=self.overwrite,
            scratch=self.temp,
        )
        print(self._as_json(made, tag) if self.json else "\n".join(self._lines(made, release, tag)))
        return 0

    def _config(self, release: Release, tag: Tag) -> GrootConfig:
        if not tag.has_config:
            return read_dataset_config(self.dataset, self.modality_config_path)
        if self.modality_config_path is not None:
            given = Setting("modality_config_path", self.modality_config_path)
            raise ConfigError(Message(given, f": GR00T {release.name} has a config of its own for {tag.name}"))
        require_groot(release.choice)
        from millrace.train.groot.modality_configs import read_own_config

        return read_own_config(tag.value)

    def _lines(self, made: MadeView, release: Release, tag: Tag) -> list[str]:
        state = "made" if made.is_new else "is up to date"
        lines = [f"{self.out}: {state}, a view of {self.dataset} for GR00T {release.name} as {tag.name}"]
        if made.computed:
            lines.append(f"computed, as the dataset has none that fit: {', '.join(made.computed)}")
        lines += [f"left to GR00T, at its first run: relative {name} ({reason})" for name, reason in made.left.items()]
        config = self.modality_config_path or self.dataset / MODALITY_CONFIG
        flags = f"--dataset-path {self.out} --embodiment-tag {tag.name}"
        lines.append(f"NVIDIA's launcher: {flags}{'' if tag.has_config else f' --modality-config-path {config}'}")
        return [*map(printable, lines)]

    def _as_json(self, made: MadeView, tag: Tag) -> str:
        return to_json_text(
            {"view": str(self.out), "dataset": str(self.dataset), "embodiment_tag": tag.name, **asdict(made)}
        )
