"""Whatever is done to images, HDF5 files and recordings: as for any dataset, success or an error of ours."""

from pathlib import Path

import pytest

from fuzzing.suite import RECORDINGS, check_mutants


@pytest.mark.parametrize("layout", RECORDINGS)
def test_every_mutant_of_a_recording_ends_in_success_or_in_an_error_of_ours(layout: str, tmp_path: Path) -> None:
    check_mutants(layout, tmp_path)
