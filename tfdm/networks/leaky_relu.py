"""A leaky rectifier without the second derivative that it does not have."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfdm")
class LeakyReLU(keras.layers.LeakyReLU):
    """Keras's leaky rectifier, written as a product with a constant slope.

    The slope is constant on either side of zero. TensorFlow's own operation differentiates it
    once more, into zeros that a gradient penalty then carries back through the whole network;
    here that pass does not exist. Values and first derivatives are the same.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """max(x, slope * x)."""
        low = tf.cast(self.negative_slope, inputs.dtype)
        slope = tf.where(inputs > 0, tf.ones_like(inputs), low)
        return inputs * tf.stop_gradient(slope)
