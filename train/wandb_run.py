"""A run in Weights & Biases, one for all starts of a training run."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from millrace.train.wandb_files import NOTES, read_run_id
from millrace.train.worker import Worker


@contextmanager
def wandb_run(worker: Worker, config: Mapping[str, Any], *, tags: tuple[str, ...] = ()) -> Iterator[None]:
    """Log the block's training to the run's own W&B run, where --use-wandb asks for it, and send all of it.

    The training run is known by an id in its folder: a resumed one goes on in the same W&B run. Ray ends its workers
    by a signal, so that wandb would not finish by itself.

    Args:
        worker: Rank 0 logs, others do nothing.
        config: What the W&B run shows as its config, beside "millrace" with all settings of the training run.
        tags: For the W&B run.
    """
    if worker.rank != 0:
        yield
        return
    settings = worker.settings
    run_id = _note_run(worker.folder / NOTES, project=str(settings.wandb_project), name=worker.folder.name)
    if not settings.use_wandb:
        yield
        return
    import wandb

    wandb.init(
        project=settings.wandb_project,
        name=worker.folder.name,
        tags=list(tags),
        dir=str(worker.folder),
        id=run_id,
        resume="allow",
        config={**config, "millrace": json.loads(json.dumps(asdict(settings), default=str))},
    )
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)
        wandb.teardown()  # waits for wandb's own process, which writes and sends; Ray would end it with the worker


def _note_run(file: Path, *, project: str, name: str) -> str:
    """Write what GR00T writes, and the id of the W&B run, which stays as an earlier start drew it."""
    run_id = read_run_id(file.parent) or uuid.uuid4().hex[:16]
    file.write_text(json.dumps({"project": project, "run_id": name, "id": run_id}), encoding="utf-8")
    return run_id
