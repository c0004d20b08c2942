"""`millrace finetune`."""

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, TextIO

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.finetune_output import describe_check, train_for_json
from millrace.commands.json_output import to_json_text
from millrace.commands.json_stdout import keep_stdout
from millrace.commands.last_words import HEAD_IS_GONE, last_words
from millrace.commands.progress import show_stages
from millrace.commands.tables import make_console
from millrace.engine.stores.address import is_store_address
from millrace.train.finetune_flags import FinetuneFlags
from millrace.train.flag_types import Flag
from millrace.train.settings import FinetuneSettings


@dataclass(frozen=True, kw_only=True)
class Finetune(FinetuneFlags):
    """Finetune GR00T N1.6 or N1.7 on one or more datasets.

    Flags are those of NVIDIA's launcher, with its defaults. The same command again resumes. Examples:

    millrace finetune out/aloha_gr1 --base-model-path nvidia/GR00T-N1.6-3B --output-dir checkpoints/aloha --num-gpus 4

    millrace finetune out/a out/b --mix 0.7 0.3 --base-model-path nvidia/GR00T-N1.6-3B --output-dir checkpoints/ab

    millrace finetune out/a out/g1 --tags a GR1 g1 UNITREE_G1 --weights a 0.7 g1 0.3 --base-model-path MODEL
    """

    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional, arg(metavar="DATASET ...")] = ()
    """Folders of GR00T datasets; or addresses in an object store, such as s3://bucket/folder, that each node
    fetches."""
    dataset_path: Annotated[tuple[Path, ...], arg(metavar="DATASET ...")] = ()
    """The same, as NVIDIA's launcher takes it."""
    dry_run: Flag = False
    """Only check, and say what would be trained."""
    verify: Flag = False
    """Check all files of the datasets, also where none has changed since an earlier start of this run did so."""
    json: Flag = False
    """Print JSON instead of text: run folder, checkpoints, last losses, or what is wrong; with --dry-run, the plan."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped; the same command resumes from the newest complete checkpoint"

    def run(self) -> int:
        """Check everything, then train; 1 if anything is wrong."""
        with keep_stdout(self.json) as stdout:
            return self._check_and_train(stdout)

    def _check_and_train(self, stdout: TextIO) -> int:
        settings = self.settings()
        from millrace.commands.preflight_text import print_plan
        from millrace.train.preflight import keep_full_checks, preflight

        with show_stages(Console(stderr=True)) as on_progress:
            checked = preflight(settings, verify=self.verify, on_progress=on_progress)
        if checked.is_valid and (settings.run_folder.is_dir() or not self.dry_run):
            keep_full_checks(settings.run_folder, checked.full_checks)
        if self.dry_run and not self.json:
            print_plan(checked, make_console())
        else:
            for line in checked.lines():
                print(line, file=sys.stderr)
        if self.json and (self.dry_run or not checked.is_valid):
            print(to_json_text({**describe_check(checked), "run": None}), file=stdout)
        if self.dry_run or not checked.is_valid:
            return 0 if checked.is_valid else 1
        if self.json:
            return train_for_json(settings, self._train, describe_check(checked), stdout=stdout, debug=self.debug)
        print(f"trained: {self._train(settings)}", file=stdout)
        return 0

    def _train(self, settings: FinetuneSettings) -> Path:
        from millrace.train.installed import require_groot

        require_groot(settings.gr00t)
        from millrace.train.finetune import finetune
        from millrace.train.groot import train
        from millrace.train.groot.missing_statistics import complete_statistics
        from millrace.train.groot.modality_configs import make_identity

        # Training sends what libraries print to a file; progress goes where standard error went before.
        with os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
            identity, console = make_identity(settings), Console(file=terminal)
            with nullcontext() if settings.address is None else last_words(HEAD_IS_GONE):
                return finetune(settings, identity, train, console, prepare=complete_statistics)

    def settings(self) -> FinetuneSettings:
        """The flags as settings, with all paths absolute.

        Raises:
            SettingsError: a flag contradicts another, or its value means nothing.
        """
        flags = {field.name: getattr(self, field.name) for field in fields(FinetuneFlags)}
        paths: tuple[Path, ...] = (*self.datasets, *self.dataset_path)
        stored: dict[str, str] = {}
        held_out = () if self.eval_dataset is None else (self.eval_dataset,)
        if any(map(is_store_address, (*paths, *held_out))):
            from millrace.train.stored_datasets import fetch_datasets

            fetched, stored = fetch_datasets((*paths, *held_out))
            paths = fetched[: len(paths)]
            flags["eval_dataset"] = fetched[-1] if held_out else None
        return FinetuneSettings(datasets=paths, stored=stored, **flags).absolute()
