"""Batch normalisation by the moments of the global batch, on one replica and on several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def kept_averages(network: keras.layers.Layer, training: bool) -> Iterator[None]:
    """Restores the moving averages of `network` at the end of the block.

    For passes in training mode on inputs of another distribution than those of inference. It holds
    for any layer that is given: all states return but those of random generators. Frozen layers,
    which keep theirs, are left alone.
    """
    weights = []
    if training:
        layers = [layer for layer in network._flatten_layers() if not layer.trainable]
        frozen = {id(weight) for layer in layers for weight in layer.weights}
        weights = [w for w in network.non_trainable_weights if id(w) not in frozen]
    before = [tf.identity(weight.value) for weight in weights]
    yield
    for weight, value in zip(weights, before, strict=True):
        weight.assign(value)


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
