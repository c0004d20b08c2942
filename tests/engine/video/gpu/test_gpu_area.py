"""Area means are exact, and so the same on every device."""

from fractions import Fraction
from itertools import islice
from math import floor, gcd
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="area means need torch: install the extra `gpu`")

from millrace.engine.video.gpu.area import AreaResize, area_weights  # noqa: E402

SIDES = st.integers(1, 16)


def area_mean(plane: NDArray[np.uint8], to_height: int, to_width: int) -> NDArray[np.uint8]:
    """By the book, a target pixel at a time: fractions, rounded half up."""
    rows, columns = covered(plane.shape[0], to_height), covered(plane.shape[1], to_width)
    means = [
        [
            sum(
                (share * other * int(plane[y, x]) for y, share in rows[i].items() for x, other in columns[j].items()),
                Fraction(0),
            )
            for j in range(to_width)
        ]
        for i in range(to_height)
    ]
    return np.array([[floor(mean + Fraction(1, 2)) for mean in row] for row in means], dtype=np.uint8)


def covered(size: int, to_size: int) -> list[dict[int, Fraction]]:
    """Of each target pixel the share that each source pixel has in it."""
    found = []
    for target in range(to_size):
        start, stop = Fraction(target * size, to_size), Fraction((target + 1) * size, to_size)
        shares = {y: (min(stop, y + 1) - max(start, y)) / (stop - start) for y in range(size)}
        found.append({y: share for y, share in shares.items() if share > 0})
    return found


@given(data=st.data(), height=SIDES, width=SIDES)
@settings(max_examples=40, deadline=None)
def test_every_mean_is_exact_and_rounded_half_up(data: Any, height: int, width: int) -> None:
    to_height, to_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    plane = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, (height, width), dtype=np.uint8)
    found = AreaResize((height, width), (to_height, to_width))(torch.from_numpy(plane))
    np.testing.assert_array_equal(found.numpy(), area_mean(plane, to_height, to_width))


@pytest.mark.parametrize(
    ("size", "to_size"), [((480, 480), (256, 256)), ((1080, 1080), (256, 256)), ((1082, 1078), (256, 254))]
)
def test_large_pictures_are_exact_in_whichever_precision(size: tuple[int, int], to_size: tuple[int, int]) -> None:
    """Sums of integers do not depend on their order: the same backwards, and in Python's own integers."""
    resize = AreaResize(size, to_size)
    plane = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    found = resize(plane)
    np.testing.assert_array_equal(resize(plane.flip(0, 1)).flip(0, 1), found)
    rows, columns = (
        np.kron(np.eye(gcd(*sizes), dtype=np.int64), area_weights(*sizes)) for sizes in zip(size, to_size, strict=True)
    )
    sums = rows @ plane.numpy().astype(np.int64) @ columns.T
    np.testing.assert_array_equal(found.numpy(), (2 * sums + resize.total) // (2 * resize.total))


@pytest.mark.parametrize("total", [8191, 8192, 8193])
def test_means_next_to_a_border_fall_on_the_right_side_of_it(total: int) -> None:
    """Of a row of pixels, at the largest total that float32 divides by and beside it."""
    levels = np.arange(255)[:, None] * total + total // 2 + np.array([-1, 0, 1])
    sums = np.concatenate([levels.ravel(), [0, 255 * total]])
    rows = np.clip(sums[:, None] - 255 * np.arange(total), 0, 255).astype(np.uint8)
    found = AreaResize((1, total), (1, 1))(torch.from_numpy(rows[:, None]))
    np.testing.assert_array_equal(found.numpy().ravel(), (2 * sums + total) // (2 * total))


@pytest.mark.parametrize(("size", "to_size"), [((30, 45), (16, 18)), ((400, 400), (256, 250))])
def test_many_planes_are_resized_as_one_is(size: tuple[int, int], to_size: tuple[int, int]) -> None:
    planes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 2, *size), dtype=np.uint8))
    resize = AreaResize(size, to_size)
    found = resize(planes)
    assert found.shape == (3, 2, *to_size)
    for first, second in np.ndindex(3, 2):
        np.testing.assert_array_equal(found[first, second], resize(planes[first, second]))


def test_white_stays_white_and_the_same_size_stays_as_it_is() -> None:
    white = torch.full((480, 480), 255, dtype=torch.uint8)
    assert (AreaResize((480, 480), (256, 256))(white) == 255).all()
    plane = torch.arange(48, dtype=torch.uint8).reshape(6, 8)
    assert torch.equal(AreaResize((6, 8), (6, 8))(plane), plane)


def test_larger_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="makes images smaller"):
        AreaResize((10, 10), (10, 12))


def test_imprecise_products_are_switched_off_meanwhile() -> None:
    plane = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (480, 480), dtype=np.uint8))
    resize = AreaResize((480, 480), (256, 256))
    expected = resize(plane)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(resize(plane), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; untested on hardware where skipped")
@pytest.mark.parametrize("size", [(480, 480), (1080, 1080), (1082, 1078)])
def test_a_gpu_gives_the_same_bytes(size: tuple[int, int]) -> None:
    planes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, *size), dtype=np.uint8))
    expected = AreaResize(size, (256, 254))(planes)
    for batch in islice(planes.split(3), 3):
        found = AreaResize(size, (256, 254), device="cuda")(batch.cuda())
        assert torch.equal(found.cpu(), expected[: len(batch)])
        expected = expected[len(batch) :]
