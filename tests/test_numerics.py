"""Casts and static shape checks."""

import numpy as np
import pytest
import tensorflow as tf

from tfdm.numerics import at_least_float32, ordered_sum, require_rank, require_same_shape


def test_cast_goes_up_and_never_down():
    for dtype in (tf.bfloat16, tf.float16, tf.float32):
        assert at_least_float32(tf.ones([2], dtype), "x").dtype == tf.float32
    assert at_least_float32(np.ones(2), "x").dtype == tf.float64
    with pytest.raises(ValueError, match="x has dtype uint8, expected a floating type"):
        at_least_float32(np.zeros(2, np.uint8), "x")


def test_known_shapes_must_agree():
    require_same_shape(a=tf.zeros([2, 3]), b=tf.ones([2, 3]), c=tf.ones([2, 3]))
    require_rank(tf.zeros([2, 3]), 2, "a", "[B, L]")
    with pytest.raises(ValueError, match=r"c has shape \[2, 1\], expected \[2, 3\].* of a"):
        require_same_shape(a=tf.zeros([2, 3]), b=tf.ones([2, 3]), c=tf.ones([2, 1]))
    with pytest.raises(ValueError, match=r"a has shape \[2\], expected \[B, L\]"):
        require_rank(tf.zeros([2]), 2, "a", "[B, L]")


def test_unknown_axes_pass_while_tracing():
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec(None)])
    def trace(known, unknown):
        require_rank(unknown, 2, "unknown", "[B, 3]")
        require_same_shape(known=known, unknown=unknown)
        return known + unknown

    np.testing.assert_array_equal(trace(tf.ones([2, 3]), tf.ones([2, 3])), np.full([2, 3], 2.0))


def test_a_sum_in_order_and_its_gradient():
    values = [tf.Variable(value) for value in (1.5, 2.25, -4.0)]
    with tf.GradientTape() as tape:
        total = ordered_sum(values)
    assert float(total) == -0.25
    assert [float(gradient) for gradient in tape.gradient(total, values)] == [1.0, 1.0, 1.0]
