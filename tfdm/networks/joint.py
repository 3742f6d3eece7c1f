"""The first layer of the joint discriminator's head (Table 8), without tiling the codes.

Shapes: B batch, S side of the feature maps, C image maps, U code features, M output maps.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfdm")
class TiledConcatConv(keras.layers.Layer):
    """A VALID convolution of image maps joined with code features tiled over the map.

    On a tiled input every tap of the kernel sees the same features, so their share of the output
    is one matrix product with the sum of the taps, the same at every position. Weights, outputs
    and gradients are those of tiling, concatenation and convolution, at a small part of the cost.

    Called with (image maps [B, S, S, C], code features [B, U]) -> [B, S', S', M].

    Args:
      maps: M.
      kernel_size: side k of the kernel; S' = S - k + 1.
      kernel_initializer: of the whole kernel [k, k, C + U, M].
      **kwargs: options of `keras.layers.Layer`.
    """

    def __init__(
        self, maps: int, kernel_size: int, kernel_initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.maps = maps
        self.kernel_size = kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Creates the kernel [k, k, C + U, M] and the bias [M]."""
        (*_, self.image_channels), (_, code_features) = input_shape
        side, joined = self.kernel_size, self.image_channels + code_features
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, joined, self.maps),
            initializer=self.kernel_initializer,
        )
        self.bias = self.add_weight(name="bias", shape=(self.maps,), initializer="zeros")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Convolves the image maps and adds the codes' share to every position."""
        image_maps, code_features = inputs
        kernel = tf.cast(self.kernel, self.compute_dtype)
        image_kernel = kernel[:, :, : self.image_channels]
        code_kernel = tf.reduce_sum(kernel[:, :, self.image_channels :], axis=[0, 1])
        from_codes = code_features @ code_kernel + tf.cast(self.bias, self.compute_dtype)
        from_images = tf.nn.conv2d(image_maps, image_kernel, strides=1, padding="VALID")
        return from_images + from_codes[:, tf.newaxis, tf.newaxis, :]

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """[B, S', S', M]."""
        batch, height, width, _ = input_shape[0]
        shrink = self.kernel_size - 1
        return (batch, height - shrink, width - shrink, self.maps)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "maps": self.maps,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
