"""GR00T N1.6 itself: the only package that imports gr00t."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.engine.about import install_command
from millrace.train.errors import GrootMissing

if TYPE_CHECKING:  # which import torch and ray
    from millrace.train.evaluate_settings import Contender, EvaluateSettings
    from millrace.train.open_loop import Policy
    from millrace.train.serve import ServeSettings
    from millrace.train.worker import Worker

HOW_TO_GET = (
    "In a Python 3.10 environment: git clone --recurse-submodules --branch n1.6-release "
    f"https://github.com/NVIDIA/Isaac-GR00T, install it by its README, then Millrace: {install_command('train')}"
)


def require_groot() -> None:
    """Make sure that GR00T N1.6 and what Millrace trains it with are installed; nothing is imported.

    Raises:
        GrootMissing: something is not there, or is another GR00T.
    """
    missing = [name for name in ("gr00t", "torch", "transformers") if find_spec(name) is None]
    if missing:
        raise GrootMissing(f"GR00T N1.6 cannot be imported: no {', '.join(missing)}. {HOW_TO_GET}")
    spec = find_spec("gr00t")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    if not any((folder / "configs/model/gr00t_n1d6.py").is_file() for folder in folders):
        raise GrootMissing(f"the gr00t in {', '.join(map(str, folders))} is not N1.6. {HOW_TO_GET}")


def train(worker: "Worker") -> None:
    """Finetune GR00T as one of the workers."""
    _stay_offline()
    from millrace.train.groot.loader_processes import prepare_loader_processes
    from millrace.train.groot.modality_configs import import_user_modules

    # Before all else: a user's module may set what transformers reads when it is imported.
    import_user_modules(worker.settings.import_module)
    prepare_loader_processes(worker.settings)
    from millrace.train.groot.trainer import train_groot

    train_groot(worker)


def open_policy(settings: "EvaluateSettings", contender: "Contender") -> "Policy":
    """A checkpoint's policy, or that of a running server."""
    _stay_offline()
    from millrace.train.groot.modality_configs import import_user_modules

    import_user_modules(settings.import_module)
    if settings.server is not None or contender.tag is None:
        from millrace.train.groot.client import ServerPolicy
        from millrace.train.server_access import read_token

        assert settings.server is not None, "a checkpoint is evaluated under a tag"
        return ServerPolicy(
            settings.server,
            timeout_seconds=settings.timeout,
            wrapped=settings.use_sim_policy_wrapper,
            token=read_token(settings.api_token_env),
        )
    from millrace.train.groot.policy import CheckpointPolicy

    return CheckpointPolicy(contender.name, contender.tag, cpu=settings.cpu)


def serve(settings: "ServeSettings", tag: str) -> None:
    """Serve a checkpoint by GR00T's own inference server until a client ends it."""
    _stay_offline()
    from millrace.train.groot.modality_configs import import_user_modules

    import_user_modules(settings.import_module)
    from millrace.train.groot.server import run_server

    run_server(settings, tag)


def _stay_offline() -> None:
    """Keep albumentations from asking the network for a newer version, here and in each loader process."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
