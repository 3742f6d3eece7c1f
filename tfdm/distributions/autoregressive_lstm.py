"""A Gaussian auto-regressive density by an LSTM, q(z) = Π_i N(z_i; μ(z_<i), σ(z_<i)²) (A.4).

The network reads z_{i−1} and the place i, and its top layer gives μ_i and σ_i in units of the
moments of the data.

Shapes: B batch, L latent dimension, U units.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfdm.distributions.densities import Density, sample_seed

# Smallest σ, in standard deviations of the data.
MINIMUM_SCALE = 1e-3
# softplus of it is 1: untrained, the density is the Gaussian with the moments of the data.
_OFFSET = math.log(math.e - 1.0)
# Memories last from the start (Jozefowicz et al. 2015).
_FORGET = 1.0


@keras.saving.register_keras_serializable(package="tfdm")
class AutoregressiveLSTM(Density):
    """Stacked LSTM cells; the paper has 1 to 5 layers of 500, 1000 or 2000 units."""

    def __init__(
        self, num_latents: int, num_layers: int = 2, units: int = 256, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_latents, seed, {"num_layers": num_layers, "units": units}, **kwargs)
        self.num_layers, self.units = num_layers, units
        self.kernels, self.recurrent_kernels, self.biases = [], [], []
        scale = 1.0 / math.sqrt(units)
        for i in range(num_layers):
            shape, recurrent = (units if i else 1, 4 * units), (units, 4 * units)
            enter, repeat = self.initializer(scale, 2 * i), self.initializer(scale, 2 * i + 1)
            self.kernels.append(self.add_weight(shape, enter, name=f"kernel_{i}"))
            kernel = self.add_weight(recurrent, repeat, name=f"recurrent_kernel_{i}")
            self.recurrent_kernels.append(kernel)
            # The first layer's bias tells it which latent comes next.
            bias_shape = (4 * units,) if i else (num_latents, 4 * units)
            self.biases.append(self.add_weight(bias_shape, "zeros", name=f"bias_{i}"))
        self.head = self.add_weight((units, 2), "zeros", name="head")
        # A bias for each latent: the inactive ones are known before anything is read.
        self.head_bias = self.add_weight((num_latents, 2), "zeros", name="head_bias")
        self.add_moments()
        self.built = True

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(codes, tf.float32)
        standard = tf.reshape((codes - self.loc) / self.scale, [-1, self.num_latents])
        states = self._start(tf.shape(standard)[0])
        previous = tf.zeros_like(standard[:, 0])
        outputs = []
        for place in range(self.num_latents):
            output, states = self._step(place, previous, states)
            outputs.append(output)
            previous = standard[:, place]
        parameters = tf.stack(outputs, axis=1) @ tf.convert_to_tensor(self.head) + self.head_bias
        loc, scale = _loc_and_scale(parameters)
        squares = tf.square((standard - loc) / scale)
        log_probs = -0.5 * squares - tf.math.log(scale) - 0.5 * math.log(2.0 * math.pi)
        sums = tf.reduce_sum(log_probs - tf.math.log(self.scale), axis=-1)
        return tf.reshape(sums, tf.shape(codes)[:-1])

    def sample(self, num: int, seed: int = 0) -> tf.Tensor:
        return self.from_noise(
            tf.random.stateless_normal([num, self.num_latents], sample_seed(seed))
        )

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [B, L] -> codes [B, L], latent by latent."""
        noise = tf.cast(noise, tf.float32)
        states, previous = self._start(tf.shape(noise)[0]), tf.zeros_like(noise[:, 0])
        latents = []
        for place in range(self.num_latents):
            output, states = self._step(place, previous, states)
            parameters = output @ tf.convert_to_tensor(self.head) + self.head_bias[place]
            loc, scale = _loc_and_scale(parameters)
            previous = loc + scale * noise[:, place]
            latents.append(previous)
        return self.loc + self.scale * tf.stack(latents, axis=1)

    def _start(self, num: int | tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        zeros = tf.zeros([num, self.units])
        return [(zeros, zeros)] * self.num_layers

    def _step(
        self, place: int, previous: tf.Tensor, states: list[tuple[tf.Tensor, tf.Tensor]]
    ) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
        """(z_{i−1} [B], each layer's output and memory) -> (top output [B, U], the next states)."""
        hidden, after = previous[:, tf.newaxis], []
        for layer, (output, memory) in enumerate(states):
            # A product with one column is an outer one.
            kernel = tf.convert_to_tensor(self.kernels[layer])
            inputs = hidden @ kernel if layer else hidden * kernel
            bias = self.biases[layer] if layer else self.biases[layer][place]
            gates = inputs + bias + output @ tf.convert_to_tensor(self.recurrent_kernels[layer])
            enter, forget, candidate, leave = tf.split(gates, 4, axis=-1)
            memory = tf.sigmoid(forget + _FORGET) * memory + tf.sigmoid(enter) * tf.tanh(candidate)
            hidden = tf.sigmoid(leave) * tf.tanh(memory)
            after.append((hidden, memory))
        return hidden, after


def _loc_and_scale(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    loc, raw = tf.unstack(parameters, axis=-1)
    return loc, tf.nn.softplus(raw + _OFFSET) + MINIMUM_SCALE
