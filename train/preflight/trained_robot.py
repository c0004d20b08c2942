"""Which modality config a run trains with: that of GR00T for the tag, a file of the user, or the datasets' own."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.modality_config import GrootConfig, GrootModality, read_config
from millrace.engine.dataset.problems import Problem
from millrace.engine.layout import MODALITY_CONFIG
from millrace.train.errors import ConfigError
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.installed import Installed
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.settings import FinetuneSettings

DESCRIBE_SECONDS = 120
_Described = TypeAdapter(dict[str, GrootModality] | None)


@dataclass(frozen=True)
class TrainedConfig:
    """The modality config of a run. source: its file, or GR00T; config: None where unknown."""

    source: str
    config: GrootConfig | None


def tag_problems(
    settings: FinetuneSettings, base: BaseCheckpoint | None, installed: Installed | None
) -> Iterator[Problem]:
    """Whether GR00T and the base model know the embodiment tag, and whose modality config it has."""
    tag, file, release = settings.embodiment_tag, settings.modality_config_path, settings.release
    if release.find_tag(tag) is None:
        yield make_run_problem("embodiment-tag", f"--embodiment-tag {release.describe_unknown_tag(tag)}")
        return
    if installed is not None and installed.release == release and not installed.has_tag(tag):
        where = ", ".join(map(str, installed.folders))
        message = f"--embodiment-tag {tag}: the GR00T {release.name} in {where} is an earlier build, without this tag"
        yield make_run_problem("embodiment-tag", message)
        return
    has_config = release.has_config(tag)
    if has_config and file is not None:
        message = f"--modality-config-path {file}: {release.name} has a config of its own for {tag}"
        yield make_run_problem("tag-taken", message)
    # A module of the user may register one as well; only importing it would tell.
    if not has_config and _config_file(settings) is None and not (file is None and settings.import_module):
        nowhere = f"no file {file}" if file else f"no {MODALITY_CONFIG} in {', '.join(map(str, settings.datasets))}"
        message = f"Embodiment tag not found: {release.name} has no modality config for {tag}, and there is {nowhere}"
        yield make_run_problem("tag-unregistered", message)
    projector = 0 if base is None else base.projectors.get(settings.tag, 0)
    if base is not None and projector >= base.config.max_num_embodiments:
        message = f"{tag} has projector {projector}, but {base.name} has {base.config.max_num_embodiments} of them only"
        yield make_run_problem("tag-projector", message)


def read_trained_config(settings: FinetuneSettings) -> tuple[TrainedConfig, list[Problem]]:
    """The modality config of a run, and why it could not be read."""
    if settings.release.has_config(settings.embodiment_tag):
        return _run_for(f"{settings.release.name}'s config of {settings.embodiment_tag}", settings.tag)
    file = _config_file(settings)
    if file is None:
        return _unread("a module of --import-module", "") if settings.import_module else (TrainedConfig("", None), [])
    try:
        return TrainedConfig(str(file), read_config(file.parent, file.name)), []
    except Unreadable as error:
        found = error.problem
    if found.code == "config-dynamic":
        return _run_for(str(file), settings.tag, file)
    return TrainedConfig(str(file), None), [replace(found, path=file)]


def _config_file(settings: FinetuneSettings) -> Path | None:
    """The file given, or the first of the datasets' own."""
    given = settings.modality_config_path
    files = [dataset / MODALITY_CONFIG for dataset in settings.datasets] if given is None else [given]
    return next((file for file in files if file.is_file()), None)


def _run_for(source: str, tag: str, file: Path | None = None) -> tuple[TrainedConfig, list[Problem]]:
    try:
        return TrainedConfig(source, _described(tag, file)), []
    except ConfigError as why:
        return _unread(source, f", which failed ({why})")


def _unread(source: str, why: str) -> tuple[TrainedConfig, list[Problem]]:
    message = f"{source} is known only by running it{why}, so it is not judged"
    return TrainedConfig(source, None), [make_run_problem("config-unread", message)]


def _described(tag: str, file: Path | None = None) -> GrootConfig:
    """The config as gr00t itself has it, read in a process of its own.

    Raises:
        ConfigError: that process failed, or no config is registered.
    """
    command = [sys.executable, "-m", "millrace.train.groot.describe", tag, *([] if file is None else [str(file)])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=DESCRIBE_SECONDS)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"no answer within {DESCRIBE_SECONDS} s") from None
    if done.returncode:
        raise ConfigError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    try:
        modalities = _Described.validate_json(done.stdout.splitlines()[-1])
    except (ValidationError, IndexError):
        raise ConfigError("its output is no config") from None
    if modalities is None:
        raise ConfigError("it registers no config")
    return GrootConfig(modalities)


def agreement_problems(settings: FinetuneSettings, config: TrainedConfig) -> Iterator[Problem]:
    """Whether the datasets' own files ask for the same: one config, that of the first, is for all of them."""
    if settings.release.has_config(settings.embodiment_tag) or settings.modality_config_path or config.config is None:
        return
    for file in (dataset / MODALITY_CONFIG for dataset in settings.datasets):
        try:
            differs = file.is_file() and read_config(file.parent).modalities != config.config.modalities
        except Unreadable:
            continue
        if differs:
            message = f"{file} asks for something else than {config.source}, which would count for all datasets"
            yield make_run_problem("configs-differ", message)
