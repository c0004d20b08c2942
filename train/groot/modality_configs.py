"""The modality config of a run, and the user's own files, imported by path and once per process."""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS, register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ModalityConfig

from millrace.embodiments import Remedy
from millrace.engine.dataset.modality_config import ActionRep, GrootConfig, GrootModality
from millrace.engine.layout import MODALITY_CONFIG
from millrace.train.errors import ConfigError
from millrace.train.run_identity import RunIdentity, identify_run
from millrace.train.settings import FinetuneSettings

# Tags that GR00T has configs for itself, before anybody's files are imported.
BUILT_IN = frozenset(MODALITY_CONFIGS)


def make_identity(settings: FinetuneSettings) -> RunIdentity:
    """The identity of a run: what it trains, on what."""
    return identify_run(settings, list(read_run_configs(settings).values()))


def read_run_configs(settings: FinetuneSettings) -> dict[str, GrootConfig]:
    """The config of each of a run's tags, by EmbodimentTag's value; see `register_run_config`."""
    return {part.tag: _to_config(register_run_config(part), part.tag) for part in settings.parts}


def read_own_config(tag: str) -> GrootConfig:
    """GR00T's own config for a tag; tag: EmbodimentTag's value.

    Raises:
        ConfigError: this build has none for it.
    """
    if tag not in MODALITY_CONFIGS:
        known = ", ".join(MODALITY_CONFIGS)
        raise ConfigError(f"the installed GR00T has no modality config for {tag}; it has some for {known}")
    return _to_config(_found(tag), tag)


def register_run_configs(settings: FinetuneSettings) -> None:
    """Register the config of each of a run's tags; see `register_run_config`."""
    for part in settings.parts:
        register_run_config(part)


def register_run_config(settings: FinetuneSettings) -> Mapping[str, ModalityConfig]:
    """Register the config of the run's tag with GR00T in this process, and return it.

    GR00T's own for the tags that it has one for; else --modality-config-path, or the datasets' modality_config.py,
    whichever tag that names: GR1, which GR00T cannot finetune by itself, gets the datasets' so.

    Raises:
        ConfigError: there is none, or more than one.
    """
    tag, path = settings.tag, settings.modality_config_path
    if tag in BUILT_IN:
        if path is not None:
            raise ConfigError(f"--modality-config-path {path}: GR00T has a config of its own for {tag.upper()}")
        return _found(tag)
    path = path or _shared_config(settings.datasets)
    if path is None:
        import_user_modules(settings.import_module)
    elif (config := _run_file(path)) != MODALITY_CONFIGS.get(tag):
        if tag in MODALITY_CONFIGS:
            raise ConfigError(f"{tag.upper()} has another modality config in this process than that of {path}")
        register_modality_config(config, EmbodimentTag(tag))
    if tag not in MODALITY_CONFIGS:
        raise ConfigError(
            f"GR00T has no modality config for {tag.upper()}, and {settings.datasets[0]} has no {MODALITY_CONFIG}. ",
            Remedy("Pass --modality-config-path"),
            f"; GR00T has configs for {', '.join(sorted(BUILT_IN)).upper()}",
        )
    return _found(tag)


def import_user_modules(paths: Iterable[Path]) -> None:
    """Import files of the user under their own names, so that loader processes find them too.

    Raises:
        ConfigError: one is not there, fails, or is hidden by another module of that name.
    """
    for path in (path.resolve() for path in paths):
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        _check_file(path)
        try:
            module = importlib.import_module(path.stem)
        except Exception as error:
            raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
        if not module.__file__ or Path(module.__file__).resolve() != path:
            told = f"{path}: a module {path.stem!r} is imported from {module.__file__}; "
            raise ConfigError(told, Remedy("rename the file"), file=path)


def _to_config(config: Mapping[str, ModalityConfig], tag: str) -> GrootConfig:
    modalities = {
        name: GrootModality(tuple(entry.modality_keys), tuple(entry.delta_indices), _action_reps(entry))
        for name, entry in config.items()
    }
    return GrootConfig(modalities, tag)


def _action_reps(entry: ModalityConfig) -> tuple[ActionRep, ...] | None:
    if entry.action_configs is None:
        return None
    return tuple(
        ActionRep(action.rep.name, action.type.name, action.state_key, action.format.name)
        for action in entry.action_configs
    )


def _found(tag: str) -> Mapping[str, ModalityConfig]:
    config: Mapping[str, ModalityConfig] = MODALITY_CONFIGS[tag]
    return config


def _shared_config(datasets: Iterable[Path]) -> Path | None:
    """The first modality_config.py of the datasets, if all that have one say the same."""
    paths = [path for dataset in datasets if (path := dataset / MODALITY_CONFIG).is_file()]
    for path in paths[1:]:
        if _code(path) != _code(paths[0]):
            advice = Remedy("Pass the one to use as --modality-config-path")
            raise ConfigError(f"{path} differs from {paths[0]}. ", advice, file=path)
    return paths[0] if paths else None


def _code(path: Path) -> str:
    """What a config does; its docstring names the map, which may differ."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(module) is not None:
        del module.body[0]
    return ast.dump(module)


@cache
def _run_file(path: Path) -> Mapping[str, ModalityConfig]:
    """Run a modality config file; returns the config that it registers, for whichever tag, and does not leave it there.

    GR00T imports such files by their stem, so that of two of one name the first is used twice.
    """
    _check_file(path)
    name = f"millrace_modality_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    # The files of several datasets may register the same tag, of which GR00T takes one.
    others = {tag: MODALITY_CONFIGS.pop(tag) for tag in set(MODALITY_CONFIGS) - BUILT_IN}
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        registered = [MODALITY_CONFIGS.pop(tag) for tag in set(MODALITY_CONFIGS) - BUILT_IN]
        MODALITY_CONFIGS.update(others)
    if len(registered) != 1:
        raise ConfigError(
            f"{path} registers {len(registered)} modality configs; it must call register_modality_config once"
        )
    config: Mapping[str, ModalityConfig] = registered[0]
    return config


def _check_file(path: Path) -> None:
    if not path.is_file() or path.suffix != ".py":
        raise ConfigError(f"no Python file at {path}")
