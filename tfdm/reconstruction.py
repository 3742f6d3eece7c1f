"""Reconstruction errors of images and codes.

Shapes: B batch, the other axes are an example's elements.
"""

from __future__ import annotations

import tensorflow as tf

from tfdm.numerics import at_least_float32, require_same_shape


def reconstruction_error(
    originals: tf.Tensor, reconstructions: tf.Tensor, norm: str, reduction: str
) -> tf.Tensor:
    """Returns the error of each example, [B].

    Args:
      originals: [B, ...].
      reconstructions: [B, ...].
      norm: `l1` for |a − b|, `squared` for (a − b)².
      reduction: `sum` over an example's elements or their `mean`; the sum is what stands beside
        a KL divergence in nats, the mean does not grow with the image.

    Raises:
      ValueError: the shapes differ, or `norm` or `reduction` is none of these.
    """
    norms = {"l1": tf.abs, "squared": tf.square}
    reductions = {"sum": tf.reduce_sum, "mean": tf.reduce_mean}
    if norm not in norms:
        raise ValueError(f"norm is {norm!r}, expected one of {', '.join(norms)}")
    if reduction not in reductions:
        raise ValueError(f"reduction is {reduction!r}, expected one of {', '.join(reductions)}")
    originals = at_least_float32(originals, "originals")
    reconstructions = at_least_float32(reconstructions, "reconstructions")
    require_same_shape(originals=originals, reconstructions=reconstructions)
    errors = norms[norm](originals - reconstructions)
    return reductions[reduction](errors, axis=list(range(1, errors.shape.rank)))
