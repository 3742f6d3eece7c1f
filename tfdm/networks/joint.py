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

    Called with (image maps [B, S, S, C], code features [B, U]) -> [B, S', S', M], M = `maps`, k =
    `kernel_size`, S' = S - k + 1. `kernel_initializer` makes the whole kernel [k, k, C + U, M].
    """

    def __init__(
        self, maps: int, kernel_size: int, kernel_initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.maps = maps
        self.kernel_size = kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: list[tuple[int, ...]]) -> None:
        """Creates the kernels [k, k, C, M] and [k, k, U, M], together one, and the bias [M]."""
        (*_, image_maps), (_, code_features) = input_shape
        side = self.kernel_size
        whole = self.kernel_initializer((side, side, image_maps + code_features, self.maps))

        def kernel(name: str, part: slice) -> keras.Variable:
            value = whole[:, :, part]
            return self.add_weight(value.shape, lambda shape, dtype: value, name=name)

        self.image_kernel = kernel("image_kernel", slice(0, image_maps))
        self.code_kernel = kernel("code_kernel", slice(image_maps, None))
        self.bias = self.add_weight((self.maps,), "zeros", name="bias")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Convolves the image maps and adds the codes' share to every position."""
        image_maps, code_features = inputs
        image_kernel, code_kernel, bias = (
            tf.cast(weight, self.compute_dtype)
            for weight in (self.image_kernel, tf.reduce_sum(self.code_kernel, [0, 1]), self.bias)
        )
        from_codes = code_features @ code_kernel + bias
        from_images = tf.nn.conv2d(image_maps, image_kernel, strides=1, padding="VALID")
        return from_images + from_codes[:, tf.newaxis, tf.newaxis, :]

    def compute_output_shape(self, input_shape: list[tuple[int, ...]]) -> tuple[int, ...]:
        batch, height, width, _ = input_shape[0]
        shrink = self.kernel_size - 1
        return (batch, height - shrink, width - shrink, self.maps)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "maps": self.maps,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
