"""GR00T's slower way is said on the terminal, whichever process takes it."""

import io
import os
import warnings
from multiprocessing import get_context
from pathlib import Path

import pytest
from rich.console import Console

from millrace.train.fallbacks import RUN_FOLDER, announce_fallbacks, warn_fallback
from millrace.train.progress_display import show_events
from millrace.train.run_summary import Loaders

MASKS = "out/a has masks: GR00T's loader reads it, whole episodes"


def fall_back_twice() -> None:
    """As a loader process does."""
    warnings.simplefilter("ignore")
    warn_fallback(MASKS)
    warn_fallback("new_embodiment: steps are processed one by one")


def test_what_a_loader_process_and_its_rank_fall_back_to_is_shown_once(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=40), Loaders(2, None)), announce_fallbacks(tmp_path):
        loader = get_context("spawn").Process(target=fall_back_twice)
        loader.start()
        with pytest.warns(UserWarning, match="out/a has masks"):
            warn_fallback(MASKS)
        loader.join()
    assert loader.exitcode == 0
    lines = [f"note: {MASKS}", "note: new_embodiment: steps are processed one by one"]
    assert sorted(terminal.getvalue().splitlines()) == sorted(lines)
    assert RUN_FOLDER not in os.environ


def test_without_a_run_there_is_the_warning_alone(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="masks"):
        warn_fallback(MASKS)
    with announce_fallbacks(tmp_path / "gone"), pytest.warns(UserWarning, match="masks"):
        warn_fallback(MASKS)
    assert list(tmp_path.iterdir()) == []
