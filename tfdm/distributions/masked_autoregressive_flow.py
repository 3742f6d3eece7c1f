"""Masked autoregressive flow (Papamakarios, Pavlakou and Murray 2017; A.4 of the paper).

A flow maps codes to standard normal noise by u_i = (z_i − m(z_<i)) exp(−a(z_<i)), where one masked
network (MADE, Germain et al. 2015) gives all m and a at once; between two flows the order of the
latents is reversed. The density is one pass, sampling goes latent by latent. The paper saw several
flows diverge: here a is kept within ±3 by a tanh, and every flow starts as the identity.

Shapes: B batch, L latent dimension, U units.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb, distributions as tfd

from tfdm.distributions.densities import Density, sample_seed
from tfdm.seeds import derive

# A flow stretches a latent at most e^3 times.
LARGEST_LOG_SCALE = 3.0


class MaskedNetwork(keras.layers.Layer):
    """MADE: codes [B, L] -> (m, a), each [B, L], with m_i and a_i functions of z_<i alone."""

    def __init__(self, num_latents: int, num_layers: int, width: int, seed: int) -> None:
        super().__init__(dtype="float32")
        inputs = np.arange(1, num_latents + 1)
        # Hidden units of degree d see z_1 to z_d; a single latent has none to see.
        hidden = np.arange(width) % max(1, num_latents - 1) + 1
        degrees = [inputs, *[hidden] * num_layers]
        self.masks = [
            (after[None, :] >= before[:, None]).astype(np.float32)
            for before, after in zip(degrees[:-1], degrees[1:], strict=True)
        ]
        out = np.concatenate([inputs, inputs])
        self.masks.append((out[None, :] > degrees[-1][:, None]).astype(np.float32))
        self.kernels, self.biases = [], []
        for index, mask in enumerate(self.masks):
            is_last = index == len(self.masks) - 1
            scale = 0.0 if is_last else math.sqrt(2.0 / max(1.0, mask.sum(axis=0).mean()))
            key = derive(seed, "density/weights", index, bits=31)
            initializer = keras.initializers.RandomNormal(0.0, scale, seed=key)
            self.kernels.append(self.add_weight(shape=mask.shape, initializer=initializer))
            self.biases.append(self.add_weight(shape=mask.shape[1:], initializer="zeros"))
        self.built = True

    def call(self, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        hidden = codes
        for index, mask in enumerate(self.masks):
            hidden = tf.nn.relu(hidden) if index else hidden
            kernel = tf.convert_to_tensor(self.kernels[index]) * mask
            hidden = hidden @ kernel + self.biases[index]
        shift, raw = tf.split(hidden, 2, axis=-1)
        return shift, LARGEST_LOG_SCALE * tf.tanh(raw / LARGEST_LOG_SCALE)


@keras.saving.register_keras_serializable(package="tfdm")
class MaskedAutoregressiveFlow(Density):
    """A chain of flows; the paper has 1 to 3 with 1 or 2 layers of 512, 1024 or 2048 units."""

    def __init__(
        self,
        num_latents: int,
        num_flows: int = 2,
        num_layers: int = 2,
        width: int = 512,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        sizes = {"num_flows": num_flows, "num_layers": num_layers, "width": width}
        super().__init__(num_latents, seed, sizes, **kwargs)
        self.networks = [
            MaskedNetwork(num_latents, num_layers, width, derive(seed, "density/flow", flow))
            for flow in range(num_flows)
        ]
        self.add_moments()
        self.built = True

    @property
    def distribution(self) -> tfd.Distribution:
        """The flow as it is now: noise, last flow first, then the moments of the data."""
        parts: list[tfb.Bijector] = [
            tfb.Shift(tf.convert_to_tensor(self.loc)),
            tfb.Scale(tf.convert_to_tensor(self.scale)),
        ]
        reverse = list(range(self.num_latents))[::-1]
        for index, network in enumerate(self.networks):
            if index:
                parts.append(tfb.Permute(reverse))
            parts.append(tfb.MaskedAutoregressiveFlow(lambda x, *_, made=network, **__: made(x)))
        noise = tfd.MultivariateNormalDiag(tf.zeros([self.num_latents]))
        return tfd.TransformedDistribution(noise, tfb.Chain(parts))

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return self.distribution.log_prob(tf.cast(codes, tf.float32))

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [B, L] -> codes [B, L]; L passes for each flow."""
        return self.distribution.bijector.forward(tf.cast(noise, tf.float32))

    def sample(self, num: int, seed: int = 0) -> tf.Tensor:
        return self.distribution.sample(num, seed=sample_seed(seed))
