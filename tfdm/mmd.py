"""The maximum mean discrepancy of two samples (Gretton et al. 2012, equation 3 and lemma 6)."""

import tensorflow as tf

from tfdm.numerics import at_least_float32, require_rank

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def inverse_multiquadratics(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Codes [n, L], [m, L] -> Σ_s C_s / (C_s + |a_i − b_j|²), [n, m], in (0, 7].

    C_s = 2 L s with the seven scales s of Tolstikhin et al. (2018): 2 L is the mean squared
    distance of two codes of the standard normal.
    """
    products = tf.matmul(a, b, transpose_b=True)
    norms = [tf.reduce_sum(tf.square(codes), axis=-1) for codes in (a, b)]
    # Rounding may leave the distance of two equal codes below zero.
    squares = tf.nn.relu(norms[0][:, tf.newaxis] + norms[1] - 2.0 * products)
    constants = [2.0 * a.shape[-1] * scale for scale in SCALES]
    return tf.add_n([constant / (constant + squares) for constant in constants])


def mmd(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The unbiased estimate of MMD² from codes [n, L] and [m, L] of two distributions, a scalar.

        mean_{i ≠ j} k(x_i, x_j) + mean_{i ≠ j} k(y_i, y_j) − 2 mean_{i, j} k(x_i, y_j)

    Its mean is zero where both distributions are the same, so that it is negative at times. float32
    (float64 when `first` is). Fewer than two codes of either are a `ValueError`, or give NaN where
    the graph does not know their number.
    """
    first = at_least_float32(first, "first")
    second = tf.cast(at_least_float32(second, "second"), first.dtype)
    for name, codes in (("first", first), ("second", second)):
        require_rank(codes, 2, name, "[n, L]")
        if codes.shape[0] is not None and codes.shape[0] < 2:
            raise ValueError(f"{name} holds {codes.shape[0]} codes, expected 2 or more")
    across = tf.reduce_mean(inverse_multiquadratics(first, second))
    return _mean_of_pairs(first) + _mean_of_pairs(second) - 2.0 * across


def _mean_of_pairs(codes: tf.Tensor) -> tf.Tensor:
    """The mean of k(x_i, x_j) over i ≠ j."""
    kernels = inverse_multiquadratics(codes, codes)
    number = tf.cast(tf.shape(codes)[0], kernels.dtype)
    off_diagonal = tf.linalg.set_diag(kernels, tf.zeros_like(kernels[:, 0]))
    return tf.reduce_sum(off_diagonal) / (number * (number - 1.0))
