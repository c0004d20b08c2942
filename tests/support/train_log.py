"""What a run has told in its log."""

from pathlib import Path

from millrace.train.train_progress import EVENT, LOG, AnyEvent


def read_events(folder: Path) -> list[AnyEvent]:
    """All events of a run's folder, in order."""
    return [EVENT.validate_json(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
