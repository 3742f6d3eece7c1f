"""The networks for 32x32 and 64x64 images: the DCGAN of the WassersteinGAN code (K.5.2).

Kernels of 4 and strides of 2 throughout, no convolution biases, weights N(0, 0.02²), gains of
batch norm N(1, 0.02²). Images lie in [-1, 1].

Shapes: B batch, S image side (a power of two from 16), C channels, L latent dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.layers import LayerFactory, sequential

BASE_MAPS = 64
WEIGHT_SCALE = 0.02


def dcgan_options(make: LayerFactory) -> LayerFactory:
    """Returns the factory with the initial weights and biases of the WassersteinGAN code."""
    return make.options(weight_scale=WEIGHT_SCALE, use_bias=False)


def is_dcgan_size(size: int) -> bool:
    """Whether these networks fit images of side `size`: a power of two from 16."""
    return size >= 16 and size & (size - 1) == 0


def widths(size: int) -> list[int]:
    """The feature maps from side `size`/2 down to side 4: 64, 128, 256 at size 32."""
    return [BASE_MAPS << level for level in range(size.bit_length() - 3)]


def generator(
    make: LayerFactory, latent_dim: int, size: int, channels: int, activation: str = "tanh"
) -> keras.Model:
    """Codes [B, L] -> images [B, S, S, C]: 256@4, 128@8, 64@16, C@32 at S = 32."""
    codes = keras.Input([latent_dim], name="codes")
    first, *others = [make.scaled(maps) for maps in reversed(widths(size))]
    # A 4x4 transposed convolution of a 1x1 map is a linear layer.
    reshape = keras.layers.Reshape([4, 4, first], dtype=make.dtype)
    layers = make.normalized(make.dense(4 * 4 * first), reshape)
    for maps in others:
        layers += make.normalized(make.transposed_conv(maps, 4, 2))
    layers += [make.transposed_conv(channels, 4, 2), make.output(activation)]
    return keras.Model(codes, sequential(codes, layers), name=make.name)


def encoder_features(make: LayerFactory, images: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """The generator transposed, up to the linear layer: [B, S, S, C] -> [B, 4, 4, 256]."""
    for maps in widths(size):
        images = sequential(images, make.normalized(make.conv(make.scaled(maps), 4, 2)))
    return images
