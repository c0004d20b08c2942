"""huggingface_hub is silent where Millrace asks the Hub."""

from collections.abc import Iterator

import pytest
from huggingface_hub.utils import logging

from millrace.engine.hub.silence import silence_hub


@pytest.fixture
def verbosity() -> Iterator[int]:
    """The verbosity of huggingface_hub, which the test may change."""
    before = logging.get_verbosity()
    yield before
    logging.set_verbosity(before)


@pytest.mark.parametrize("error", [None, ValueError])
def test_after_the_block_it_speaks_again(verbosity: int, error: type[Exception] | None) -> None:
    try:
        with silence_hub():
            assert logging.get_verbosity() == logging.CRITICAL
            if error:
                raise error
    except ValueError:
        pass
    assert logging.get_verbosity() == verbosity


def test_after_ctrl_c_it_stays_silent_as_its_threads_go_on_and_their_warnings_show_signed_urls(verbosity: int) -> None:
    with pytest.raises(KeyboardInterrupt), silence_hub():
        raise KeyboardInterrupt
    assert logging.get_verbosity() == logging.CRITICAL > verbosity
