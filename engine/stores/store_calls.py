"""Call a store: try again after errors that may pass, and explain all others without a word of the server's."""

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from millrace.embodiments import MillraceError
from millrace.engine.errors import StoreError
from millrace.engine.stores.address import StoreAddress
from millrace.engine.stores.store_failures import Failure, classify

Result = TypeVar("Result")

# Seconds before each further try, half a minute in all; stores ask for growing waits where they are asked too much.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Mistakes of ours.
BUGS = (AssertionError, AttributeError, NameError, TypeError)


def call_store(work: Callable[[], Result], address: StoreAddress, *, waits: Sequence[float] = WAITS) -> Result:
    """Run `work`, which calls a store; try again after each of the waits, in seconds, if its error may pass.

    Raises:
        StoreError: it failed; says what is wrong, and what to do. No cause is kept: its text may hold secrets.
    """
    for wait in (*waits, None):
        try:
            return work()
        except (MillraceError, *BUGS):
            raise
        except Exception as error:
            failure = classify(error)
        if wait is None or not failure.may_pass:
            raise store_error(failure, address)
        time.sleep(wait * (0.5 + random.random()))  # so that workers do not all come back at once
    raise AssertionError("the last try returns or raises")


def store_error(failure: Failure, address: StoreAddress) -> StoreError:
    """The error for a failure."""
    return StoreError(failure.explain(address), kind=failure.kind)
