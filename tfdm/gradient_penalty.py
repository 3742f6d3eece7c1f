"""The gradient penalty of WGAN-GP (Gulrajani et al. 2017, equation 3)."""

from collections.abc import Callable

import tensorflow as tf

from tfdm.numerics import at_least_float32, require_rank, require_same_shape


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    weights: tf.Tensor,
) -> tf.Tensor:
    """(||d critic / d x||_2 - 1)^2 at x = weight * real + (1 - weight) * fake, for each example.

    Two-sided; the norm runs over all axes but the batch. The critic's loss adds its mean, times 10
    in the paper (K.1). It is differentiable in the critic's variables (through a second derivative)
    and sends no gradient to whatever made `fake`. Where the critic's gradient is exactly zero the
    penalty is 1 and contributes a zero gradient instead of NaN.

    The critic must treat examples apart, as one with batch normalisation in training mode does not.

    Args:
      critic: maps [B, ...] to scores [B] or [B, 1]; called once.
      real, fake: data and model samples, [B, ...], floating.
      weights: weights of `real`, [B], drawn by the caller from U[0, 1).

    Returns:
      Penalties, [B], float32 (float64 when `real` is).

    Raises:
      ValueError: shapes disagree, or the score does not depend on the critic's input.
    """
    real = at_least_float32(real, "real")
    fake = tf.cast(at_least_float32(fake, "fake"), real.dtype)
    weights = tf.cast(at_least_float32(weights, "weights"), real.dtype)
    require_same_shape(real=real, fake=fake)
    require_rank(weights, 1, "weights", "[B], one for each example")
    if real.shape.rank is None or real.shape.rank < 2:
        raise ValueError(f"real has shape {real.shape}, expected [B, ...] of known rank 2 or more")
    if not weights.shape[:1].is_compatible_with(real.shape[:1]):
        shape = weights.shape.as_list()
        raise ValueError(f"weights have shape {shape}, expected [{real.shape[0]}]")

    weights = tf.reshape(weights, [-1] + [1] * (real.shape.rank - 1))
    interpolates = tf.stop_gradient(weights * real + (1.0 - weights) * fake)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(interpolates)
        scores = at_least_float32(critic(interpolates), "scores")
    if not any(scores.shape.is_compatible_with([real.shape[0], *tail]) for tail in ([], [1])):
        raise ValueError(f"scores have shape {scores.shape.as_list()}, expected [B] or [B, 1]")
    # Summed over the batch by the tape: each example's score depends on that example alone.
    gradients = tape.gradient(scores, interpolates)
    if gradients is None:
        raise ValueError("scores do not depend on the input, expected a differentiable critic")

    squared_norm = tf.reduce_sum(tf.square(gradients), axis=list(range(1, real.shape.rank)))
    positive = squared_norm > 0.0
    # sqrt has an infinite derivative at 0, and inf * 0 is NaN: choose before and after the sqrt.
    norm = tf.where(positive, tf.sqrt(tf.where(positive, squared_norm, 1.0)), 0.0)
    return tf.square(norm - 1.0)
