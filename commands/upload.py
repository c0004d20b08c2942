"""`millrace upload`."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.filesize import decimal
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.print_flags import PrintFlags
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError
from millrace.engine.output.upload import UploadSize, check_uploadable, upload_folder
from millrace.engine.packing.layouts import SUFFIX, find_packed
from millrace.engine.text import format_count
from millrace.train.flag_types import Flag


@dataclass(frozen=True, kw_only=True)
class Upload(PrintFlags):
    """Put a finished dataset, or a checkpoint, on the Hugging Face Hub, and print its page.

    A dataset in LeRobot v2.1 or v3.0 is validated first, and gets the version tag that LeRobot looks for. It needs a
    token: `hf auth login`, or HF_TOKEN. The same command again continues a stopped upload. Examples:

    millrace upload out/aloha_gr1 my-org/aloha-gr1 --private

    millrace upload out/aloha my-org/aloha --with-v30

    millrace upload checkpoints/aloha/checkpoint-5000 my-org/aloha-n16 --kind model
    """

    folder: Annotated[Path, tyro.conf.Positional, arg(metavar="FOLDER")]
    """Folder of the dataset or checkpoint; it may also stand behind ORG/NAME, as `hf upload` takes it."""
    repo: Annotated[str, tyro.conf.Positional, arg(metavar="ORG/NAME")]
    """Its name on the Hub; a repository is made if there is none. What it holds of an earlier dataset is replaced."""
    private: Flag = False
    """Make the repository private."""
    kind: Literal["dataset", "model"] = "dataset"
    """What the folder holds."""
    with_v30: Flag = False
    """Also upload FOLDER_v30, which `convert --layout v2.1,v3.0` made, as ORG/NAME_v30."""
    with_optimizer: Flag = False
    """Also upload what only resuming a run needs of a checkpoint: optimizer, random numbers, most of its bytes."""

    when_stopped = "stopped; the same command continues where this one stopped"

    def run(self) -> int:
        """Upload, and print the address of each page."""
        uploads, pages = self._uploads(), []
        for folder, _ in uploads[1:]:  # nothing is sent before all is known to be valid
            check_uploadable(folder, self.kind)
        for folder, repo in uploads:
            page = upload_folder(
                folder,
                repo,
                kind=self.kind,
                private=self.private,
                with_optimizer=self.with_optimizer,
                on_start=partial(_print_size, folder, repo),
            )
            pages.append({"folder": str(folder), "repo": repo, "page": page})
            if not self.json:
                print(page)
        if self.json:
            print(to_json_text({"uploads": pages}))
        return 0

    def _uploads(self) -> list[tuple[Path, str]]:
        """Each folder and its repository."""
        folder, repo = self.folder, self.repo
        if not folder.exists() and Path(repo).is_dir():  # as `hf upload ORG/NAME FOLDER`
            folder, repo = Path(repo), str(folder)
        if not self.with_v30:
            return [(folder, repo)]
        if self.kind == "model":
            advice = Remedy("leave out one of the two")
            raise RecipeError("--with-v30 uploads a dataset, --kind model a checkpoint; ", advice)
        return [(folder, repo), (find_packed(folder), repo + SUFFIX)]


def _print_size(folder: Path, repo: str, size: UploadSize) -> None:
    """Print the upload's size first: without a terminal huggingface_hub shows no progress for a long time."""
    parts = [f"{format_count(size.num_files, 'file')}, {decimal(size.num_bytes)}"]
    if size.num_bytes_here:
        parts.append(f"{decimal(size.num_bytes_here)} of the optimizer stay here, --with-optimizer sends them")
    if size.num_replaced:
        parts.append(f"{format_count(size.num_replaced, 'file')} of an earlier upload will be deleted there")
    print(f"uploading {folder} to {repo}: {'; '.join(parts)}", file=sys.stderr)
