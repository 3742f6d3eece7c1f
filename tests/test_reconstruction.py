"""Reconstruction errors against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdm.losses import reconstruction_error


@pytest.mark.parametrize("shape", [(5, 4), (3, 6, 2, 3)])
@pytest.mark.parametrize("norm", ["l1", "squared"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_error_of_each_example(rng, shape, norm, reduction):
    first, second = rng.normal(size=(2, *shape))
    distance = np.abs(first - second) if norm == "l1" else (first - second) ** 2
    expected = getattr(distance.reshape(shape[0], -1), reduction)(axis=1)
    error = reconstruction_error(tf.constant(first), tf.constant(second), norm, reduction)
    assert error.shape == [shape[0]]
    np.testing.assert_allclose(error, expected, rtol=1e-12)


def test_bfloat16_is_summed_in_float32():
    ones = tf.ones([2, 1000], tf.bfloat16)
    error = reconstruction_error(ones, tf.zeros([2, 1000]), "l1", "sum")
    assert error.dtype == tf.float32
    np.testing.assert_array_equal(error, [1000.0, 1000.0])


@pytest.mark.parametrize(
    ("first", "second", "norm", "reduction", "message"),
    [
        ([2, 3], [2, 1], "l1", "sum", r"reconstructions has shape \[2, 1\], expected \[2, 3\]"),
        ([2, 3], [1, 3], "l1", "sum", "expected"),
        ([2, 3], [2, 3], "l2", "sum", "norm is 'l2', expected one of l1, squared"),
        ([2, 3], [2, 3], "l1", "max", "reduction is 'max', expected one of sum, mean"),
    ],
)
def test_bad_arguments_are_refused(first, second, norm, reduction, message):
    with pytest.raises(ValueError, match=message):
        reconstruction_error(tf.zeros(first), tf.zeros(second), norm, reduction)
