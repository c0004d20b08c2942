"""Keep huggingface_hub from writing to the terminal."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL


@contextmanager
def silence_hub(*, has_bars: bool = False) -> Iterator[None]:
    """Silence huggingface_hub's own warnings and bars within this block.

    After Ctrl-C it stays silent: calls that are under way in threads go on, and their warnings show signed URLs.
    """
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    verbosity, had_bars = logging.get_verbosity(), not are_progress_bars_disabled()

    def restore() -> None:
        logging.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()

    logging.set_verbosity(CRITICAL)
    if not has_bars:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="huggingface_hub")
            yield
    except Exception:
        restore()
        raise
    restore()
