"""Diagonal Gaussian posteriors q(z|x) = N(loc, diag(scale^2)) and their divergence from the prior.

B is the batch, L the latent dimension.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdm.numerics import at_least_float32, require_rank, require_same_shape

# Far below it, float32 could not resolve epsilon in loc + scale * epsilon at |loc| of a few.
MINIMUM_SCALE = 1e-4
# softplus(SCALE_OFFSET) = 1: an encoder that says nothing starts at the prior.
SCALE_OFFSET = math.log(math.e - 1.0)


def gaussian_loc_and_scale(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits an encoder's output into loc and scale = softplus(raw + log(e - 1)) + 1e-4.

    Softplus rather than an exponential: it grows linearly, so that a large output neither overflows
    nor multiplies the gradient, and its derivative is at most 1. For small scales it equals the
    exponential. An output of zero is N(0, 1), save for the floor. The floor of 1e-4 keeps log scale
    finite and lies below the scales of real posteriors: it stands for a KL of 8.7 nats a dimension.

    Args:
      parameters: Unbounded outputs of the encoder, [B, 2L], loc first; any floating type.

    Returns:
      loc [B, L] and scale [B, L], float32 (float64 when `parameters` is), scale > 0.

    Raises:
      ValueError: `parameters` is not a matrix with an even number of columns.
    """
    parameters = at_least_float32(parameters, "parameters")
    require_rank(parameters, 2, "parameters", "[B, 2L]")
    columns = parameters.shape[-1]
    if columns is None or columns % 2 or not columns:
        raise ValueError(f"parameters have {columns} columns, expected 2L, an even number")
    loc, raw = tf.split(parameters, 2, axis=-1)
    return loc, tf.nn.softplus(raw + SCALE_OFFSET) + MINIMUM_SCALE


def diagonal_gaussian(parameters: tf.Tensor) -> tfd.MultivariateNormalDiag:
    """The posterior that an encoder's output describes.

    Args:
      parameters: As for `gaussian_loc_and_scale`, [B, 2L].

    Returns:
      Distribution with batch shape [B] and event shape [L]; `mean()` is loc, `stddev()` is scale,
      `log_prob` is in nats.

    Raises:
      ValueError: `parameters` is not a matrix with an even number of columns.
    """
    loc, scale = gaussian_loc_and_scale(parameters)
    return tfd.MultivariateNormalDiag(loc=loc, scale_diag=scale, name="posterior")


def reparameterize(loc: tf.Tensor, scale: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """loc + scale * epsilon, a sample of N(loc, diag(scale^2)) when epsilon is one of N(0, I).

    Args:
      loc: Means, [B, L].
      scale: Standard deviations, [B, L].
      epsilon: Standard normal noise, [B, L].

    Returns:
      Codes, [B, L]; derivative 1 in loc and epsilon in scale.

    Raises:
      ValueError: The three shapes are not the same.
    """
    loc = at_least_float32(loc, "loc")
    scale = tf.cast(at_least_float32(scale, "scale"), loc.dtype)
    epsilon = tf.cast(at_least_float32(epsilon, "epsilon"), loc.dtype)
    require_same_shape(loc=loc, scale=scale, epsilon=epsilon)
    return loc + scale * epsilon


def gaussian_kl_to_standard_normal(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """KL[N(loc, scale^2) || N(0, 1)] of each dimension, the second term of equation 2.

    (loc^2 + scale^2 - 1) / 2 - log scale; its derivatives are loc and scale - 1 / scale. The KL of
    a posterior is the sum over the last axis.

    Args:
      loc: Means, [B, L].
      scale: Standard deviations, [B, L], positive.

    Returns:
      Nats, [B, L], not negative save for rounding.

    Raises:
      ValueError: The two shapes are not the same.
    """
    loc = at_least_float32(loc, "loc")
    scale = tf.cast(at_least_float32(scale, "scale"), loc.dtype)
    require_same_shape(loc=loc, scale=scale)
    return 0.5 * (tf.square(loc) + tf.square(scale) - 1.0) - tf.math.log(scale)
