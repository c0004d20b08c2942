"""GR00T itself: the only package that imports gr00t."""

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which import torch and ray
    from collections.abc import Callable

    from millrace.train.evaluate_settings import Contender, EvaluateSettings
    from millrace.train.open_loop import Policy
    from millrace.train.robot_policy import RobotPolicy
    from millrace.train.serve import ServeSettings
    from millrace.train.worker import Worker


def train(worker: "Worker") -> None:
    """Finetune GR00T as one of the workers."""
    _stay_offline()
    from millrace.train.fallbacks import announce_fallbacks
    from millrace.train.groot.loader_processes import prepare_loader_processes
    from millrace.train.groot.modality_configs import import_user_modules

    # Before all else: a user's module may set what transformers reads when it is imported.
    import_user_modules(worker.settings.import_module)
    with announce_fallbacks(worker.folder) if worker.rank == 0 else nullcontext():
        prepare_loader_processes(worker.settings)
        from millrace.train.groot.trainer import train_groot

        train_groot(worker)


def open_policy(settings: "EvaluateSettings", contender: "Contender") -> "Policy":
    """A checkpoint's policy, or that of a running server."""
    _stay_offline()
    from millrace.train.groot.modality_configs import import_user_modules

    import_user_modules(settings.import_module)
    if settings.server is not None or contender.tag is None:
        from millrace.train.groot.server_policy import ServerPolicy
        from millrace.train.server_access import read_token

        assert settings.server is not None, "a checkpoint is evaluated under a tag"
        return ServerPolicy(
            settings.server,
            timeout_seconds=settings.timeout,
            wrapped=settings.use_sim_policy_wrapper,
            token=read_token(settings.api_token_env, settings.token_file),
        )
    from millrace.train.groot.policy import CheckpointPolicy

    return CheckpointPolicy(contender.name, contender.tag, cpu=settings.cpu)


def serve(settings: "ServeSettings", tag: str, *, on_listening: "Callable[[str], None]" = lambda address: None) -> None:
    """Serve a checkpoint by GR00T's own inference server until a client ends it; told its address once it listens."""
    _stay_offline()
    from millrace.train.groot.modality_configs import import_user_modules

    import_user_modules(settings.import_module)
    from millrace.train.groot.server import run_server

    run_server(settings, tag, on_listening=on_listening)


def open_robot_policy(settings: "ServeSettings", tag: str) -> "RobotPolicy":
    """A checkpoint's policy in the joints of the robot that the settings name."""
    _stay_offline()
    from millrace.train.groot.modality_configs import import_user_modules

    import_user_modules(settings.import_module)
    from millrace.train.groot.server import load_robot_policy

    return load_robot_policy(settings, tag)


def _stay_offline() -> None:
    """Keep albumentations from asking the network for a newer version, here and in each loader process."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
