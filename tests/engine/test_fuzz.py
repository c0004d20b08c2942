"""Whatever is done to a dataset: success or an error of ours, within time and memory, and nothing is touched."""

from pathlib import Path

import pytest

from fuzzing.seeds import SEEDS
from fuzzing.suite import RECORDINGS, check_mutants


@pytest.mark.parametrize("layout", [layout for layout in SEEDS if layout not in RECORDINGS])
def test_every_mutant_ends_in_success_or_in_an_error_of_ours(layout: str, tmp_path: Path) -> None:
    check_mutants(layout, tmp_path)
