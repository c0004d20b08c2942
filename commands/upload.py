"""`millrace upload`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.filesize import decimal
from tyro.conf import arg

from millrace.engine.output.upload import upload_folder
from millrace.engine.text import format_count
from millrace.train.flag_types import Flag


@dataclass(frozen=True)
class Upload:
    """Put a finished dataset, or a checkpoint, on the Hugging Face Hub, and print its page.

    It needs a token: `hf auth login`, or HF_TOKEN. The same command again continues a stopped upload. Examples:

    millrace upload out/aloha_gr1 my-org/aloha-gr1 --private

    millrace upload checkpoints/aloha/checkpoint-5000 my-org/aloha-n16 --kind model
    """

    folder: Annotated[Path, tyro.conf.Positional, arg(metavar="FOLDER")]
    """Folder of the dataset or checkpoint."""
    repo: Annotated[str, tyro.conf.Positional, arg(metavar="ORG/NAME")]
    """Its name on the Hub; a repository is made if there is none."""
    private: Flag = False
    """Make the repository private."""
    kind: Literal["dataset", "model"] = "dataset"
    """What the folder holds."""
    with_optimizer: Flag = False
    """Also upload what only resuming a run needs of a checkpoint: optimizer, random numbers, most of its bytes."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped; the same command continues where this one stopped"

    def run(self) -> int:
        """Upload, and print the address of the page."""
        print(
            upload_folder(
                self.folder,
                self.repo,
                kind=self.kind,
                private=self.private,
                with_optimizer=self.with_optimizer,
                on_start=self._print_size,
            )
        )
        return 0

    def _print_size(self, num_files: int, num_bytes: int, num_left: int) -> None:
        """Print the upload's size first: without a terminal huggingface_hub shows no progress for a long time."""
        sizes = f"{format_count(num_files, 'file')}, {decimal(num_bytes)}"
        left = f"; {decimal(num_left)} of the optimizer stay here, --with-optimizer sends them" if num_left else ""
        print(f"uploading {self.folder} to {self.repo}: {sizes}{left}", file=sys.stderr)
