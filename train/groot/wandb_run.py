"""A run in Weights & Biases, one for all starts of a training run."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gr00t.configs.base_config import Config

from millrace.train.worker import Worker

NOTES = "wandb_config.json"  # where GR00T notes project and name of a run


@contextmanager
def wandb_run(config: Config, worker: Worker) -> Iterator[None]:
    """Log the block's training to the run's own W&B run, where --use-wandb asks for it, and send all of it.

    The training run is known by an id in its folder: a resumed one goes on in the same W&B run. Ray ends its workers
    by a signal, so that wandb would not finish by itself.
    """
    if worker.rank != 0:
        yield
        return
    run_id = _note_run(worker.folder / NOTES, project=config.training.wandb_project, name=worker.folder.name)
    if not config.training.use_wandb:
        yield
        return
    import wandb

    wandb.init(
        project=config.training.wandb_project,
        name=worker.folder.name,
        tags=[config.data.mode],
        dir=str(worker.folder),
        id=run_id,
        resume="allow",
        config=wandb_config(config, worker),
    )
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)


def wandb_config(config: Config, worker: Worker) -> dict[str, Any]:
    """What GR00T's launcher gives its W&B run, and under "millrace" all settings of the training run."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(worker.settings), default=str))
    commit = os.environ.get("GROOT_COMMIT_HASH", "unknown")
    return {**config.__dict__, "git_commit_hash": commit, "millrace": settings}


def _note_run(file: Path, *, project: str, name: str) -> str:
    """Write what GR00T writes, and the id of the W&B run, which stays as an earlier start drew it."""
    try:
        run_id = json.loads(file.read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, KeyError):
        run_id = uuid.uuid4().hex[:16]
    file.write_text(json.dumps({"project": project, "run_id": name, "id": run_id}), encoding="utf-8")
    return str(run_id)
