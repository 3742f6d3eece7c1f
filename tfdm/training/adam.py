"""Adam (Kingma and Ba, 2014) with one fused operation for each variable."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

ADAM_EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="tfdm")
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, the same update to rounding; reads and writes every variable once.

    Takes the options of `keras.optimizers.Adam`, `amsgrad` apart.
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Moves `variable` and its two moments down `gradient`, a dense tensor of its shape."""
        index = self._get_variable_index(variable)
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )
