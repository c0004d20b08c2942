"""Long work of huggingface_hub beside the main thread, which stays free to hear Ctrl-C."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from queue import Queue

from millrace.engine.errors import HubError
from millrace.engine.hub.calls import HubName, explain_hub_error, may_pass, quiet

LOGGER = "huggingface_hub._upload_large_folder"
MAX_FAILURES = 10
# After so long without a failure, those before it are history.
CALM_SECONDS = 600.0
MAX_SLEEP_SECONDS = 60.0
POLL_SECONDS = 0.2


def in_background(work: Callable[[], None], about: HubName) -> None:
    """Do some work; it is dropped when this process ends, and when it fails for good.

    huggingface_hub's upload workers retry for ever, even what can never succeed, and only log why.

    Raises:
        HubError: it failed for good.
    """
    failures: Queue[BaseException] = Queue()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.put(error)

    watch = _Watch(failures)
    logger = logging.getLogger(LOGGER)
    propagates, level = logger.propagate, logger.level
    logger.addHandler(watch)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    # Threads that a daemon starts are daemons too: none of them keeps the process from ending.
    thread = threading.Thread(target=run, daemon=True)
    try:
        with quiet(has_bars=sys.stderr.isatty()):
            thread.start()
            while thread.is_alive() and failures.empty():
                thread.join(POLL_SECONDS)
    finally:
        logger.removeHandler(watch)
        logger.propagate = propagates
        logger.setLevel(level)
    if not failures.empty():
        error = failures.get()
        raise error if isinstance(error, HubError) else HubError(explain_hub_error(error, about)) from error


class _Watch(logging.Handler):
    """Hears of each failure, within the worker that failed: lets it wait, or if there is no hope, for ever."""

    def __init__(self, failures: "Queue[BaseException]") -> None:
        super().__init__(logging.ERROR)
        self.failures = failures
        self.num_failures = 0
        self.last_seconds = time.monotonic()

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of handlers, for which the end of the process would wait as well."""
        error = sys.exc_info()[1]
        if error is None:
            return False
        now = time.monotonic()
        self.num_failures = 1 if now - self.last_seconds > CALM_SECONDS else self.num_failures + 1
        self.last_seconds = now
        if not may_pass(error) or self.num_failures > MAX_FAILURES:
            self.failures.put(error)
            threading.Event().wait()
        time.sleep(min(2.0**self.num_failures / 2, MAX_SLEEP_SECONDS))
        return True
