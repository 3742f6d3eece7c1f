"""Layers of the convolutional networks, made with the options that a whole network shares.

A `LayerFactory` gives every weight a seed of its own, derived from (seed, name of the network,
position), so that initial weights are a function of the seed alone.

Shapes: B batch, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfdm.networks.batch_norm import BatchNorm
from tfdm.seeds import derive

LEAKY_SLOPE = 0.2
BATCH_NORM_EPSILON = 1e-5

# Whether a layer has a bias; `None` leaves it to the factory.
Bias = bool | None


@dataclasses.dataclass
class LayerFactory:
    """Makes the layers of one network.

    `weight_scale` is the standard deviation of the normal initial weights (0.02 in DCGAN); `None`
    draws from a truncated normal of variance 1 / fan-in.
    """

    name: str  # of the network, a part of the seed
    seed: int = 0  # of the run
    width: float = 1.0  # factor on the number of feature maps and hidden units
    batch_norm_momentum: float = 0.9  # share of the old value in the moving averages
    dtype: Any = "float32"  # a dtype policy; weights and outputs of the network stay float32
    weight_scale: float | None = None
    use_bias: bool = True  # whether layers without batch norm have a bias
    _count: int = dataclasses.field(default=0, init=False)

    def options(self, **changes: Any) -> LayerFactory:
        """Returns a factory like this one with other options, its seeds yet undrawn."""
        return dataclasses.replace(self, **changes)

    def scaled(self, units: int) -> int:
        """Returns a number of feature maps or units under the width factor, at least one."""
        return max(1, round(units * self.width))

    def dense(self, units: int, *, use_bias: Bias = None) -> keras.layers.Layer:
        """An affine layer to exactly `units` outputs."""
        return keras.layers.Dense(units, **self._weights(use_bias))

    def conv(
        self, maps: int, kernel: int, strides: int, padding: str = "same", *, use_bias: Bias = None
    ) -> keras.layers.Layer:
        """A convolution to exactly `maps` feature maps."""
        weights = self._weights(use_bias)
        return keras.layers.Conv2D(
            maps, kernel, strides, padding, data_format="channels_last", **weights
        )

    def transposed_conv(
        self, maps: int, kernel: int, strides: int, *, use_bias: Bias = None
    ) -> keras.layers.Layer:
        """A transposed convolution whose output is `strides` times as large."""
        weights = self._weights(use_bias, transposed=True)
        options = {"padding": "same", "data_format": "channels_last", **weights}
        return keras.layers.Conv2DTranspose(maps, kernel, strides, **options)

    def batch_norm(self) -> keras.layers.Layer:
        """Batch normalisation with moments over the global batch, also under a strategy."""
        gain: Any = "ones"
        if self.weight_scale is not None:
            gain = keras.initializers.RandomNormal(1.0, self.weight_scale, seed=self._next_seed())
        return BatchNorm(
            momentum=self.batch_norm_momentum,
            epsilon=BATCH_NORM_EPSILON,
            gamma_initializer=gain,
            dtype=self.dtype,
        )

    def normalized(self, *layers: keras.layers.Layer) -> list[keras.layers.Layer]:
        """These layers, batch normalisation and a rectifier."""
        return [*layers, self.batch_norm(), self.relu()]

    def normalization(self, kind: str) -> list[keras.layers.Layer]:
        """The layers of a normalisation by name: `batch`, `layer` or `none`."""
        if kind not in ("batch", "layer", "none"):
            raise ValueError(f"normalisation is {kind!r}, expected batch, layer or none")
        if kind == "layer":
            return [keras.layers.LayerNormalization(axis=(1, 2, 3), dtype=self.dtype)]
        return [self.batch_norm()] if kind == "batch" else []

    def leaky_relu(self) -> keras.layers.Layer:
        """A leaky rectifier of slope 0.2 (Appendix K.5)."""
        return keras.layers.LeakyReLU(LEAKY_SLOPE, dtype=self.dtype)

    def relu(self) -> keras.layers.Layer:
        """A rectifier."""
        return keras.layers.ReLU(dtype=self.dtype)

    def output(self, activation: str) -> keras.layers.Layer:
        """The last layer of a network: an activation in float32 whatever the policy."""
        return keras.layers.Activation(activation, dtype="float32")

    def initializer(self, transposed: bool = False) -> keras.initializers.Initializer:
        """The initial weights of one more kernel, with a seed of their own."""
        seed = self._next_seed()
        if self.weight_scale is None:
            # The kernel of a transposed convolution is stored [k, k, out, in].
            mode = "fan_out" if transposed else "fan_in"
            return keras.initializers.VarianceScaling(1.0, mode, "truncated_normal", seed=seed)
        return keras.initializers.RandomNormal(0.0, self.weight_scale, seed=seed)

    def _weights(self, use_bias: Bias, transposed: bool = False) -> dict[str, Any]:
        return {
            "kernel_initializer": self.initializer(transposed),
            "use_bias": self.use_bias if use_bias is None else use_bias,
            "dtype": self.dtype,
        }

    def _next_seed(self) -> int:
        self._count += 1
        return derive(self.seed, f"weights/{self.name}", self._count, bits=31)


def sequential(inputs: keras.KerasTensor, layers: list[keras.layers.Layer]) -> keras.KerasTensor:
    """Applies `layers` one after the other."""
    for layer in layers:
        inputs = layer(inputs)
    return inputs


def logit(
    make: LayerFactory, features: keras.KerasTensor, use_bias: Bias = None
) -> keras.KerasTensor:
    """The linear layer to one logit, float32: features [B, ...] -> [B].

    One logit stands for the difference of the two outputs of "linear adv" in Tables 6 and 8. On
    the 4x4 maps of the DCGAN networks it is their last 4x4 convolution.
    """
    flat = keras.layers.Flatten("channels_last", dtype=make.dtype)(features)
    logits = make.dense(1, use_bias=use_bias)(flat)
    return make.output("linear")(keras.layers.Reshape([], dtype=make.dtype)(logits))
