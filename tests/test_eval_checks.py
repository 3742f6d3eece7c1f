"""What the measures ask of their arrays: types, shapes, ranges, and the way to [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.eval.checks import checked_images, checked_rows, unit_range


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_good_images_pass_unchanged(dtype: type, channels: int) -> None:
    images = np.zeros([2, 4, 5, channels], dtype)
    images[0] = 255 if dtype == np.uint8 else 1
    assert checked_images(images, least=2) is images


@pytest.mark.parametrize(
    "shape",
    [(4, 5, 3), (2, 4, 5, 2), (2, 4, 5, 4), (2, 1, 4, 5, 3), (), (2, 0, 5, 3), (2, 4, 0, 1)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"images have shape .*, expected \[n, height, width"):
        checked_images(np.zeros(shape, dtype))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 images, expected at least 3"):
        checked_images(np.zeros([2, 4, 4, 1]), least=3)
    with pytest.raises(ValueError, match="there are 0 images, expected at least 1"):
        checked_images(np.zeros([0, 4, 4, 1]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.uint16, complex, object])
def test_images_of_another_type_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match=f"of type {np.dtype(dtype)}, expected uint8 or floating"):
        checked_images(np.zeros([1, 4, 4, 1], dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    images = np.full([2, 4, 4, 3], 0.5)
    images[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match="not finite"):
        checked_images(images)


@pytest.mark.parametrize(("value", "span"), [(-1e-3, "-0.001, 0.5"), (1.002, "0.5, 1.002")])
def test_images_out_of_range_are_refused(value: float, span: str) -> None:
    images = np.full([2, 4, 4, 3], 0.5)
    images[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=rf"images lie in \[{span}\], expected \[0, 1\]"):
        checked_images(images)


def test_rows_become_float64() -> None:
    rows = checked_rows("logits", [[1, 2], [3, 4], [5, 6]], least=3)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4], [5, 6]])
    half = np.array([[0.1]], np.float16)
    assert checked_rows("logits", half)[0, 0] == float(half[0, 0])


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1), (3, 0), ()])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"logits have shape .*, expected \[n, d\]"):
        checked_rows("logits", np.zeros(shape))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 features, expected at least 3"):
        checked_rows("features", np.zeros([2, 4]), least=3)
    with pytest.raises(ValueError, match="there are 0 features, expected at least 1"):
        checked_rows("features", np.zeros([0, 4]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="features hold values that are not finite"):
        checked_rows("features", [[0.0, 1.0], [value, 2.0]])


def test_unit_range_divides_bytes_alone() -> None:
    images = unit_range(np.array([0, 51, 255], np.uint8))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, np.float32([0, 0.2, 1]))
    images = unit_range(np.array([0.0, 0.2, 1.0]))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, np.float32([0, 0.2, 1]))
