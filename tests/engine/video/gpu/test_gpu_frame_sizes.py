"""Area means of frames of any size and aspect: every pixel is the reference's, computed in whole numbers."""

import numpy as np
import pytest

from millrace.engine.video.gpu import hardware
from support.frame_cases import CASES, Case, draw_frame, expected_planes, planes_of

if problem := hardware.torch_problem():
    pytest.skip(f"area means need torch and torchvision: {problem}", allow_module_level=True)

from millrace.engine.video.gpu.area_reframe import AreaReframer


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_area_means_are_exact(case: Case) -> None:
    frame = draw_frame(case.source)
    expected = expected_planes(case, frame)
    (made,) = AreaReframer(crop=case.crop, size=case.size)(iter([frame]))
    for plane, wanted in zip(planes_of(made), expected, strict=True):
        np.testing.assert_array_equal(plane, wanted)
