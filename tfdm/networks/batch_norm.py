"""Batch normalisation by the moments of the global batch, on one replica and on several."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfdm")
class BatchNorm(keras.layers.BatchNormalization):
    """Keras's layer, with the mean first and the variance as the mean squared deviation from it.

    The E x² − (E x)² of Keras's `synchronized=True` loses all digits where the mean is large.
    The moving variance is the biased one, as in Keras.
    """

    def _moments(self, inputs: tf.Tensor, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
        if mask is not None:
            return super()._moments(inputs, mask)
        # No gradient is stopped: a gradient penalty has the exact second derivative.
        mean = _global_mean(inputs)
        return mean, _global_mean(tf.math.squared_difference(inputs, mean))


def _global_mean(values: tf.Tensor) -> tf.Tensor:
    """The mean over all axes but the last and over the replicas."""
    mean = tf.reduce_mean(values, list(range(len(values.shape) - 1)))
    context = tf.distribute.get_replica_context()
    if context is None or context.strategy.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
