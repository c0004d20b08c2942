"""Whether a run may start, or continue, in its folder: told before its data is read, which may take long."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from millrace.embodiments import Message, Setting
from millrace.embodiments.messages import render
from millrace.engine.dataset.problems import Problem
from millrace.engine.layout import META
from millrace.train.checkpoint_files import weights_digest
from millrace.train.errors import OtherRun, SettingsError
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.preflight.trained_robot import TrainedConfig
from millrace.train.run_folder import check_identity, read_identity
from millrace.train.run_identity import RunIdentity, describe_optimizer, describe_release, identify_run
from millrace.train.settings import FinetuneSettings


def earlier_run_problems(settings: FinetuneSettings, configs: Sequence[TrainedConfig]) -> Iterator[Problem]:
    """Whether the folder holds another run, as far as this one is known: its datasets may still have to be made."""
    if settings.overwrite:
        return
    try:
        earlier = read_identity(settings.run_folder)
        if earlier is not None:
            check_identity(settings.run_folder, _known_identity(settings, configs, earlier))
    except OtherRun as error:
        message = Message(error)
        yield make_run_problem("other-run", message.what, remedy=render(message.remedy, _write_flag))


def _write_flag(setting: Setting) -> str:
    return f"--{setting.name.replace('_', '-')}"


def _known_identity(settings: FinetuneSettings, configs: Sequence[TrainedConfig], earlier: RunIdentity) -> RunIdentity:
    """This run's identity; what is not known of it yet is taken for that of the earlier run."""
    known_configs = [config.config for config in configs if config.config is not None]
    if len(known_configs) == len(configs) and all(_is_dataset(path) for path in settings.datasets):
        try:
            return identify_run(settings, known_configs)
        except SettingsError:  # a damaged manifest, which its own check tells
            pass
    base = settings.base_model_path
    tags = ", ".join(part.embodiment_tag for part in settings.parts)
    known: dict[str, object] = {"base_model": base, "base_digest": weights_digest(base), "embodiment_tag": tags}
    known |= {"optimizer": describe_optimizer(settings), **describe_release(settings)}
    return earlier.model_copy(update=known)


def _is_dataset(path: Path) -> bool:
    return (path / META / "info.json").is_file()
