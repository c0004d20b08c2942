"""Open an environment by its name, by an adapter that ships or one of the user's."""

import importlib.util
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.train.errors import RolloutError
from millrace.train.rollout import gym_aloha
from millrace.train.rollout.simulated_robot import SimulatedRobot

# How an adapter's file opens its environment.
OPEN = "open_environment"
ADAPTERS: dict[str, Callable[..., SimulatedRobot]] = {gym_aloha.PREFIX: gym_aloha.GymAloha}
PACKAGES: dict[Callable[..., SimulatedRobot], str] = {gym_aloha.GymAloha: gym_aloha.PACKAGE}


def open_environment(env_id: str, *, with_images: bool, adapter: Path | None = None) -> SimulatedRobot:
    """The environment of that name.

    Args:
        env_id: As gymnasium knows it, such as "gym_aloha/AlohaTransferCube-v0".
        with_images: Whether observations hold the cameras' images.
        adapter: A Python file with `open_environment(env_id, *, with_images)`; None: one that ships.

    Raises:
        RolloutError: no adapter fits, or what it needs is not installed.
    """
    opener = _find_adapter(env_id) if adapter is None else _load_adapter(adapter)
    try:
        return opener(env_id, with_images=with_images)
    except ModuleNotFoundError as error:
        raise _not_installed(env_id, str(error.name)) from error


def check_environment(env_id: str, *, adapter: Path | None = None) -> None:
    """Check that an environment could be opened, as far as that is known without starting a simulator.

    Raises:
        RolloutError: no adapter fits, or what it needs is not installed.
    """
    if adapter is not None:
        _check_file(adapter)
        return
    package = PACKAGES[_find_adapter(env_id)]
    if find_spec(package) is None:
        raise _not_installed(env_id, package)


def _not_installed(env_id: str, package: str) -> RolloutError:
    install = Remedy("install it: pip install 'millrace-robotics[sim]'")
    return RolloutError(f"{env_id} needs {package!r}, which is not installed; ", install)


def _find_adapter(env_id: str) -> Callable[..., SimulatedRobot]:
    for prefix, opener in ADAPTERS.items():
        if env_id.startswith(prefix):
            return opener
    known = ", ".join(f"{prefix}..." for prefix in ADAPTERS)
    own = Remedy("name a file that opens it: ", Setting("adapter", "FILE"))
    raise RolloutError(f"no adapter ships for {env_id!r}. Known: {known}; ", own, got=env_id, known=tuple(ADAPTERS))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise RolloutError(f"there is no adapter at {path}", file=path)


def _load_adapter(path: Path) -> Callable[..., SimulatedRobot]:
    _check_file(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise RolloutError(f"{path} is no Python file", file=path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    opener = getattr(module, OPEN, None)
    if not callable(opener):
        raise RolloutError(f"{path} has no function {OPEN}(env_id, *, with_images)", file=path)
    chosen: Callable[..., SimulatedRobot] = opener
    return chosen
